"""Taking receipts from a stick or a folder: read within limits, judged, kept, and told to the registry."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import AnchorholdError, ReceiptError, TrustError, UsageError, as_product_error
from appliance.events import Emit, Event
from appliance.fleet import judging
from appliance.fleet.devices import FIRST_USE, Devices, Known
from appliance.registry.records import Sighting
from appliance.registry.sightings import note
from appliance.registry.store import Registry
from appliance.trust import chain, clock, device_identity, limits, receipt
from appliance.trust.folder import read_inside
from appliance.trust.receipt import Refusal
from appliance.update.receipts import FOLDER, SUFFIX

_NAME = re.compile(rf"([0-9a-f]{{32}}){re.escape(SUFFIX)}", re.IGNORECASE)


@dataclass(frozen=True)
class Taken:
    """What became of one receipt.

    Attributes:
        device: the id that its name says.
        title: what the device is called here.
        outcome: "taken", "known already" or "refused".
        added: entries that came with it.
        head: the last entry that is known now.
        left: entries that the device still has, for they didn't fit.
        reason, hint: why it was refused; `kind` of that, a `receipt.Refusal`, where it was read at all.
        enrolled: it wasn't known before.
        fingerprint: of the key of a device that wasn't known before, enrolled or not.
    """

    device: str
    title: str
    outcome: str
    added: int = 0
    head: int = 0
    left: int = 0
    reason: str = ""
    hint: str = ""
    kind: str = ""
    enrolled: bool = False
    fingerprint: str = ""


def find(path: Path) -> tuple[Path, list[str]]:
    """The receipts on a stick, in a folder, or the one file: the folder to read below, and names in it.

    Raises:
        UsageError: nothing there.
        TrustError: `receipts` is a link, or the folder holds too much to be one.
    """
    if path.is_file():
        return path.parent, [path.name]
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder", "give a stick, a folder of receipts, or one receipt")
    inner = os.path.lexists(path / FOLDER)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        fd = os.open(path / FOLDER, flags | os.O_NOFOLLOW) if inner else os.open(path, flags)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        raise TrustError(f"{path / FOLDER}: a link or no folder", "the stick was changed") from error
    found: list[str] = []
    try:
        with os.scandir(fd) as entries:
            for count, entry in enumerate(entries):
                if count >= limits.FOLDER_NAMES or len(found) > limits.RECEIPTS:
                    raise TrustError(
                        f"{path}: more files than a folder of receipts has", "take the stick apart"
                    )
                if _NAME.fullmatch(entry.name):
                    found.append(f"{FOLDER}/{entry.name}" if inner else entry.name)
    finally:
        os.close(fd)
    return path, sorted(found)


def named(name: str) -> str:
    """The device's id that a receipt's name says; empty where it says none."""
    match = _NAME.fullmatch(name.rpartition("/")[2])
    return match[1].lower() if match else ""


def _unknown(device: str, key: str) -> ReceiptError:
    print_of = device_identity.fingerprint(key)
    return ReceiptError(
        f"device {device} isn't enrolled here (the key it brings has the fingerprint {print_of})",
        f"compare the fingerprint with `anchorhold receipts identity` on the device; then add --enrol {device[:8]}, "
        "or list its key: `anchorhold fleet enrol DEVICE KEY`",
        kind=Refusal.UNKNOWN,
    )


def _taken(known: Known, judged: judging.Judged, brought: receipt.Receipt, *, enrolled: bool) -> Taken:
    return Taken(
        known.device,
        known.title,
        "taken" if judged.newer else "known already",
        len(judged.entries),
        known.head.number,
        max(0, brought.head.number - brought.last.number),
        enrolled=enrolled,
        fingerprint=device_identity.fingerprint(known.key) if enrolled else "",
    )


def _another_key(known: Known, key: str) -> ReceiptError:
    return ReceiptError(
        f"device {known.device}: signed by another key (fingerprint {device_identity.fingerprint(key)}) than is "
        f"enrolled ({device_identity.fingerprint(known.key)})",
        "ask whoever looks after the device; `anchorhold fleet enrol DEVICE KEY --replace` takes a new key",
        kind=Refusal.UNSIGNED,
    )


def _before(store: Devices, known: Known) -> judging.Known:
    time = clock.from_text(known.seen) if known.seen else None
    return judging.Known(known.key, known.begin, store.entries(known), known.reach, time)


def take(data: bytes, store: Devices, *, believe: str = "", expected: str = "") -> tuple[Known, Taken]:
    """Judge one receipt and keep what it brings; the caller holds `Devices.writing`.

    Args:
        data: its bytes.
        store: of the registry.
        believe: the public key in hex that a person believes to be the device's, for one that isn't known yet or of
            which no receipt has come: its log may begin anywhere then.
        expected: the device's id that its file is named after; empty: any.

    Raises:
        TrustError: it can't be believed; nothing of it was taken, and why is kept with the device.
    """
    device, key, _ = receipt.signer(data)
    if expected and device != expected:
        raise TrustError(f"a receipt of {device} under the name of {expected}", "the stick was changed")
    known = store.read(device)
    new = known is None
    if known is None:
        brought = receipt.read(data)
        if key != believe:
            raise _unknown(device, key)
        judged = judging.judge(judging.Known(key), brought, first=True)
        known = store.enrol(device, key, "", FIRST_USE)
    else:
        before = _before(store, known)  # damage here is no fault of the device
        try:
            if key != known.key:  # before anything of it is parsed
                raise _another_key(known, key)
            brought = receipt.read(data)
            # Enrolled at first use and not taken: killed between the two.
            as_it_is = key == believe or known.how == FIRST_USE
            judged = judging.judge(before, brought, first=as_it_is and not known.taken)
        except ReceiptError as error:
            store.refuse(device, error, data)
            raise
    if judged.newer:
        known = store.take(known, brought, judged.entries, judged.begin)
    return known, _taken(known, judged, brought, enrolled=new)


def take_all(
    path: Path, registry: Path, emit: Emit, *, enrol: Mapping[str, str] | None = None
) -> list[Taken]:
    """Take every receipt of a stick or folder, each by itself: one that is refused hinders no other.

    Args:
        path: of the stick, a folder of receipts, or one receipt.
        registry: its folder.
        emit: takes warnings.
        enrol: the devices that a person takes, each with its key (`strangers.believed`).

    Raises:
        UsageError: nothing there.
        TrustError: the folder itself isn't to be read.
    """
    base, names = find(path)
    believed = enrol or {}
    store, found = Devices(registry), []
    for name in names:
        device, data = named(name), b""
        try:
            try:
                data = read_inside(base, name, limits.RECEIPT_BYTES)
            except OSError as error:
                raise TrustError(
                    f"{name}: can't be read ({error.strerror})", "have it written again"
                ) from error
            with store.writing():
                known, taken = take(data, store, believe=believed.get(_device(data), ""), expected=device)
        except TrustError as error:
            found.append(_refused(device, name, data, error))
            continue
        found.append(taken)
        if taken.outcome == "taken":
            _tell_registry(registry, known, emit)
    return found


def _device(data: bytes) -> str:
    with contextlib.suppress(TrustError):
        return receipt.signer(data)[0]
    return ""


def _refused(device: str, name: str, data: bytes, error: TrustError) -> Taken:
    kind = str(error.kind) if isinstance(error, ReceiptError) else ""
    key = receipt.signer(data)[1] if kind == Refusal.UNKNOWN else ""
    return Taken(
        device or _device(data),
        device[:12] or name,
        "refused",
        reason=error.message,
        hint=error.hint,
        kind=kind,
        fingerprint=device_identity.fingerprint(key) if key else "",
    )


def active(statement: Any) -> dict[str, Any]:
    """The active release that a statement names, as far as it does: `name`, `version`, `release`, `counter`."""
    slots = statement.get("slots") if isinstance(statement, dict) else None
    slot = slots.get("active") if isinstance(slots, dict) else None
    return slot if isinstance(slot, dict) else {}


def _tell_registry(registry: Path, known: Known, emit: Emit) -> None:
    digest = active(known.statement).get("release")
    if not chain.is_digest(digest) or not (registry / "records").is_dir():
        return
    by = device_identity.fingerprint(known.key)
    try:
        with Registry(registry) as opened:
            note(opened, str(digest), Sighting("device", known.name or known.device, known.seen, by))
    except (AnchorholdError, OSError) as error:
        text = f"the registry doesn't know of {known.title}: {as_product_error(error).message}"
        emit(Event("registry", "warning", text))
