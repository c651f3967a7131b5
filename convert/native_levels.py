"""`compensated.choose_levels`, compiled: the same sums in another order, so what lies between two levels may tip."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np

from convert.compensated import Compensation, Levels, reciprocals
from convert.libggml import Floats

SOURCE = Path(__file__).parent / "native" / "levels.cpp"


class NativeLevels:
    """A `compensated.Choose`. Other threads go on meanwhile."""

    def __init__(self, library: Path) -> None:
        """Load what was compiled of `SOURCE`.

        Raises:
            OSError: it can't be loaded.
        """
        self._choose = ctypes.CDLL(str(library)).choose_levels
        self._choose.argtypes = [ctypes.c_void_p] * 8 + [ctypes.c_long] * 4
        self._choose.restype = None

    def __call__(
        self, rows: Floats, scales: Floats, minima: Floats, values: Floats, how: Compensation
    ) -> Levels:
        """As `compensated.choose_levels`."""
        turned = [np.ascontiguousarray(each.T) for each in (scales, minima, reciprocals(scales))]
        floats = [np.ascontiguousarray(each, dtype=np.float32) for each in (rows, how.taken, *turned, values)]
        order = np.ascontiguousarray(how.order, dtype=np.int64)
        found = np.empty(rows.shape, dtype=np.uint8)
        even = bool(np.all(np.diff(values) == 1))
        places = [*(each.ctypes.data for each in floats), order.ctypes.data, found.ctypes.data]
        self._choose(*places, *rows.shape, len(values), even)
        return found
