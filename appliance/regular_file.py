"""Opening what a stick or a person names: a regular file or an error, and never a wait."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def open_regular(path: Path, *, links: bool = True) -> io.BufferedReader:
    """Open a regular file for reading; a FIFO, which nobody may ever write to, is refused at once.

    Args:
        path: of the file. Whoever reads it says how much at most: it may be of any size.
        links: whether its last part may be a symbolic link.

    Raises:
        OSError: not there, no permission, a link, or no regular file; `strerror` says which.
    """
    # O_NONBLOCK: a FIFO opens without a writer. It means nothing to a regular file.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW)
    try:
        fd = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not links:
            raise OSError(errno.ELOOP, "a link, not a file", str(path)) from error
        if error.errno == errno.ENXIO:
            raise OSError(errno.EINVAL, "a socket or a device, not a regular file", str(path)) from error
        raise
    kind = stat.S_IFMT(os.fstat(fd).st_mode)
    if kind != stat.S_IFREG:
        os.close(fd)
        told = f"{_KINDS.get(kind, 'something else')}, not a regular file"
        raise OSError(errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL, told, str(path))
    return os.fdopen(fd, "rb")
