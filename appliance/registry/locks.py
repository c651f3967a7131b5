"""Locks of a registry's folder: freed by the kernel when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import StorageError

TIMEOUT = 60.0  # seconds
_PAUSE = 0.005  # seconds between two tries


@contextlib.contextmanager
def held(path: Path, *, shared: bool = False, timeout: float = TIMEOUT) -> Iterator[None]:
    """Hold the lock file at `path`; it is made if missing and stays.

    Args:
        shared: with others who share it, instead of alone.
        timeout: seconds to wait for whoever holds it.

    Raises:
        StorageError: it wasn't free in time.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with path.open("ab") as stream:
        until = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(stream, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() >= until:
                    raise StorageError(
                        f"{path.parent}: another program is working in this registry",
                        "wait until it has ended, or stop it, and run the same command again",
                    ) from error
                time.sleep(_PAUSE)
        yield
