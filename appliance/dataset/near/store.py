"""Texts on disk, read back by number: a million rows are compared without holding them in memory."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType


class TextStore:
    """An append-only list of texts in an unnamed temporary file.

    Args:
        folder: where the file lies; gone with the store, and with the process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the store
            prefix=".texts.", suffix=".part", dir=folder
        )
        self._ends = array("Q", [0])
        self._flushed = True

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __enter__(self) -> TextStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        """Append `text`; its number is how many there were."""
        self._ends.append(self._ends[-1] + self._file.write(text.encode()))
        self._flushed = False

    def _flush(self) -> int:
        if not self._flushed:
            self._file.flush()
            self._flushed = True
        return self._file.fileno()

    def read(self, numbers: Iterable[int]) -> list[str]:
        """The texts of these numbers, in their order."""
        fd, ends = self._flush(), self._ends
        return [os.pread(fd, ends[number + 1] - ends[number], ends[number]).decode() for number in numbers]

    def size(self, number: int) -> int:
        """Bytes of one text."""
        return self._ends[number + 1] - self._ends[number]
