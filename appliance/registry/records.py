"""What a registry knows of a release beyond its bytes: when it was added, its channel, its parents, where it was seen.

A record is a small file, `records/DIGEST.CHANGE.json`. A change writes the next number and then removes the one before,
so the names alone tell whether an index is up to date. Records and objects are the registry; the index is made of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from appliance import storage
from appliance.errors import TrustError
from appliance.registry import manifest as manifests

FORMAT = "anchorhold-registry-record/1"
MAX_BYTES = 4 * 1024 * 1024
Channel = Literal["candidate", "stable"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
_NAME = re.compile(r"([0-9a-f]{64})\.([1-9]\d{0,11})\.json")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Sighting:
    """Where a release went: a stick that it was written to, or a device that says it runs it.

    Attributes:
        kind: "stick" or "device".
        name: what the stick or the device is called.
        time: UTC, as 2026-11-01T00:00:00Z, by the clock of whoever told it.
        by: who answers for it: the id of the key that signed the stick, or whoever brought the word; may be empty.
        number: of a stick: the version of the timestamp that it was signed with; 0: not known.
        begun: writing the stick was begun and isn't known to have ended: it may hold the release or not.
    """

    kind: str
    name: str
    time: str
    by: str = ""
    number: int = 0
    begun: bool = False

    @property
    def place(self) -> tuple[str, str]:
        """What it is about: told again of the same place, the one takes the other's place."""
        return self.kind, self.name


def with_sighting(known: tuple[Sighting, ...], told: Sighting) -> tuple[Sighting, ...]:
    """What is known of a release's ways after one more word; `known` itself where that says nothing new. Pure."""
    former = next((each for each in known if each.place == told.place), None)
    if former == told or (former is not None and told.kind == "device" and former.time > told.time):
        return known
    return (*(each for each in known if each is not former), told)


@dataclass(frozen=True)
class Record:
    """One release's record.

    Attributes:
        release: SHA-256 of its release.json.
        number: its place in the order of adding; higher is later, whatever the clock said.
        added: UTC, as 2026-11-01T00:00:00Z.
        channel: "candidate" or "stable".
        promoted: when the channel was last set; empty if never.
        promotion: its place in the order of promotions; 0 if never.
        parents: digests of the releases that it follows; they may be gone.
        sightings: where it went, oldest first.
        change: 1 for a new record, one more at each change.
    """

    release: str
    number: int
    added: str
    channel: Channel = "candidate"
    promoted: str = ""
    promotion: int = 0
    parents: tuple[str, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    change: int = 1

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"{self.release}.{self.change}.json"

    def changed(self, **fields: Any) -> Record:
        """The record that follows this one."""
        return replace(self, **fields, change=self.change + 1)


def encode(record: Record) -> bytes:
    """The bytes of a record's file."""
    return storage.canonical_json({"format": FORMAT, **asdict(record)}) + b"\n"


def _sighting(value: Any) -> Sighting:
    sighting = Sighting(**value)
    if not all(isinstance(said, str) for said in (sighting.kind, sighting.name, sighting.time, sighting.by)):
        raise ValueError("a sighting isn't text")
    if type(sighting.number) is not int or sighting.number < 0 or type(sighting.begun) is not bool:
        raise ValueError("a sighting's number isn't a whole one from 0, or `begun` isn't yes or no")
    return sighting


def _record(raw: Any) -> Record:
    if not isinstance(raw, dict) or raw.pop("format", None) != FORMAT:
        raise ValueError(f"not of the format {FORMAT}")
    raw["parents"] = tuple(raw.get("parents", ()))
    raw["sightings"] = tuple(_sighting(each) for each in raw.get("sightings", ()))
    record = Record(**raw)
    if not all(manifests.is_digest(each) for each in (record.release, *record.parents)):
        raise ValueError("a release isn't named by its SHA-256")
    if any(type(each) is not int or each < 1 for each in (record.number, record.change)):
        raise ValueError("a number isn't a whole number from 1")
    if type(record.promotion) is not int or record.promotion < 0:
        raise ValueError("`promotion` isn't a whole number from 0")
    if record.channel not in CHANNELS:
        raise ValueError(f"no channel {record.channel!r}")
    if not _TIME.fullmatch(record.added) or not (record.promoted == "" or _TIME.fullmatch(record.promoted)):
        raise ValueError("a time isn't such as 2026-11-01T00:00:00Z")
    return record


def decode(data: bytes, where: str) -> Record:
    """Check the bytes of a record.

    Args:
        where: names the file in errors.

    Raises:
        TrustError: damaged, or of another format.
    """
    try:
        return _record(json.loads(data))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise TrustError(
            f"{where}: a damaged record ({error})",
            "restore it from a backup; or delete it and add its release again (`anchorhold registry add`)",
        ) from error


class Records:
    """The records of one folder. Whoever changes them holds the registry's lock.

    Args:
        folder: made when the first record comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> dict[str, list[int]]:
        """Digest -> the numbers of its changes, ascending: one, or more where a writer was killed."""
        found: dict[str, list[int]] = {}
        if self.folder.is_dir():
            with os.scandir(self.folder) as entries:
                for entry in entries:
                    if match := _NAME.fullmatch(entry.name):
                        found.setdefault(match[1], []).append(int(match[2]))
        for changes in found.values():
            changes.sort()
        return found

    def newest(self) -> dict[str, int]:
        """Digest -> the number of its newest change."""
        return {digest: changes[-1] for digest, changes in self.names().items()}

    def read(self, digest: str, change: int) -> Record:
        """One record.

        Raises:
            TrustError: damaged, or it tells of another release than its name.
        """
        path = self.folder / f"{digest}.{change}.json"
        with path.open("rb") as stream:
            record = decode(stream.read(MAX_BYTES), str(path))
        if (record.release, record.change) != (digest, change):
            raise TrustError(f"{path}: tells of another release than its name", "restore it from a backup")
        return record

    def write(self, record: Record) -> None:
        """Make `record` the newest of its release, durably; the ones before it go."""
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True)
            storage.fsync_folder(self.folder.parent)
        storage.write_bytes(self.folder / record.file_name, encode(record))
        if record.change > 1:
            self.remove(record.release, [record.change - 1])

    def remove(self, digest: str, changes: Iterable[int]) -> None:
        """Delete records of a release, oldest first, so that none comes back by a kill between two."""
        for change in sorted(changes):
            (self.folder / f"{digest}.{change}.json").unlink(missing_ok=True)

    def sync(self) -> None:
        """Make deletions durable."""
        if self.folder.is_dir():
            storage.fsync_folder(self.folder)
