"""Files and folders that appear whole, or not at all, also when the power goes or the process is killed.

A file is written without a name (Linux's O_TMPFILE), so that nothing is left when its writer dies. Where the
file system can't do that (vfat, some network ones), and for folders, a hidden `.NAME.*.part` is written
beside the target; its writer holds a lock on it, and the next writer of the same target removes those that
nobody holds.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.EPERM}


def fsync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def check_space(folder: Path, needed: int) -> None:
    """Fail before the first byte rather than after the last one that fitted.

    Args:
        folder: an existing folder on the file system in question.
        needed: bytes about to be written there.

    Raises:
        OSError: ENOSPC.
    """
    if shutil.disk_usage(folder).free < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[int]:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _remove_abandoned(target: Path) -> None:
    for part in target.parent.glob(f".{target.name}.*.part"):
        try:
            fd = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue  # not a file or folder that we made, or gone meanwhile
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if part.is_dir():
                shutil.rmtree(part, ignore_errors=True)
            else:
                part.unlink(missing_ok=True)
        except BlockingIOError:
            pass  # its writer is alive
        finally:
            os.close(fd)


def _open_nameless(folder: Path) -> int | None:
    try:
        return os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644)
    except OSError as error:
        if error.errno in _NO_NAMELESS:
            return None
        raise


def _name(fd: int, path: Path) -> None:
    # linkat can't replace, so the file gets a hidden name for the moment before the rename. `dst_dir_fd`
    # makes Python use linkat with AT_SYMLINK_FOLLOW, which the /proc way needs.
    hidden = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    with _locked_folder(path.parent) as folder:
        os.link(f"/proc/self/fd/{fd}", hidden.name, dst_dir_fd=folder, follow_symlinks=True)
        try:
            hidden.replace(path)
        except BaseException:
            hidden.unlink(missing_ok=True)
            raise
        os.fsync(folder)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes `path`'s place when the block ends well, and is gone otherwise.

    Args:
        path: its folder is made if missing. A symbolic link there is replaced, not followed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked_folder(path.parent):
        _remove_abandoned(path)
        fd = _open_nameless(path.parent)
        hidden: Path | None = None
        if fd is None:
            fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
            hidden = Path(name)
            fcntl.flock(fd, fcntl.LOCK_EX)
    try:
        with os.fdopen(fd, "wb", buffering=1 << 20) as stream:
            os.fchmod(fd, 0o644)
            yield stream
            stream.flush()
            os.fsync(fd)
            if hidden is None:
                _name(fd, path)
            else:
                hidden.replace(path)
                fsync_folder(path.parent)
    except BaseException:
        if hidden is not None:
            hidden.unlink(missing_ok=True)
        raise


class WriteBehind:
    """Has the disk write what a file holds so far while more of it is made; the fsync at its end finds little left.

    Without it the system keeps gigabytes in memory until that fsync, and the disk stands still while the CPU works.
    """

    def __init__(self, stream: BinaryIO, every: int = 1 << 27) -> None:
        self._stream, self._every, self._since = stream, every, 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-behind")
        self._task: Future[None] | None = None

    def wrote(self, size: int) -> None:
        """Tell that `size` more bytes were written.

        Raises:
            OSError: the disk refused some of those before.
        """
        self._since += size
        if self._since < self._every or not (self._task is None or self._task.done()):
            return
        self.settle()
        self._since = 0
        self._stream.flush()
        self._task = self._pool.submit(os.fdatasync, self._stream.fileno())

    def settle(self) -> None:
        """Wait for what is under way.

        Raises:
            OSError: the disk refused it; a later fsync might not say so again.
        """
        task, self._task = self._task, None
        if task is not None:
            task.result()

    def __enter__(self) -> WriteBehind:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            self.settle()


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when the block ends well, and is gone otherwise.

    Args:
        path: must not exist, or be an empty folder.

    Raises:
        FileExistsError: there is something at `path`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_dir()) or (path.is_dir() and any(path.iterdir())):
        raise FileExistsError(errno.EEXIST, "there is something there already", str(path))
    with _locked_folder(path.parent):
        _remove_abandoned(path)
        hidden = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        lock = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        hidden.chmod(0o755)
        yield hidden
        for file in hidden.iterdir():
            fd = os.open(file, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        os.fsync(lock)
        hidden.rename(path)
        fsync_folder(path.parent)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    finally:
        os.close(lock)
