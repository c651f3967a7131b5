"""Pieces of a matrix, and the memory that a thread works on them with."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

PIECE = 1 << 18  # weights: a megabyte of float32


def ranges(rows: int, columns: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of the rows of each piece of a matrix, in order."""
    step = max(1, PIECE // columns)
    for begin in range(0, rows, step):
        yield begin, min(begin + step, rows)


class Scratch(threading.local):
    """Memory that a thread uses again from piece to piece: fresh pages would cost as much as the work on them."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}

    def take(self, use: str, shape: tuple[int, ...], kind: Any = np.float32) -> npt.NDArray[Any]:
        """Uninitialized; good until the thread asks for the same use again, which must be of the same `kind`."""
        count = math.prod(shape)
        held = self._held.get(use)
        if held is None or held.size < count:
            held = self._held[use] = np.empty(count, dtype=kind)
        return held[:count].reshape(shape)
