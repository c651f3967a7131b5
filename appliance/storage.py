"""Writing that survives: beside, fsynced, renamed, folder fsynced. And digests of what was read."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from appliance.regular_file import open_regular

CHUNK = 4 * 1024 * 1024  # bytes read at a time


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(path: Path, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o640) -> Iterator[None]:
    """Hold off other programs that ask for the same; freed by the kernel when its holder dies.

    Args:
        path: a file, made if missing, or with `os.O_DIRECTORY` a folder.
        flags: how it is opened.
        mode: of a file that is made.
    """
    fd = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def atomic_writer(path: Path, mode: int = 0o644) -> Iterator[IO[bytes]]:
    """Open a file beside `path`; on success it is fsynced and takes `path`'s place, on any error it is gone.

    Args:
        path: the file to appear, whole or not at all. Its folder is made if missing.
        mode: permission bits of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(fd, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_folder(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` durably, all or nothing."""
    with atomic_writer(path, mode) as stream:
        stream.write(data)


def keep_bytes(path: Path, data: bytes) -> None:
    """`write_bytes`, unless `path` holds just these bytes: a look that changes nothing needn't wait for the disk."""
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return
    except OSError:  # not there, or not to be read: written anew
        pass
    write_bytes(path, data)


def append_whole(fd: int, data: bytes) -> None:
    """Append to an open file durably: all of it, or on an error (a full disk) nothing.

    Args:
        fd: opened to append; locked by the caller where others append too.
        data: whole lines.
    """
    size = os.fstat(fd).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


def belongs_to_folder(path: Path, folder: Path) -> None:
    """Give a file that root has made to the owner of `folder`, whose programs must be able to use it too."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def write_text(path: Path, text: str, mode: int = 0o644) -> None:
    """Write UTF-8 `text` to `path` durably, all or nothing."""
    write_bytes(path, text.encode("utf-8"), mode)


def canonical_json(value: Any) -> bytes:
    """`value` as JSON bytes that are the same for equal values: sorted keys, no spaces, UTF-8."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def json_line(value: Any) -> bytes:
    """A line of JSON as people read it: UTF-8, line feed included."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Write `value` as indented JSON with sorted keys, durably."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", mode)


def sha256_bytes(data: bytes) -> str:
    """Lower-case hex SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return sha256_bytes(canonical_json(value))


def sha256_file(path: Path) -> str:
    """Lower-case hex SHA-256 of the file at `path`."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_tree(folder: Path, pattern: str = "*") -> str:
    """One digest for all regular files below `folder` that match `pattern`: names and contents, order-free."""
    entries = {
        file.relative_to(folder).as_posix(): sha256_file(file)
        for file in sorted(folder.rglob(pattern))
        if file.is_file()
    }
    return sha256_json(entries)


def remove_leftovers(folder: Path) -> int:
    """Delete `.*.part` files that a killed writer left in `folder`; returns how many."""
    if not folder.is_dir():
        return 0
    leftovers = [file for file in folder.glob(".*.part") if file.is_file()]
    for file in leftovers:
        file.unlink(missing_ok=True)
    return len(leftovers)
