"""A device's audit log: installs, refusals, rollbacks, drift, and who did what by hand, each entry chained to the last.

docs/formats/receipts.md describes it. How the files hold together is log_files.py's, what an entry is trust/chain.py's.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.paths import Device
from appliance.trust import chain, clock, device_identity
from appliance.trust.chain import BEGIN, Entry, Fault, Link
from appliance.update import log_files

_OF_ITSELF = {"begin lost", "log cut", "key made"}  # entries that tell of a loss of the log or of the key


@dataclass(frozen=True)
class Report:
    """What a look at the whole log found.

    Attributes:
        entries: those that could be read.
        faults: what is wrong; empty when the chain holds.
        begin: the place that the first entry follows.
        head: of the last entry; `begin` where there is none.
        torn: bytes behind the last whole entry, which the next one will put aside; no fault.
        chain_faults: those of `faults` that the log has by itself, whatever acknowledged.json says.
        notes: what was lost of the log, and mended or told by an entry; no fault.
    """

    entries: tuple[Entry, ...]
    faults: tuple[Fault, ...]
    begin: Link
    head: Link
    torn: int
    chain_faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()


def path(device: Device) -> Path:
    """Where the newest entries lie."""
    return device.log / log_files.ACTIVE


def operator() -> str:
    """The login name of whoever started this program, through sudo or not."""
    name = os.environ.get("SUDO_USER", "")
    with contextlib.suppress(KeyError):
        name = name or pwd.getpwuid(os.getuid()).pw_name
    return name or str(os.getuid())


def append(device: Device, event: str, **data: Any) -> Entry:
    """Add an entry, durably; installer, gateway and watcher may do so at once.

    What a power cut left of a line is kept aside, and an entry says so before this one.

    Args:
        device: whose log; its identity is made if it has none.
        event: what happened, in a word or two.
        data: JSON values; what doesn't fit an entry is cut.

    Returns:
        The entry.

    Raises:
        OSError: it can't be written; then nothing of it stays.
    """
    return _write(device, [(event, data)])[1][-1]


def identity(device: Device) -> device_identity.Identity:
    """The device's identity, made if it has none; a lost one keeps the id that the log knows, and the log says so.

    Raises:
        OSError: it can't be written.
    """
    return _write(device, [])[0]


def _write(
    device: Device, events: Sequence[tuple[str, dict[str, Any]]]
) -> tuple[device_identity.Identity, list[Entry]]:
    """Write these under one lock, and before them what the log has to say of itself.

    Without `events` only what must not wait for the next one: a key that was made, or a beginning that was lost.
    """
    with log_files.writing(device.log):
        last, torn = log_files.mend(device.log)
        found, again = device_identity.prepare(device, _device_of(device))
        begin = log_files.lost_begin(device.log)
        if not events and not again and begin is None:
            return found, []
        told: list[tuple[str, dict[str, Any]]] = [("torn", {"kept": each.name}) for each in torn]
        acknowledged = log_files.acknowledged(device.log)
        written = log_files.read_place(device.log / log_files.HEAD) or acknowledged
        if begin is not None:
            where = {"begins": begin.number + 1, "follows": begin.digest, "acknowledged": acknowledged.number}
            told.append(("begin lost", where))
        if not torn and (written.number > last.number or _another(written, last)):
            # Said now: the next entry's place becomes the log's end, and what was lost would be seen by nobody.
            told.append(
                ("log cut", {"written": written.number, "digest": written.digest, "ends": last.number})
            )
        if again:
            told.append(
                (
                    "key made",
                    {"fingerprint": found.fingerprint, "reason": "the former one was lost or replaced"},
                )
            )
        if last == BEGIN and (former := log_files.former(device.log)):
            told.append(("log begun", {"former": [path.name for path in former]}))
        entries = _add(device, found.device, last, told)
        # After the entries that say so: killed between, it is said once more.
        if begin is not None:
            log_files.write_place(device.log / log_files.FIRST, begin)
        if again:
            device_identity.settle(device)
        entries += _add(device, found.device, entries[-1].link if entries else last, events)
    return found, entries


def _add(device: Device, owner: str, last: Link, events: Sequence[tuple[str, dict[str, Any]]]) -> list[Entry]:
    """Write entries of the device `owner` behind `last`."""
    entries = []
    for event, values in events:
        time = clock.to_text(clock.machine_time())
        entries.append(chain.parse(chain.encode(owner, last, time, event, values)))
        log_files.append(device.log, entries[-1].line)
        last = entries[-1].link
    return entries


def _another(written: Link, last: Link) -> bool:
    return written.number == last.number and written != last


def _device_of(device: Device) -> str:
    """The id that the log's own entries have; "" if there is none."""
    if device_identity.read(device) is not None:
        return ""
    for line in reversed(log_files.lines(device.log)[0]):
        with contextlib.suppress(ValueError):
            return chain.parse(line).device
    return ""


def entries(device: Device) -> list[dict[str, Any]]:
    """All whole entries as their lines say them, oldest first; `verify` names those that can't be read."""
    with log_files.reading(device.log):
        lines = log_files.lines(device.log)[0]
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict) and {"event", "data"} <= entry.keys()]


def check(folder: Path, device: str = "") -> Report:
    """Walk the whole log in `folder`; the last entry written and the last one acknowledged must be in it.

    Args:
        folder: `log/` of a device, or a copy of it.
        device: the id that the entries must have; empty: one id, whichever.
    """
    with log_files.reading(folder):
        lines, rest = log_files.lines(folder)
        begin, written = log_files.begin(folder), log_files.read_place(folder / log_files.HEAD)
        lost = log_files.lost_begin(folder) is not None
        acknowledged = log_files.acknowledged(folder)
    with contextlib.suppress(ValueError):
        chain.parse(rest)
        lines, rest = [*lines, rest], b""  # it lacks nothing but its line feed
    found, faults = chain.follow(lines, begin, device=device)
    head = found[-1].link if found else begin
    where = len(lines) + begin.number
    behind = [
        Fault(begin.number, "the log begins behind it, though the workshop hasn't acknowledged so much")
    ] * (begin.number > acknowledged.number)
    if written is not None and not faults:
        faults += _against(found, begin, written, where, f"{written.number} were written here")
    of_chain = tuple(faults)
    faults = [*behind, *faults]
    if not faults:
        faults += _against(found, begin, acknowledged, where, f"the workshop has {acknowledged.number}")
    notes = _notes(found, begin, lost=lost)
    return Report(tuple(found), tuple(faults), begin, head, len(rest), of_chain, notes)


def _notes(found: Sequence[Entry], begin: Link, *, lost: bool) -> tuple[str, ...]:
    notes = [
        f"begin.json is lost or damaged: the log begins with entry {begin.number + 1}, which names what it follows; "
        "the next entry says so"
    ] * lost
    told = [entry for entry in found if entry.event in _OF_ITSELF]
    notes += [f"entry {entry.number} tells: {entry.event}, at {entry.time}" for entry in told]
    return tuple(notes)


def _against(found: list[Entry], begin: Link, known: Link, last: int, words: str) -> list[Fault]:
    """Whether the log agrees with a place that is known from elsewhere."""
    if known.number > last:
        return [Fault(last, f"the log ends here, though {words}: it was cut, or an older copy was put back")]
    there = chain.entry_at(found, known.number)
    link = there.link if there is not None else begin if begin.number == known.number else None
    if link is not None and link != known:
        return [Fault(known.number, "edited: another entry stood here")]
    return []


def verify(device: Device) -> list[str]:
    """What is wrong with the log, one line a fault; empty when the chain holds."""
    known = device_identity.read(device)
    report = check(device.log, known.device if known is not None else "")
    return [str(fault) for fault in report.faults]
