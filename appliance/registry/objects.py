"""Files by their SHA-256: `objects/ab/ab12…`, read-only, whole or not there.

An object is a copy (a clone where the file system can share blocks): a hard link would change with the file that it was
made from.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from appliance import regular_file, storage
from appliance.errors import StorageError, TrustError

MODE = 0o444
_FICLONE = (
    0x40049409  # ioctl of Linux: the destination shares the source's blocks until one of them is written
)
_PART = ".part"


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading; never waits, as opening a FIFO would.

    Raises:
        TrustError: a link, or no regular file.
        FileNotFoundError: nothing there.
    """
    try:
        return regular_file.open_regular(path, links=False)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EINVAL, errno.EISDIR}:
            hint = "give a folder that holds the files themselves"
            raise TrustError(f"{path}: {error.strerror}", hint) from error
        raise


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        storage.fsync_folder(folder.parent)


def copy_hashed(source: IO[bytes], target: IO[bytes]) -> tuple[str, int]:
    """Copy `source` to the empty `target`, sharing blocks where the file system can.

    Returns:
        SHA-256 and length of what `target` holds now.
    """
    digest, size = hashlib.sha256(), 0
    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
        cloned = True
        target.seek(0)
    except OSError:
        cloned = False  # another file system, or one that can't
    reading = target if cloned else source
    while block := reading.read(storage.CHUNK):
        digest.update(block)
        size += len(block)
        if not cloned:
            target.write(block)
    return digest.hexdigest(), size


class Objects:
    """The objects below one folder.

    Args:
        folder: made when the first object comes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where the object `digest` lies, or would."""
        return self.folder / digest[:2] / digest

    def holds(self, digest: str, size: int | None = None) -> bool:
        """Whether the object is there, of that size; its bytes aren't read."""
        try:
            found = self.path(digest).lstat()
        except FileNotFoundError:
            return False
        return stat.S_ISREG(found.st_mode) and (size is None or found.st_size == size)

    def is_whole(self, digest: str) -> bool:
        """Whether the object is there and its bytes have its digest."""
        return self.holds(digest) and storage.sha256_file(self.path(digest)) == digest

    @contextlib.contextmanager
    def _arriving(self, digest: str) -> Iterator[IO[bytes]]:
        path = self.path(digest)
        _make_folder(self.folder)
        _make_folder(path.parent)
        fd, name = tempfile.mkstemp(prefix=".", suffix=_PART, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(fd, "w+b") as stream:
                yield stream
                stream.flush()
                os.fchmod(stream.fileno(), MODE)
                os.fsync(stream.fileno())
            temporary.replace(path)
            storage.fsync_folder(path.parent)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def put_file(self, source: Path, digest: str, size: int) -> bool:
        """Take in the file at `source`; an object that is there already but damaged is put right.

        Returns:
            False if it was there already, whole.

        Raises:
            TrustError: the file is missing, a link, or not what `digest` and `size` say. Nothing was kept.
        """
        if self.holds(digest, size) and self.is_whole(digest):
            return False
        hint = "make the release again (`anchorhold release`), or get its folder again"
        try:
            stream = open_regular(source)
        except FileNotFoundError as error:
            raise TrustError(f"{source}: missing, though release.json lists it", hint) from error
        with stream:
            if os.fstat(stream.fileno()).st_size != size:
                raise TrustError(f"{source}: not {size} bytes long, as release.json says", hint)
            with self._arriving(digest) as target:
                found, length = copy_hashed(stream, target)
                if (found, length) != (digest, size):
                    raise TrustError(f"{source}: not what release.json says", hint)
        return True

    def put_bytes(self, data: bytes) -> str:
        """Take in `data`; returns its digest."""
        digest = storage.sha256_bytes(data)
        if not self.is_whole(digest):
            with self._arriving(digest) as target:
                target.write(data)
        return digest

    def read(self, digest: str, limit: int) -> bytes:
        """The bytes of a small object, checked.

        Raises:
            TrustError: missing, larger than `limit`, or damaged.
        """
        hint = "`anchorhold registry verify` says what is wrong and what to do"
        try:
            with open_regular(self.path(digest)) as stream:
                data = stream.read(limit + 1)
        except FileNotFoundError as error:
            raise TrustError(f"object {digest} is missing from the registry", hint) from error
        if len(data) > limit or storage.sha256_bytes(data) != digest:
            raise TrustError(f"object {digest} is damaged", hint)
        return data

    def copy_to(self, digest: str, target: Path) -> None:
        """Write the object's bytes to the new file `target`, checked and durable but for its name.

        Raises:
            TrustError: missing or damaged.
            StorageError: `target` is there already.
        """
        hint = "`anchorhold registry verify` says what is wrong and what to do"
        try:
            source = open_regular(self.path(digest))
        except FileNotFoundError as error:
            raise TrustError(f"object {digest} is missing from the registry", hint) from error
        with source:
            try:
                stream = target.open("x+b")
            except FileExistsError as error:
                raise StorageError(f"{target}: there already", "give a new folder") from error
            with stream:
                found, _ = copy_hashed(source, stream)
                if found != digest:
                    raise TrustError(f"object {digest} is damaged", hint)
                stream.flush()
                os.fsync(stream.fileno())

    def _files(self) -> Iterator[os.DirEntry[str]]:
        if not self.folder.is_dir():
            return
        with os.scandir(self.folder) as folders:
            names = sorted(entry.path for entry in folders if entry.is_dir(follow_symlinks=False))
        for name in names:
            with os.scandir(name) as files:
                yield from files

    def sizes(self) -> dict[str, int]:
        """Digest -> bytes of all objects, by their names alone."""
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in self._files()
            if not entry.name.endswith(_PART)
        }

    def leftovers(self) -> list[Path]:
        """Files that killed writers left; also those of writers who are at work now."""
        return [Path(entry.path) for entry in self._files() if entry.name.endswith(_PART)]

    def remove(self, digest: str) -> None:
        """Delete an object; fine if it is gone."""
        self.path(digest).unlink(missing_ok=True)
