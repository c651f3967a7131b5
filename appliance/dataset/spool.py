"""Accepted rows on disk until they have a split: their lines in an unnamed file, read back by number."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import IO

from appliance.dataset.kept_rows import Columns
from appliance.dataset.rows import Row, row_from_line


class SpooledRows:
    """Rows by their numbers in `columns`.

    Args:
        spool: holds the lines; all written.
        columns: say where.
    """

    def __init__(self, spool: IO[bytes], columns: Columns) -> None:
        spool.flush()
        self._file = spool.fileno()
        self.columns = columns

    def lines(self, numbers: Iterable[int]) -> Iterator[bytes]:
        """The lines of these rows, line feeds included."""
        offsets, sizes = self.columns.offsets, self.columns.sizes
        return (os.pread(self._file, int(sizes[number]), int(offsets[number])) for number in numbers)

    def row_at(self, offset: int, size: int) -> Row:
        """The row whose line lies there, in `columns` or not."""
        return row_from_line(os.pread(self._file, size, offset))

    def rows(self, numbers: Iterable[int]) -> Iterator[Row]:
        """The rows."""
        return map(row_from_line, self.lines(numbers))
