"""Reading a stick: names below one folder, no link, no FIFO, nothing outside it, never more than asked."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tuf.api.exceptions import DownloadError, DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface

from appliance.errors import TrustError
from appliance.trust import limits

BASE_URL = "stick://stick/"
_HINT = "the stick was changed or damaged; ask for it to be written again"


def _parts(name: str) -> list[str]:
    parts = name.split("/")
    bad = any(part in {"", ".", ".."} or len(part) > limits.NAME_CHARACTERS for part in parts)
    if bad or len(parts) > limits.PATH_DEPTH or "\\" in name or not name.isprintable():
        raise TrustError(f"{name!r}: not a name inside the stick", _HINT)
    return parts


def open_inside(folder: Path, name: str) -> IO[bytes]:
    """Open the regular file `name` (parts separated by "/") below `folder` for reading.

    Raises:
        TrustError: the name leads outside, through a link, or to something that isn't a regular file with one name.
        FileNotFoundError: there is none.
    """
    parts = _parts(name)
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            # O_NONBLOCK: opening a FIFO must not wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | (os.O_NONBLOCK if last else os.O_DIRECTORY)
            try:
                opened = os.open(part, flags, dir_fd=current)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                    raise TrustError(f"{name}: a link or no regular file", _HINT) from error
                raise
            os.close(current)
            current = opened
        state = os.fstat(current)
        if not stat.S_ISREG(state.st_mode):
            raise TrustError(f"{name}: not a regular file", _HINT)
        if state.st_nlink > 1:  # whoever holds the other name can write to it, or it is somebody's secret
            raise TrustError(f"{name}: a hard link", "copy the stick's files instead of linking them")
        stream = os.fdopen(current, "rb")
    except BaseException:
        os.close(current)
        raise
    return stream


def read_inside(folder: Path, name: str, limit: int) -> bytes:
    """All bytes of the file `name` below `folder`, if they are at most `limit`.

    Raises:
        TrustError: as `open_inside`, or the file is larger.
        FileNotFoundError: there is none.
    """
    with open_inside(folder, name) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise TrustError(f"{name}: larger than {limit} bytes", _HINT)
    return data


class FolderFetcher(FetcherInterface):
    """Gives python-tuf the files of a folder: a missing one is "404", anything odd a `DownloadError`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _fetch(self, url: str) -> Iterator[bytes]:
        # Read here and not in a generator: python-tuf only sees errors of this call, and nothing stays open.
        # Metadata is small; one byte over the largest limit is enough for python-tuf to refuse the file.
        name = urlsplit(url).path.lstrip("/")
        try:
            with open_inside(self._folder, name) as stream:
                data = stream.read(limits.TARGETS_BYTES + 1)
        except FileNotFoundError as error:
            raise DownloadHTTPError(f"{name} is missing", 404) from error
        except (TrustError, OSError) as error:
            raise DownloadError(str(error)) from error
        return iter([data])
