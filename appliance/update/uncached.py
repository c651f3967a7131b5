"""Giving up what memory holds of files, so that reading them again asks the medium and not the page cache."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

from appliance.events import Emit, Event

_FAILED = ctypes.c_void_p(-1).value


def resident(fd: int) -> int:
    """Bytes of the open file that lie in memory, in whole pages."""
    size = os.fstat(fd).st_size
    if size == 0:
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    place = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if place in {None, _FAILED}:
        return 0
    try:
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        libc.mincore(ctypes.c_void_p(place), ctypes.c_size_t(size), pages)
        return sum(page & 1 for page in bytes(pages)) * mmap.PAGESIZE
    finally:
        libc.munmap(ctypes.c_void_p(place), ctypes.c_size_t(size))


def drop(folders: Iterable[Path]) -> int:
    """Sync every regular file right in `folders`, and have the kernel forget its content.

    Returns:
        bytes that lie in memory all the same: the file system keeps them there, or somebody has them mapped.

    Raises:
        OSError: a file can't be read or synced.
    """
    left = 0
    for folder in folders:
        with os.scandir(folder) as entries:
            names = sorted(entry.path for entry in entries if entry.is_file(follow_symlinks=False))
        for name in names:
            fd = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fsync(fd)  # what isn't on the medium yet isn't forgotten
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                left += resident(fd)
            finally:
                os.close(fd)
    return left


def forget(stick: Path, emit: Emit) -> None:
    """`drop` a stick's files; what stays in memory is told.

    Raises:
        OSError: as `drop`.
    """
    left = drop([stick / "metadata", stick / "targets"])
    if left:
        text = f"{stick}: {left} bytes are read from memory, not from the stick: unplug it, and check it once more"
        emit(Event("stick", "warning", text))
