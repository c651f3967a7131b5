"""The byte mover: one file from a stick to the disk, hashed as it is written, resumed within one chunk.

It never needs more room than the file. Each chunk is on the disk before the next begins, so that a power cut costs
one chunk (64 MiB) and not the copy.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Generator
from pathlib import Path

from appliance import storage
from appliance.errors import StorageError
from appliance.trust import limits
from appliance.update import stick as sticks

Blocks = Generator[bytes, None, None]


def is_whole(path: Path, target: sticks.Target) -> bool:
    """Whether the content of `target` lies at `path` already."""
    return (
        path.is_file() and path.stat().st_size == target.bytes and storage.sha256_file(path) == target.sha256
    )


def taken(path: Path) -> int:
    """Bytes of disk that an interrupted copy at `path` has already; 0 without one."""
    return path.stat().st_blocks * 512 if path.exists() else 0


def kept(path: Path, target: sticks.Target) -> int:
    """How many bytes of the interrupted copy at `path` are good: chunks from the beginning whose digests fit."""
    good = 0
    with path.open("rb") as stream:
        for expected in target.chunks:
            data = stream.read(min(limits.HASH_CHUNK_BYTES, target.bytes - good))
            if hashlib.sha256(data).hexdigest() != expected:
                break
            good += len(data)
    return good


def _reserve(fd: int, size: int) -> None:
    """Take `size` bytes of disk for the open file now, so that a full disk is met before the copying."""
    os.ftruncate(fd, min(size, os.fstat(fd).st_size))
    if size == 0:
        return
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL}:  # a file system that can't reserve
            raise


def copy(
    stick: Path,
    target: sticks.Target,
    path: Path,
    done: Callable[[int], None],
    source: Callable[[int], Blocks] | None = None,
) -> None:
    """Copy `target` from `stick` to `path`, or go on with a copy that lies there; then read it again from the disk.

    Args:
        done: told the bytes of each step; first of what could be kept.
        source: gives its bytes from a position on, checked as `stick.read_blocks` does, which is the default.

    Raises:
        TrustError: as `stick.read_blocks`.
        StorageError: the disk gives back something else than was written.
        OSError: no space, or the disk or stick failed.
    """
    begin = kept(path, target) if path.exists() else 0
    done(begin)
    with path.open("r+b" if path.exists() else "xb") as out:
        _reserve(out.fileno(), target.bytes)
        out.seek(begin)
        position = begin
        # Closed at once when a write fails, and not when the error's traceback goes.
        with contextlib.closing(
            source(begin) if source else sticks.read_blocks(stick, target, begin)
        ) as blocks:
            for block in blocks:
                out.write(block)
                position += len(block)
                if position % limits.HASH_CHUNK_BYTES == 0:
                    out.flush()
                    os.fdatasync(out.fileno())
                done(len(block))
        out.flush()
        os.fsync(out.fileno())
        os.posix_fadvise(out.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if storage.sha256_file(path) != target.sha256:
        raise StorageError(
            f"{path}: the disk gave back something else than was written",
            "check the disk; if it is sound, the stick's digests contradict each other: report it to its maker",
        )
