"""The chain of a device's audit log: each entry names the digest of the one before. Pure.

An entry is one line of canonical JSON (docs/formats/receipts.md). The line's own bytes are what is hashed, so a line
that reads the same but is spelt otherwise isn't the entry.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance import storage
from appliance.errors import TrustError
from appliance.trust import clock, limits

START = "0" * 64  # what the first entry names
FAULTS_TOLD = 20
_FIELDS = ("data", "device", "event", "number", "previous", "time")
_DEVICE = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TEXT = 2000  # characters of one text in an entry's data
_EVENT = 64  # characters
_ITEMS = 200  # of one list or object in an entry's data


@dataclass(frozen=True)
class Link:
    """A place in a chain: an entry's number from 1, and its digest; number 0 is the place before the first."""

    number: int
    digest: str

    def to_json(self) -> dict[str, Any]:
        """As files hold it."""
        return {"digest": self.digest, "number": self.number}


BEGIN = Link(0, START)


@dataclass(frozen=True)
class Entry:
    """One entry.

    Attributes:
        number: from 1, one more each.
        device: id of the device that wrote it.
        time: UTC, by the device's own clock, which may be wrong.
        event: what happened; `data` says more.
        previous: digest of the entry before.
        line: its bytes, without the line feed.
    """

    number: int
    device: str
    time: str
    event: str
    data: Mapping[str, Any]
    previous: str
    line: bytes = field(repr=False)

    @property
    def link(self) -> Link:
        """Its place."""
        return Link(self.number, storage.sha256_bytes(self.line))


@dataclass(frozen=True)
class Fault:
    """What is wrong with a chain, and at which entry's number."""

    entry: int
    what: str

    def __str__(self) -> str:
        return f"entry {self.entry}: {self.what}"


def is_device(value: object) -> bool:
    """Whether `value` is a device's id: 32 lower-case hex digits."""
    return isinstance(value, str) and _DEVICE.fullmatch(value) is not None


def is_digest(value: object) -> bool:
    """Whether `value` is a SHA-256 in lower-case hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def is_count(value: object) -> bool:
    """Whether `value` is a whole number from 0 that SQLite and JavaScript could hold too."""
    return type(value) is int and 0 <= value < 2**53


def link(value: object) -> Link:
    """The inverse of `Link.to_json`.

    Raises:
        ValueError: no link.
    """
    if not isinstance(value, dict) or sorted(value) != ["digest", "number"]:
        raise ValueError("not a place in a chain")
    number, digest = value["number"], value["digest"]
    if not is_count(number) or not is_digest(digest) or (number == 0) != (digest == START):
        raise ValueError("not a place in a chain")
    return Link(number, digest)


def check_depth(value: Any, most: int = limits.JSON_DEPTH) -> None:
    """See that objects and lists aren't nested deeper than `most`.

    Raises:
        ValueError: they are.
    """
    level = [value]
    for _ in range(most + 1):
        level = [
            inner
            for each in level
            if isinstance(each, (dict, list))
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"nested deeper than {most}")


def canonical_object(data: bytes, most: int) -> dict[str, Any]:
    """The object whose canonical JSON `data` is.

    Args:
        data: at most `most` bytes.
        most: bytes.

    Raises:
        ValueError: too long, no JSON, no object, nested too deep, or spelt otherwise (spaces, order, doubled names).
    """
    if len(data) > most:
        raise ValueError(f"longer than {most} bytes")
    try:
        value = json.loads(data.decode("utf-8"))
        check_depth(value)
        if not isinstance(value, dict) or storage.canonical_json(value) != data:
            raise ValueError("not the canonical JSON of an object")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    return value


def parse(line: bytes) -> Entry:
    """The entry that a line holds.

    Raises:
        ValueError: none.
    """
    value = canonical_object(line, limits.ENTRY_BYTES)
    if tuple(sorted(value)) != _FIELDS:
        raise ValueError("not the fields of an entry")
    number, event, data = value["number"], value["event"], value["data"]
    if not is_count(number) or number < 1 or not is_device(value["device"]):
        raise ValueError("no number or device")
    if not isinstance(event, str) or len(event) > _EVENT or not isinstance(data, dict):
        raise ValueError("no event or data")
    if not is_digest(value["previous"]) or (number == 1) != (value["previous"] == START):
        raise ValueError("names no entry before it")
    try:
        clock.from_text(value["time"])
    except TrustError as error:
        raise ValueError(error.message) from error
    return Entry(number, value["device"], value["time"], event, data, value["previous"], line)


def plain(value: Any, depth: int = limits.JSON_DEPTH - 2) -> Any:
    """`value` as it may stand in an entry or statement: what is no JSON as text, long texts and lists cut."""
    if isinstance(value, (bool, type(None))) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return value
    if isinstance(value, Mapping) and depth:
        return {str(plain(str(name))): plain(each, depth - 1) for name, each in list(value.items())[:_ITEMS]}
    if isinstance(value, (list, tuple)) and depth:
        return [plain(each, depth - 1) for each in value[:_ITEMS]]
    if isinstance(value, (Mapping, list, tuple, int)):
        return "…"  # nested too deep, or a number too long
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"


def encode(device: str, after: Link, time: str, event: str, data: Mapping[str, Any]) -> bytes:
    """The line, without its line feed, of the entry that follows `after`.

    What doesn't fit an entry is cut: a refusal must be logged, however long the reason that a file gave for it.
    """
    whole = plain(dict(data))
    for told in (whole, {"cut": storage.sha256_json(whole), "text": str(whole)[:_TEXT]}):
        line = storage.canonical_json(
            {
                "data": told,
                "device": device,
                "event": event[:_EVENT],
                "number": after.number + 1,
                "previous": after.digest,
                "time": time,
            }
        )
        if len(line) <= limits.ENTRY_BYTES:
            break
    return line


def split(data: bytes) -> tuple[list[bytes], bytes]:
    """The lines that end in a line feed, without it; and what stands behind the last of them."""
    *lines, rest = data.split(b"\n")
    return lines, rest


def follow(lines: Iterable[bytes], after: Link, device: str = "") -> tuple[list[Entry], list[Fault]]:
    """Walk a chain.

    Args:
        lines: of the entries behind `after`, in order.
        after: the place that they must follow.
        device: whose entries they must be; empty: of one device, whichever.

    Returns:
        The entries that could be read, and the faults, at most `FAULTS_TOLD`. After a fault the walk goes on from the
        line that it found, so that one edit is one fault.
    """
    entries: list[Entry] = []
    faults: list[Fault] = []
    for line in lines:
        if len(faults) >= FAULTS_TOLD:
            break
        number = after.number + 1
        try:
            entry = parse(line)
        except ValueError as error:
            faults.append(Fault(number, f"damaged or edited: {error}"))
            after = Link(number, storage.sha256_bytes(line))
            continue
        device = device or entry.device
        if entry.device != device:
            faults.append(Fault(number, f"written by another device, {entry.device}"))
        elif entry.number > number:
            missing = f"entries {number} to {entry.number - 1} are" if entry.number > number + 1 else "it is"
            faults.append(Fault(number, f"{missing} missing (cut out)"))
        elif entry.number < number:
            faults.append(Fault(number, f"the number {entry.number} stands in its place (put in twice)"))
        elif entry.previous != after.digest:
            faults.append(
                Fault(number - 1, f"edited: entry {number} names another digest than it has")
                if number > 1
                else Fault(1, "doesn't begin a chain")
            )
        entries.append(entry)
        after = entry.link
    return entries, faults


def entry_at(entries: Sequence[Entry], number: int) -> Entry | None:
    """The entry with a number in a walked chain, or None; of a damaged one some may be missing."""
    place = bisect_left(entries, number, key=lambda entry: entry.number)
    return entries[place] if place < len(entries) and entries[place].number == number else None
