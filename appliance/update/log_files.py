"""The files of a device's audit log: one that grows, older ones, what a power cut tore, and where the log ends.

log/audit.jsonl               the newest entries
log/audit-0000000001.jsonl    older ones, named after their first entry; LOG_SEGMENT_BYTES each
log/head.json                 number and digest of the last entry written: a log that ends before it was cut
log/acknowledged.json         the last entry that the workshop has, as a stick said
log/begin.json                where the log begins, once acknowledged entries were dropped
log/torn-2-DIGEST.bin         bytes that a power cut left behind entry 1
log/before-DIGEST.jsonl       a log of before version 1 of this format
log/.audit.lock               held by whoever writes
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance import storage
from appliance.regular_file import open_regular
from appliance.trust import chain, limits
from appliance.trust.chain import Link

ACTIVE = "audit.jsonl"
HEAD, FIRST, ACKNOWLEDGED = "head.json", "begin.json", "acknowledged.json"
_LOCK = ".audit.lock"
_OLDER = re.compile(r"audit-(\d{10})\.jsonl")
_TORN = re.compile(r"torn-(\d{1,16})-[0-9a-f]{12}\.bin")
_PLACE_BYTES = 1024  # of a small file that names a place


@dataclass(frozen=True)
class Torn:
    """Bytes that stood where entry `number` should begin, kept in the file `name` of the log's folder."""

    number: int
    name: str


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Be the one who writes the log in `folder`; it is made if missing. Freed by the kernel when its holder dies."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        storage.belongs_to_folder(folder, folder.parent)
        storage.fsync_folder(folder.parent)
    path = folder / _LOCK
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        fd = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        storage.belongs_to_folder(path, folder.parent)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Keep writers away while several files are read; where there was never a writer there is nothing to wait for."""
    try:  # O_NONBLOCK: the folder may be a copy that somebody brought, with a FIFO in it
        fd = os.open(folder / _LOCK, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        yield
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
    finally:
        os.close(fd)


def older(folder: Path) -> list[tuple[int, Path]]:
    """The older files with the number of their first entry, oldest first."""
    found = [(match, path) for path in folder.glob("audit-*.jsonl") if (match := _OLDER.fullmatch(path.name))]
    return sorted((int(match[1]), path) for match, path in found)


def _content(path: Path) -> bytes:
    with open_regular(path) as stream:  # it may be a copy that came on a stick
        return stream.read()


def read_place(path: Path) -> Link | None:
    """The place that one of the small files names; None where it is missing or damaged."""
    try:
        with open_regular(path) as stream:
            return chain.link(json.loads(stream.read(_PLACE_BYTES)))
    except (OSError, ValueError, RecursionError):
        return None


def write_place(path: Path, link: Link) -> None:
    """Write one of the small files, durably."""
    storage.write_bytes(path, storage.canonical_json(link.to_json()) + b"\n")


def begin(folder: Path) -> Link:
    """The place that the log's first entry follows; where begin.json is lost, as that entry itself names it."""
    return read_place(folder / FIRST) or lost_begin(folder) or chain.BEGIN


def lost_begin(folder: Path) -> Link | None:
    """Where the log begins, if older entries were dropped and begin.json, which should say so, is lost or damaged.

    It is what the first entry names. Whether what stood before it was really dropped, and not cut out, the last
    acknowledged entry tells: no more than those may be missing.
    """
    if read_place(folder / FIRST) is not None:
        return None
    files = older(folder)
    try:
        with open_regular(files[0][1] if files else folder / ACTIVE) as stream:
            first = chain.parse(stream.readline(limits.ENTRY_BYTES + 1).rstrip(b"\n"))
    except (FileNotFoundError, ValueError):  # nothing there; or its damage is what `check` names
        return None
    return Link(first.number - 1, first.previous) if first.number > 1 else None


def acknowledged(folder: Path) -> Link:
    """The last entry that the workshop has; the place before the first where it has none. Then more is sent."""
    return read_place(folder / ACKNOWLEDGED) or chain.BEGIN


def _active(folder: Path) -> bytes:
    try:
        return _content(folder / ACTIVE)
    except FileNotFoundError:
        return b""


def lines(folder: Path) -> tuple[list[bytes], bytes]:
    """Every line of the log, oldest first, and what stands behind the last line feed.

    Args:
        folder: of the log; hold `reading` or `writing`.
    """
    first = begin(folder).number + 1
    found: list[bytes] = []
    for number, path in older(folder):
        if number >= first:  # else dropped, but not deleted before a kill
            found += chain.split(_content(path) + b"\n")[0]
    whole, rest = chain.split(_active(folder))
    return [line for line in [*found, *whole] if line], rest


def _last(folder: Path, whole: list[bytes]) -> Link:
    """The place of the last entry that can be read: of `whole`, else of the newest older file."""
    if whole:
        return chain.parse(whole[-1]).link
    for _, path in reversed(older(folder)):
        for line in reversed(chain.split(_content(path))[0]):
            with contextlib.suppress(ValueError):  # what was damaged there, `check` names
                return chain.parse(line).link
    return begin(folder)


def _is_former(folder: Path, whole: list[bytes]) -> bool:
    """Whether these are lines of the format before this one: entries without a device, and none of this format."""
    if (folder / HEAD).exists():
        return False
    for line in reversed(whole):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        return isinstance(value, dict) and "previous" in value and "device" not in value
    return False


def _put_former_aside(folder: Path, data: bytes) -> None:
    (folder / ACTIVE).rename(folder / f"before-{storage.sha256_bytes(data)[:12]}.jsonl")
    storage.fsync_folder(folder)


def former(folder: Path) -> list[Path]:
    """Logs of before this format, which were put aside."""
    return sorted(folder.glob("before-*.jsonl"))


def mend(folder: Path) -> tuple[Link, list[Torn]]:
    """Make the log end in a whole entry; called by whoever holds `writing`, before it appends.

    A last line that lacks nothing but its line feed is an entry. Whatever else can't be read at the end is copied to
    a file of its own before it is cut off, so that nothing is lost by it.

    Returns:
        The last entry's place, and what was torn there and hasn't been told by an entry yet.
    """
    storage.remove_leftovers(folder)  # of a kill while a small file was written
    data = _active(folder)
    whole, rest = chain.split(data)
    if _is_former(folder, [*whole, rest]):
        _put_former_aside(folder, data)
        data, whole, rest = b"", [], b""
    kept = len(data) - len(rest)
    if rest:
        with contextlib.suppress(ValueError):
            chain.parse(rest)
            with (folder / ACTIVE).open("ab") as stream:
                storage.append_whole(stream.fileno(), b"\n")
            whole, kept = [*whole, rest], len(data) + 1
    while whole:
        try:
            chain.parse(whole[-1])
            break
        except ValueError:
            kept -= len(whole.pop()) + 1
    last = _last(folder, whole)
    if kept < len(data):
        name = f"torn-{last.number + 1}-{storage.sha256_bytes(data[kept:])[:12]}.bin"
        storage.write_bytes(folder / name, data[kept:], mode=0o640)
        with (folder / ACTIVE).open("r+b") as stream:
            stream.truncate(kept)
            os.fsync(stream.fileno())
    names = [path.name for path in folder.glob(f"torn-{last.number + 1}-*.bin")]
    return last, [Torn(last.number + 1, name) for name in sorted(names) if _TORN.fullmatch(name)]


def append(folder: Path, line: bytes) -> None:
    """Add a line durably, and say that the log ends there; a full file becomes an older one first."""
    file = folder / ACTIVE
    with contextlib.suppress(
        FileNotFoundError, ValueError
    ):  # a first line that is damaged names no file: it grows on
        if file.stat().st_size >= limits.LOG_SEGMENT_BYTES:
            with file.open("rb") as stream:
                number = chain.parse(stream.readline(limits.ENTRY_BYTES + 1).rstrip(b"\n")).number
            file.rename(folder / f"audit-{number:010}.jsonl")
            storage.fsync_folder(folder)
    new = not file.exists()
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        # Before the first byte: killed after it, the file would stay root's, and the gateway couldn't write.
        storage.belongs_to_folder(file, folder.parent)
        storage.append_whole(fd, line + b"\n")
    finally:
        os.close(fd)
    if new:
        storage.fsync_folder(folder)
    with contextlib.suppress(OSError):  # the entry is written; the next one says where the log ends
        write_place(folder / HEAD, chain.parse(line).link)


def drop(folder: Path, acknowledged: int) -> Link | None:
    """Delete older files of which the workshop has every entry, but for the newest few.

    Returns:
        Where the log begins from now on; None if nothing went.
    """
    files = older(folder)
    ends = [number for number, _ in files[1:]]  # of each but the newest: the number behind its last entry
    done = [each for each, end in zip(files, ends, strict=False) if end - 1 <= acknowledged]
    gone = done[: max(0, len(files) - limits.LOG_SEGMENTS_KEPT)]
    if not gone:
        return None
    last = chain.parse(chain.split(gone[-1][1].read_bytes())[0][-1]).link
    write_place(folder / FIRST, last)  # before they go: a kill between leaves files that nobody reads
    for _, path in gone:
        path.unlink()
    storage.fsync_folder(folder)
    return last
