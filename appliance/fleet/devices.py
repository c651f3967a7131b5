"""What the workshop keeps of each device: `devices/ID/` in the registry's folder (docs/formats/receipts.md).

    device.json        its key, name, how far its log is known, the newest statement; replaced by a rename
    audit.jsonl        its log's entries, as it wrote them
    statements.jsonl   the signed first lines of each receipt that was taken: with the entries they prove it to others
    refused.jsonl      receipts that weren't taken and why; refused/ holds those that prove something (refusals.py)
    former-N/          what was known under a key that a person has replaced

Entries are written before device.json says how many there are: what a kill leaves behind that many is overwritten.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import ReceiptError, TrustError, UsageError
from appliance.fleet import refusals
from appliance.registry import locks
from appliance.trust import chain, clock, limits
from appliance.trust.chain import Entry, Link
from appliance.trust.receipt import Receipt

FORMAT = "anchorhold-fleet-device/1"
_STATE, _LOG, _STATEMENTS = "device.json", "audit.jsonl", "statements.jsonl"
FIRST_USE = "first use"  # how a device came to be known: a person took what lay on a stick
_PLACES = ("begin", "head", "reach")  # fields of device.json
_STATE_BYTES = 2 * limits.STATEMENT_BYTES
SHORTEST = 4  # characters of an id that name a device


@dataclass(frozen=True)
class Known:
    """One device, as the workshop knows it.

    Attributes:
        device: its id.
        key: its public key in hex.
        name: what people here call it; may be empty.
        enrolled: when, by the workshop's clock; `how`: "listed" by a person who had the key, or at "first use".
        begin: the place that the first known entry follows.
        head: of the last known entry.
        reach: where its log ended, as it has said; at or behind `head`.
        seen: when its newest receipt was written, by its own clock; empty before the first.
        taken: when that came here, by the workshop's clock.
        fresh: number of the first entry that came with the newest receipt that brought any.
        statement: the newest version manifest.
    """

    device: str
    key: str
    name: str = ""
    enrolled: str = ""
    how: str = ""
    begin: Link = chain.BEGIN
    head: Link = chain.BEGIN
    reach: Link = chain.BEGIN
    seen: str = ""
    taken: str = ""
    fresh: int = 1
    statement: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def title(self) -> str:
        """What to call it: its name, or the beginning of its id."""
        return self.name or self.device[:12]


def _decode(data: bytes, path: Path) -> Known:
    try:
        value = json.loads(data)
        if value.pop("format") != FORMAT:
            raise ValueError("another format")
        known = Known(**{**value, **{name: chain.link(value[name]) for name in _PLACES}})
        if not chain.is_device(known.device) or not chain.is_digest(known.key):
            raise ValueError("no device or key")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError(
            f"{path}: damaged ({error})", "restore the registry's devices/ from a backup"
        ) from error
    return known


def _append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add a line durably; one that a kill has cut is closed first."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        size = os.fstat(fd).st_size
        closing = b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""
        storage.append_whole(fd, closing + storage.canonical_json(value) + b"\n")
    finally:
        os.close(fd)


def now() -> str:
    """The workshop's time, as files spell it."""
    return clock.to_text(clock.machine_time())


class Devices:
    """All devices of a registry.

    Args:
        registry: the registry's folder; `devices/` in it is made by the first device.
    """

    def __init__(self, registry: Path) -> None:
        self.folder = registry / "devices"

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one who changes them."""
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            storage.fsync_folder(self.folder.parent)
        with locks.held(self.folder / ".writer"):
            yield

    def ids(self) -> list[str]:
        """The ids of all devices."""
        if not self.folder.is_dir():
            return []
        return sorted(path.name for path in self.folder.iterdir() if chain.is_device(path.name))

    def read(self, device: str) -> Known | None:
        """One device; None where it isn't enrolled.

        Raises:
            TrustError: damaged.
        """
        path = self.folder / device / _STATE
        try:
            with path.open("rb") as stream:
                return _decode(stream.read(_STATE_BYTES), path)
        except FileNotFoundError:
            return None

    def all(self) -> list[Known]:
        """Every enrolled device whose file can be read, by name and id; `problems` tells of the others."""
        found = []
        for device in self.ids():
            with contextlib.suppress(TrustError):
                known = self.read(device)
                found += [known] if known is not None else []
        return sorted(found, key=lambda known: (known.name == "", known.name, known.device))

    def problems(self) -> list[str]:
        """What is damaged here, a line a device."""
        found = []
        for device in self.ids():
            try:
                known = self.read(device)
                if known is not None:
                    self.entries(known)
            except TrustError as error:
                found.append(f"{error.message}; {error.hint}")
        return found

    def find(self, word: str) -> Known:
        """The device that `word` means: its name, or the beginning of its id.

        Raises:
            UsageError: none, or several.
        """
        known = self.all()
        found = [each for each in known if each.name == word]
        if not found and len(word) >= SHORTEST:
            found = [each for each in known if each.device.startswith(word)]
        if len(found) == 1:
            return found[0]
        what = f"{len(found)} devices are called so" if found else "no such device"
        raise UsageError(f"{word!r}: {what}", "`anchorhold fleet` lists them; give a name or more of the id")

    def entries(self, known: Known) -> list[Entry]:
        """A device's known entries, oldest first.

        Raises:
            TrustError: what is kept here isn't what was taken.
        """
        path = self.folder / known.device / _LOG
        try:
            lines = chain.split(path.read_bytes())[0]
        except FileNotFoundError:
            lines = []
        count = known.head.number - known.begin.number
        found, faults = chain.follow(lines[:count], known.begin, device=known.device)
        if faults or len(found) != count or (found and found[-1].link != known.head):
            what = str(faults[0]) if faults else f"it ends before entry {known.head.number}"
            raise TrustError(f"{path}: damaged here: {what}", "restore the registry's devices/ from a backup")
        return found

    def write(self, known: Known) -> None:
        """Keep what is known of a device."""
        value = {
            **{name: getattr(known, name) for name in known.__dataclass_fields__},
            **{name: getattr(known, name).to_json() for name in _PLACES},
            "format": FORMAT,
        }
        # Without spaces: indented, what a device has signed could grow beyond what is read back.
        storage.write_bytes(self.folder / known.device / _STATE, storage.canonical_json(value) + b"\n")

    def take(self, known: Known, receipt: Receipt, added: tuple[Entry, ...], begin: Link) -> Known:
        """Keep a receipt that was judged good; entries first, then what says how many they are."""
        folder = self.folder / known.device
        folder.mkdir(parents=True, exist_ok=True)
        self._append_entries(known, added)
        _append_line(folder / _STATEMENTS, {"taken": now(), "signed": receipt.signed.decode()})
        new = replace(
            known,
            begin=begin,
            head=added[-1].link if added else (known.head if known.head.number else begin),
            reach=max(known.reach, receipt.head, key=lambda place: place.number),
            seen=clock.to_text(receipt.time),
            taken=now(),
            fresh=added[0].number if added else known.fresh,
            statement=dict(receipt.statement),
        )
        self.write(new)
        return new

    def _append_entries(self, known: Known, added: tuple[Entry, ...]) -> None:
        if not added:
            return
        path = self.folder / known.device / _LOG
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            count = known.head.number - known.begin.number
            with os.fdopen(os.dup(fd), "rb") as stream:
                kept = sum(len(stream.readline()) for _ in range(count))
            os.ftruncate(fd, kept)
            os.lseek(fd, 0, os.SEEK_END)
            storage.append_whole(fd, b"".join(entry.line + b"\n" for entry in added))
        finally:
            os.close(fd)
        storage.fsync_folder(path.parent)

    # What wasn't taken

    def refuse(self, device: str, error: ReceiptError, data: bytes) -> None:
        """Keep why a receipt wasn't taken; and the receipt itself where it proves something against its signer."""
        refusals.keep(self.folder / device, error, data, now())

    def refusals(self, device: str) -> list[dict[str, Any]]:
        """Receipts that weren't taken, oldest first; fields as `refusals.read` gives them."""
        return refusals.read(self.folder / device)

    # Enrolling

    def enrol(self, device: str, key: str, name: str, how: str, *, replace_key: bool = False) -> Known:
        """Begin to know a device by its key.

        Args:
            device: its id.
            key: its public key in hex.
            name: what to call it; may be empty.
            how: "listed" or "first use".
            replace_key: begin anew where it is known already; what was known is put aside.

        Raises:
            UsageError: not an id or key, or it is known under another key.
        """
        if not chain.is_device(device) or not chain.is_digest(key):
            raise UsageError(
                "a device's id has 32 hex digits, its key 64",
                "`anchorhold receipts identity` prints both there",
            )
        former = self.read(device)
        if former is not None and not replace_key:
            if former.key != key:
                raise UsageError(
                    f"{former.title} is enrolled under another key", "--replace takes the new one"
                )
            if name and name != former.name:
                former = replace(former, name=name)
                self.write(former)
            return former
        if former is not None:
            self._put_aside(device)
            name = name or former.name
        known = Known(device, key, name, now(), how)
        self.write(known)
        return known

    def _put_aside(self, device: str) -> None:
        folder = self.folder / device
        number = 1 + len(list(folder.glob("former-*")))
        aside = folder / f"former-{number}"
        aside.mkdir()
        # What was refused was held against the former key: it must take no room from what is held against the new one.
        for name in (
            refusals.FILE,
            refusals.FOLDER,
            _LOG,
            _STATEMENTS,
            _STATE,
        ):  # what says that it is known goes last
            with contextlib.suppress(FileNotFoundError):
                (folder / name).rename(aside / name)
        storage.fsync_folder(folder)

    def links(self) -> dict[str, Link]:
        """The last known entry of each device: what a stick acknowledges.

        Not of one whose entries are damaged here: it would drop its own copy.
        """
        found = {}
        for known in self.all():
            with contextlib.suppress(TrustError):  # `problems` names it
                self.entries(known)
                if known.head.number:
                    found[known.device] = known.head
        return found
