"""A registry: add releases, find them, promote them. The files are the truth; the index follows them.

    objects/ab/ab12…       files by digest
    records/DIGEST.N.json  what is known of a release beyond its bytes
    index.sqlite           made of both
    .intake .writer        locks: held together by adders and alone by gc; held by the one who changes a record

A release is in the registry from the moment its record has its name; all its objects are durable by then.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance import storage
from appliance.errors import StorageError, TrustError, UsageError
from appliance.registry import locks
from appliance.registry import manifest as manifests
from appliance.registry.index import Damaged, Index, Listed, OtherSchema
from appliance.registry.objects import Objects, open_regular
from appliance.registry.records import Channel, Record, Records, Sighting, with_sighting

INDEX_FILE = "index.sqlite"
_SHORTEST_PREFIX = 6  # characters of a digest that name a release
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def now() -> str:
    """The machine's time, as records spell it."""
    return time.strftime(_TIME, time.gmtime())


@dataclass(frozen=True)
class Added:
    """What `Registry.add` did.

    Attributes:
        digest, manifest: of the release.
        new: False where it was there already.
        files: how many of its files came in; those that were there and whole don't count.
    """

    digest: str
    manifest: manifests.Manifest
    new: bool
    files: int


class Registry:
    """One registry's folder.

    Args:
        folder: made by the first `add`.

    Close it, or use it in a `with`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = Objects(folder / "objects")
        self.records = Records(folder / "records")
        self._index: Index | None = None

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        if self._index is not None:
            self._index.close()
            self._index = None

    @property
    def index_path(self) -> Path:
        """The index's file."""
        return self.folder / INDEX_FILE

    @contextlib.contextmanager
    def intake(self, *, alone: bool = False) -> Iterator[None]:
        """Keep gc away while objects come or are read; `alone`: be gc."""
        self._make()
        with locks.held(self.folder / ".intake", shared=not alone):
            yield

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep gc away while objects are read; where nothing can be written, nobody collects either."""
        if not self.folder.is_dir():
            raise UsageError(f"{self.folder}: no registry there", "`anchorhold registry add` begins one")
        if not os.access(self.folder, os.W_OK):
            yield
            return
        with self.intake():
            yield

    @contextlib.contextmanager
    def writing(self) -> Iterator[Index]:
        """Be the one who changes records; gives the index, up to date."""
        self._make()
        with locks.held(self.folder / ".writer"):
            yield self._caught_up()

    def _make(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            storage.fsync_folder(self.folder.parent)

    # The index

    def index(self) -> Index:
        """The index, up to date with the records.

        Raises:
            StorageError: damaged, or another program keeps the registry busy.
        """
        if not self.records.folder.is_dir() and not self.index_path.exists():
            return Index(None)  # nothing was ever added
        writable = os.access(self.folder, os.W_OK)
        try:
            index = self._open(create=False)
            if index.newest() == self.records.newest():
                return index
        except Damaged:
            pass  # told below, or made again
        except StorageError:
            if writable:
                raise
        if not writable:
            return self._in_memory()
        with self.writing() as index:
            return index

    def _open(self, *, create: bool) -> Index:
        if self._index is None:
            self._index = Index(self.index_path, create=create)
        return self._index

    def _in_memory(self) -> Index:
        self.close()
        self._index = Index(None)
        self._follow(self._index)
        return self._index

    def _caught_up(self) -> Index:
        try:
            index = self._open(create=True)
        except OtherSchema:
            self._remove_index()
            index = self._open(create=True)
        except Damaged as error:
            raise StorageError(
                f"{self.index_path}: the index is damaged ({error})",
                "`anchorhold registry verify --rebuild` makes it again; nothing is lost by that",
            ) from error
        self._follow(index)
        return index

    def _follow(self, index: Index) -> None:
        """Enter what the records say and the index doesn't."""
        found = self.records.names()
        entered = index.newest()
        changed = {
            digest: changes[-1] for digest, changes in found.items() if entered.get(digest) != changes[-1]
        }
        gone = entered.keys() - found.keys()
        if changed or gone:
            with index.changing():
                for digest in gone:
                    index.remove(digest)
                for digest, change in changed.items():
                    self.enter(index, digest, change)
        for digest, changes in found.items():
            if len(changes) > 1 and os.access(self.records.folder, os.W_OK):
                self.records.remove(digest, changes[:-1])

    def enter(self, index: Index, digest: str, change: int) -> None:
        """Enter one record into the index, or why it can't be read. Inside `index.changing`."""
        try:
            record = self.records.read(digest, change)
            data = self.objects.read(digest, manifests.MAX_BYTES)
            index.put(record, manifests.parse(data), len(data))
        except TrustError as error:
            index.put_unreadable(digest, change, error.message)

    def rebuild(self) -> int:
        """Make the index again from records and objects; returns how many releases it holds."""
        self._make()
        with locks.held(self.folder / ".writer"):
            self._remove_index()
            return len(self._caught_up().newest())

    def index_fault(self) -> str:
        """What the index says otherwise than records and objects do; empty if nothing.

        What a killed writer left out of it is entered, and no fault.
        """
        lock = (
            locks.held(self.folder / ".writer")
            if os.access(self.folder, os.W_OK)
            else contextlib.nullcontext()
        )
        fresh = Index(None)
        with lock, contextlib.closing(fresh):
            self._follow(fresh)
            try:
                index = self._open(create=False)
                integrity = index.integrity()
                if integrity != "ok":
                    return f"damaged ({integrity.splitlines()[-1]})"
                if os.access(self.folder, os.W_OK):
                    self._follow(index)
                # What can't be read is told of by itself; the index may still know more of it.
                without = set(fresh.unreadable())
                content, truth = index.content(without), fresh.content(without)
            except Damaged as error:
                return str(error)
            except StorageError as error:
                return error.message
        wrong = [table for table in truth if truth[table] != content[table]]
        return f"{', '.join(wrong)}: not what records and objects say" if wrong else ""

    def _remove_index(self) -> None:
        self.close()
        # The file before its journal: a journal that outlived its file is ignored by SQLite, but a file that
        # outlived its journal would be taken for whole.
        for name in (INDEX_FILE, f"{INDEX_FILE}-journal"):
            (self.folder / name).unlink(missing_ok=True)
            storage.fsync_folder(self.folder)

    # Adding

    def add(
        self,
        folder: Path,
        *,
        parents: Sequence[str] | None = None,
        added: str = "",
        sightings: Sequence[Sighting] = (),
    ) -> Added:
        """Take in the release that lies in `folder`: release.json and the files that it lists.

        Args:
            parents: releases that it follows; None: the last one of its name.
            added: when; empty: now.
            sightings: where it is known to have gone.

        Raises:
            TrustError: release.json is wrong, or a file isn't what it says; nothing of it was added.
            UsageError: no release there.
            StorageError: the disk said no.
        """
        try:
            with open_regular(folder / manifests.FILE_NAME) as stream:
                data = stream.read(manifests.MAX_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(
                f"{folder}: no {manifests.FILE_NAME} there", "`anchorhold release` makes a release"
            ) from error
        manifest = manifests.parse(data)
        with self.intake():
            came = [
                self.objects.put_file(folder / file.name, file.sha256, file.bytes) for file in manifest.files
            ]
            digest = self.objects.put_bytes(data)
            with self.writing() as index:
                change = index.change(digest)
                if change and digest not in index.unreadable():
                    return Added(digest, manifest, new=False, files=sum(came))
                record = self._readable(digest, change)
                if record is None:
                    if parents is None:
                        last = max(index.listed(manifest.name), key=lambda each: each.number, default=None)
                        parents = [last.digest] if last else []
                    record = Record(
                        release=digest,
                        number=index.next_number(),
                        added=added or now(),
                        parents=tuple(parents),
                        sightings=tuple(sightings),
                        change=change,
                    )
                self._write(index, record.changed(), manifest, len(data))
        return Added(digest, manifest, new=not change, files=sum(came))

    def _readable(self, digest: str, change: int) -> Record | None:
        try:
            return self.records.read(digest, change) if change else None
        except TrustError:
            return None

    def _write(self, index: Index, record: Record, manifest: manifests.Manifest, size: int) -> None:
        self.records.write(record)
        with index.changing():
            index.put(record, manifest, size)

    # Finding

    def manifest(self, digest: str) -> manifests.Manifest:
        """The release.json of a release, read from its object and checked.

        Raises:
            TrustError: missing or damaged.
        """
        return manifests.parse(self.objects.read(digest, manifests.MAX_BYTES))

    def record(self, digest: str) -> Record:
        """The record of a release.

        Raises:
            UsageError: no such release.
            TrustError: damaged.
        """
        changes = self.records.names().get(digest)
        if not changes:
            raise UsageError(f"no release {digest} in {self.folder}", "`anchorhold registry list` shows them")
        return self.records.read(digest, changes[-1])

    def find(self, word: str) -> Listed:
        """The release that `word` means.

        Args:
            word: NAME (the one added last), NAME@VERSION, NAME@CHANNEL (the one promoted to it last), or six or more
                characters of a digest.

        Raises:
            UsageError: none, or a digest's beginning that several share.
        """
        index = self.index()
        name, _, which = word.partition("@")
        known = index.listed(name)
        if known and not which:
            return max(known, key=lambda each: each.number)
        if known:
            fitting = [each for each in known if which in {each.version, each.channel}]
            if fitting:
                return max(
                    fitting, key=lambda each: (each.promotion if which == each.channel else 0, each.number)
                )
            shown = ", ".join(dict.fromkeys(each.version for each in known[:8]))
            raise UsageError(f"no {name} {which} in the registry", f"of {name} it has {shown}")
        if len(word) >= _SHORTEST_PREFIX and not word.strip("0123456789abcdef"):
            found = index.with_prefix(word)
            if len(found) == 1:
                return found[0]
            if found:
                raise UsageError(f"{word}: {len(found)} releases begin so", "give more of the digest")
        raise UsageError(
            f"{word!r}: no such release in {self.folder}",
            "give NAME, NAME@VERSION, NAME@stable or a digest; `anchorhold registry list` shows them",
        )

    # Changing

    def promote(self, digest: str, channel: Channel) -> Record:
        """Put a release into a channel; there it is the newest from now on."""
        with self.writing() as index:
            return self._change(
                index, digest, channel=channel, promoted=now(), promotion=index.next_promotion()
            )

    def sight(self, digest: str, sighting: Sighting) -> Record:
        """Note where a release went; told the same again, nothing changes.

        Of one place the last word counts, and of a device the one with the latest time: what devices tell comes back
        in any order.

        Raises:
            UsageError: no such release.
        """
        with self.writing() as index:
            record = self.record(digest)
            sightings = with_sighting(record.sightings, sighting)
            return (
                record if sightings == record.sightings else self._change(index, digest, sightings=sightings)
            )

    def _change(self, index: Index, digest: str, **fields: object) -> Record:
        manifest = self.manifest(digest)
        record = self.record(digest).changed(**fields)
        self._write(index, record, manifest, self.objects.path(digest).stat().st_size)
        return record
