"""Objects put aside on disk and read again in order, so that memory holds one at a time."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Generic, TypeVar

Item = TypeVar("Item")


class Spool(Generic[Item]):
    """Written once, read as often as wanted; an unnamed file, made when there is something to put aside."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, item: Item) -> None:
        """The next one."""
        if self._file is None:
            self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed by `close`
                prefix=".pairs.", suffix=".part", dir=self._folder
            )
        pickle.dump(item, self._file, protocol=pickle.HIGHEST_PROTOCOL)
        self._count += 1

    def __iter__(self) -> Iterator[Item]:
        if self._file is None:
            return
        self._file.seek(0)
        for _ in range(self._count):
            item: Item = pickle.load(self._file)  # noqa: S301 - a file without a name, that nobody else can write
            yield item

    def close(self) -> None:
        """Free the disk; what was put aside is gone."""
        if self._file is not None:
            self._file.close()
        self._file, self._count = None, 0
