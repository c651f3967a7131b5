"""What a stick acknowledges of devices' logs: signed with its releases, taken by the device, and what that frees.

Entries that are acknowledged needn't be sent again. They stay on the device until LOG_SEGMENTS_KEPT further files of
the log are full.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

from tuf.api.metadata import TargetFile

from appliance import storage
from appliance.errors import AnchorholdError, TrustError
from appliance.events import Emit, Event
from appliance.paths import Device
from appliance.trust import acknowledgment, chain, device_identity, limits
from appliance.trust.chain import Link
from appliance.trust.folder import read_inside
from appliance.update import audit, carried, log_files, parts
from appliance.update import stick as sticks


def on_stick(stick: Path, files: Mapping[str, TargetFile]) -> dict[str, Link]:
    """What a stick acknowledges, by device; nothing where it says nothing.

    Args:
        stick: its folder.
        files: its verified targets.

    Raises:
        TrustError: it is missing, changed, or can't be read.
    """
    entry = files.get(acknowledgment.TARGET)
    if entry is None:
        return {}
    target = sticks.as_target(acknowledgment.TARGET, entry)
    try:
        data = read_inside(stick, target.stored, limits.ACKNOWLEDGMENT_BYTES)
    except FileNotFoundError as error:
        raise TrustError(f"{target.stored} is missing: the stick isn't whole", "write it again") from error
    if len(data) != target.bytes or storage.sha256_bytes(data) != target.sha256:
        raise TrustError(f"{target.stored}: changed or damaged", "ask for the stick to be written again")
    return acknowledgment.decode(data)


def take(report: sticks.StickReport, device: Device, emit: Emit) -> Link:
    """Take a believed stick's acknowledgment of this device's log, if it says more than is known.

    Nothing here stops an install: what can't be taken is told, and entries are sent once more.

    Returns:
        The last entry that the workshop has.
    """
    known = log_files.acknowledged(device.log)
    try:
        identity = device_identity.read(device)
        told = on_stick(report.stick, report.verified.files).get(identity.device) if identity else None
        if told is None or told.number <= known.number:
            return known
        found = audit.check(device.log)
        if found.chain_faults:  # what a damaged log has of it proves nothing
            text = f"the log is damaged ({found.chain_faults[0]}): nothing is acknowledged"
            emit(Event("receipts", "warning", text))
            return known
        if told.number < found.begin.number:  # an older stick; ours of that time is gone
            return known
        there = chain.entry_at(found.entries, told.number)
        if (there.link if there is not None else found.begin) != told:
            text = f"the workshop has another entry {told.number} of this device than its log: one of them was changed"
            if not _told_before(device, told):
                audit.append(device, "acknowledgment refused", entry=told.number, digest=told.digest)
            emit(Event("receipts", "warning", text))
            return known
        with log_files.writing(device.log):
            log_files.write_place(device.log / log_files.ACKNOWLEDGED, told)
            log_files.drop(device.log, told.number)
    except (AnchorholdError, OSError, ValueError) as error:
        emit(Event("receipts", "warning", f"the stick's acknowledgment isn't taken: {error}"))
        return known
    return told


def _told_before(device: Device, told: Link) -> bool:
    for entry in reversed(audit.entries(device)):
        if entry["event"] == "acknowledgment refused":
            with contextlib.suppress(AttributeError):
                return bool(entry["data"].get("digest") == told.digest)
    return False


def add(
    keys_folder: Path, stick: Path, held: carried.Held, known: Mapping[str, Link] | None, emit: Emit
) -> parts.Entries:
    """The entry of a stick that is about to be signed which acknowledges what the workshop knows; put into `held` too.

    What the stick acknowledges already of other devices stays, and so does all of it where nothing is known here.

    Args:
        keys_folder: of the publisher; the file is kept there as it is signed.
        stick: its folder.
        held: what stays on it.
        known: the last entry that is known of each device.
        emit: told of what can't be carried on.
    """
    if not known:
        return {}
    if held.site is not None:  # its people can't sign for all
        emit(
            Event(
                "stick", "message", "a stick for a site acknowledges no receipts; the next one for all does"
            )
        )
        return {}
    links: dict[str, Link] = {}
    with contextlib.suppress(TrustError):  # damaged on its way: ours takes its place
        links = on_stick(stick, held.files)
    links |= known
    source = keys_folder / acknowledgment.TARGET
    storage.write_bytes(source, acknowledgment.encode(links), mode=0o600)
    described = parts.describe(source, acknowledgment.TARGET, {"role": acknowledgment.ROLE})
    held.files[acknowledgment.TARGET] = described.pieces[acknowledgment.TARGET][1]
    return dict(described.pieces)


def remove_former(stick: Path, files: Mapping[str, TargetFile]) -> None:
    """Delete former acknowledgments from a stick, after the metadata that names the new one is in place."""
    entry = files.get(acknowledgment.TARGET)
    wanted = sticks.as_target(acknowledgment.TARGET, entry).stored if entry is not None else ""
    for path in (stick / "targets").glob(f"*.{acknowledgment.TARGET}"):
        if f"targets/{path.name}" != wanted and chain.is_digest(path.name.partition(".")[0]):
            path.unlink()
