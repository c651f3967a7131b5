"""Texts on disk, read back by number: a million rows are compared without holding them in memory."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray


class TextStore:
    """An append-only list of texts in an unnamed temporary file.

    Args:
        folder: where the file lies; gone with the store, and with the process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._file = tempfile.TemporaryFile(  # noqa: SIM115 - closed with the store
            prefix=".texts.", suffix=".part", dir=folder
        )
        self._begins = array("Q")
        self._sizes = array("I")
        self._end = 0
        self._flushed = True

    def __len__(self) -> int:
        return len(self._begins)

    def __enter__(self) -> TextStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def add(self, text: str) -> None:
        """Append `text`; its number is how many there were."""
        data = text.encode()
        self.add_block(data, (len(data),))

    def add_block(self, data: bytes, sizes: Iterable[int]) -> None:
        """Append many texts at once.

        Args:
            data: the texts in UTF-8, one after the other.
            sizes: bytes of each.
        """
        for size in sizes:
            self._begins.append(self._end)
            self._sizes.append(size)
            self._end += size
        self._file.write(data)
        self._flushed = False

    def reorder(self, order: NDArray[np.int64]) -> None:
        """Number the texts anew: the one that was `order[n]` becomes n; texts that `order` leaves out are forgotten."""
        begins, sizes = array("Q"), array("I")
        begins.frombytes(np.frombuffer(self._begins, dtype=np.uint64)[order].tobytes())
        sizes.frombytes(np.frombuffer(self._sizes, dtype=np.uint32)[order].tobytes())
        self._begins, self._sizes = begins, sizes

    def _flush(self) -> int:
        if not self._flushed:
            self._file.flush()
            self._flushed = True
        return self._file.fileno()

    def read(self, numbers: Iterable[int]) -> list[str]:
        """The texts of these numbers, in their order."""
        fd, begins, sizes = self._flush(), self._begins, self._sizes
        return [os.pread(fd, sizes[number], begins[number]).decode() for number in numbers]

    def size(self, number: int) -> int:
        """Bytes of one text."""
        return self._sizes[number]
