"""Whether a device's log, a copy of it, or receipts hold; changes nothing anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.errors import TrustError, UsageError
from appliance.fleet import judging, taking
from appliance.fleet.devices import Devices
from appliance.paths import Device
from appliance.trust import chain, clock, device_identity, limits, receipt
from appliance.trust.folder import read_inside
from appliance.update import audit, log_files
from appliance.update.receipts import FOLDER


@dataclass(frozen=True)
class Looked:
    """What a look at one log or receipt found.

    Attributes:
        where: its path.
        device: whose it is; empty if that can't be told.
        first, last: numbers of its entries; `last` is 0 where there is none.
        head: digest of the last entry.
        faults: what is wrong, each with its entry; empty where all holds.
        notes: what somebody should know all the same.
    """

    where: str
    device: str
    first: int
    last: int
    head: str
    faults: tuple[str, ...]
    notes: tuple[str, ...] = ()


def _log(folder: Path, device: Device | None) -> Looked:
    identity = device_identity.read(device) if device is not None else None
    report = audit.check(folder, identity.device if identity is not None else "")
    notes = []
    if report.torn:
        notes.append(f"{report.torn} bytes behind the last entry are torn; the next entry keeps them aside")
    notes += report.notes
    notes += [f"{path.name}: a log of before this format" for path in log_files.former(folder)]
    owner = report.entries[0].device if report.entries else identity.device if identity is not None else ""
    faults = tuple(map(str, report.faults))
    return Looked(
        str(folder),
        owner,
        report.begin.number + 1,
        report.head.number,
        report.head.digest,
        faults,
        tuple(notes),
    )


def _receipt(base: Path, name: str, registry: Path) -> Looked:
    where = str(base / name)
    try:
        brought = receipt.read(read_inside(base, name, limits.RECEIPT_BYTES))
    except TrustError as error:
        return Looked(where, "", 1, 0, "", (error.message,))
    entries, faults = chain.follow(brought.entries, brought.after, device=brought.device)
    told, notes = [str(fault) for fault in faults], []
    store = Devices(registry)
    known = store.read(brought.device)
    if known is None:
        notes.append("not enrolled here: whether the key is the device's own isn't known")
    elif not told:
        seen = clock.from_text(known.seen) if known.seen else None
        before = judging.Known(known.key, known.begin, store.entries(known), known.reach, seen)
        try:
            judging.judge(before, brought)
        except TrustError as error:
            told.append(error.message)
    last = entries[-1].link if entries else brought.after
    return Looked(
        where, brought.device, brought.after.number + 1, last.number, last.digest, tuple(told), tuple(notes)
    )


def look(path: Path, registry: Path) -> list[Looked]:
    """Look at what lies at `path`.

    Args:
        path: a device's folder, its log's folder or a copy of it, a stick or folder with receipts, or one receipt.
        registry: its folder; what the workshop knows of a receipt's device is compared with it.

    Raises:
        UsageError: nothing of these is there.
        TrustError: a folder that isn't to be read.
    """
    device = Device(path)
    if device.log.is_dir():
        return [_log(device.log, device)]
    if (path / log_files.ACTIVE).is_file() or (path.is_dir() and log_files.older(path)):
        return [_log(path, None)]
    if path.is_file() or (path / FOLDER).exists() or path.is_dir():
        base, names = taking.find(path)
        if names:
            return [_receipt(base, name, registry) for name in names]
    raise UsageError(
        f"{path}: neither a log nor a receipt there", "give a device's folder, a stick, or a receipt's file"
    )
