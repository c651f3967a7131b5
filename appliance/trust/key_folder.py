"""The folder in which a device keeps a key: one program at a time makes one there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from appliance import storage


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the one who makes keys in `folder`; it is made if missing. Freed by the kernel when its holder dies."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        storage.belongs_to_folder(folder, folder.parent)
        storage.fsync_folder(folder.parent)
    with storage.locked(folder, os.O_RDONLY | os.O_DIRECTORY):
        yield


def put_in_place(waiting: Path, path: Path) -> None:
    """Let a key that lay aside until it was told of take its place, durably."""
    waiting.replace(path)
    storage.fsync_folder(path.parent)
