"""Writing a device's receipt, and leaving it on a stick: `receipts/DEVICE.jsonl`.

A stick that can't be written, or has no room, is told of and stops nothing: the entries stay here and go onto the next.
The stick may have been prepared by somebody else, so nothing is written through a link.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from appliance import storage
from appliance.errors import AnchorholdError, KeysError, TrustError, as_product_error
from appliance.events import Emit, Event
from appliance.paths import Device
from appliance.trust import chain, device_identity, limits, receipt
from appliance.trust.chain import Link
from appliance.update import audit, log_files, version_manifest

FOLDER = "receipts"
SUFFIX = ".jsonl"


@dataclass(frozen=True)
class Made:
    """A receipt's bytes, and what is in it: entries from `after` to `last`, of a log that ends at `head`."""

    device: str
    data: bytes
    after: Link
    last: Link
    head: Link


def file_name(device: str) -> str:
    """The name of a device's receipt; as plain as FAT needs it."""
    return f"{device}{SUFFIX}"


def _fitting(lines: list[bytes], room: int) -> list[bytes]:
    found = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        found.append(line)
    return found


def _link_of(line: bytes, number: int) -> Link:
    """An entry's place by where it stands: a damaged line travels too, and the workshop says what is wrong with it."""
    return Link(number, storage.sha256_bytes(line))


def _unacknowledged(lines: list[bytes], begin: Link, known: Link) -> tuple[Link, list[bytes]]:
    """The lines behind what the workshop has, and the place that they follow.

    Args:
        lines: of the log.
        begin: the place that the first of them follows.
        known: the last entry that the workshop has.

    Raises:
        TrustError: that entry isn't here, and where the log begins is lost.
    """
    place = known.number - begin.number
    if place <= 0:
        known, place = begin, 0
    elif place > len(lines) or storage.sha256_bytes(lines[place - 1]) != known.digest:
        # Found by itself where it stands elsewhere: older entries are missing, and the workshop has those.
        digests = (
            number for number, line in enumerate(lines, 1) if storage.sha256_bytes(line) == known.digest
        )
        place = next(digests, place)
    if place > len(lines):  # the log was cut: then all of it, so that the workshop sees where
        known, place = begin, 0
    if known == chain.BEGIN and lines and _begins_behind(lines):
        raise TrustError(
            "log/begin.json is lost and the log's first entry is damaged: where it begins can't be told",
            "restore log/ from a backup; or move it aside, so that a new one is begun, and have the device taken anew "
            "in the workshop (`anchorhold fleet enrol DEVICE KEY --replace`)",
        )
    return known, lines[place:]


def _begins_behind(lines: list[bytes]) -> bool:
    """Whether the entries' own numbers say that there were others before the first line."""
    for place, line in enumerate(lines):
        with contextlib.suppress(ValueError):
            return chain.parse(line).number > place + 1 and place > 0
    return False


def make(device: Device) -> Made:
    """This device's receipt: its version manifest, and the entries that the workshop hasn't acknowledged.

    Where they are too many the oldest go first, and the statement says how far the log reaches.

    Raises:
        KeysError: the device's key can't be used.
        TrustError: where the log begins is lost, and can't be made out.
        OSError: something can't be read or written.
    """
    known = log_files.acknowledged(device.log)
    identity = audit.identity(device)
    with log_files.reading(device.log):
        begin = log_files.begin(device.log)
        lines, rest = log_files.lines(device.log)
    with contextlib.suppress(ValueError):
        chain.parse(rest)
        lines.append(rest)
    after, lines = _unacknowledged(lines, begin, known)
    manifest = version_manifest.collect(device, identity.device)
    sent = _fitting(lines, limits.RECEIPT_BYTES - limits.STATEMENT_BYTES - limits.RECEIPT_HEAD_BYTES - 2)
    last = _link_of(sent[-1], after.number + len(sent)) if sent else after
    head = _link_of(lines[-1], after.number + len(lines)) if lines else after
    body = b"".join(line + b"\n" for line in sent)
    statement = receipt.statement_of(manifest, after, last, head, body)
    signed_by, signature = device_identity.sign(device, receipt.signed_bytes(statement))
    if signed_by != identity:
        raise KeysError(
            f"{device.identity}: its two files tell of two devices", "restore identity/ from a backup"
        )
    data = receipt.encode(signed_by.device, signed_by.public, signature, statement, body)
    return Made(signed_by.device, data, after, last, head)


def put(folder: Path, name: str, data: bytes) -> None:
    """Write `receipts/NAME` below `folder`: beside, synced, renamed; no link is followed.

    Raises:
        OSError: it can't be written; then what was there stays.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(FOLDER, 0o755, dir_fd=fd)
            os.fsync(fd)
        inner = os.open(FOLDER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    finally:
        os.close(fd)
    part = f"{name}.part"
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part, dir_fd=inner)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        out = os.open(part, flags, 0o644, dir_fd=inner)
        try:
            try:
                storage.append_whole(out, data)
            finally:
                os.close(out)
            os.rename(part, name, src_dir_fd=inner, dst_dir_fd=inner)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part, dir_fd=inner)
            raise
        os.fsync(inner)
    finally:
        os.close(inner)


def leave(stick: Path, device: Device, emit: Emit) -> Made | None:
    """Leave a receipt on a stick. Whatever hinders it is told, and nothing is raised.

    Returns:
        What was written; None if nothing could be.
    """
    try:
        made = make(device)
        put(stick, file_name(made.device), made.data)
    except (AnchorholdError, OSError) as error:
        shown = as_product_error(error)
        text = f"no receipt on the stick ({shown.message}); what it would say stays here for the next one"
        emit(Event("receipts", "warning", text))
        return None
    emit(Event("receipts", "message", f"receipt on the stick: {told(made)}"))
    return made


def told(made: Made) -> str:
    """What a receipt holds, for people."""
    count = made.last.number - made.after.number
    left = made.head.number - made.last.number
    words = f"{count} {'entry' if count == 1 else 'entries'}, up to {made.last.number}"
    return f"{words}; {left} more don't fit and go onto the next" if left else words
