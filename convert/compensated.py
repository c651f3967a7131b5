"""Rounding whose errors make up for each other: GPTQ (Frantar et al. 2022) on the blocks of GGUF's 32-wide types.

Each weight to the nearest of its grid is best for the weights, not for what a layer makes of its inputs. Here the
columns of a matrix are rounded one after another, the most active input first, and each column's error is taken up by
those still to come, in the measure in which their inputs go together. Scales and minima stay libggml's, so only levels
differ, and llama.cpp reads the file like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.libggml import Bytes, Floats, quantize
from convert.tensor_types import TYPES

Levels = npt.NDArray[np.uint8]

BLOCK = 32
DAMPING = 0.01  # of the mean second moment, added to each input's own: GPTQ's default
_TOGETHER = 48  # columns whose errors reach the rest of the matrix in one product
_IQ4_NL = (
    -127,
    -104,
    -83,
    -65,
    -49,
    -35,
    -22,
    -10,
    1,
    13,
    25,
    38,
    53,
    69,
    89,
    113,
)  # ggml-common.h, kvalues_iq4nl


@dataclass(frozen=True)
class _Layout:
    """A type whose weights are `scale * values[level] + minimum`: float16 scale, minimum if any, then the levels.

    Attributes:
        values: of the levels, ascending, float32.
        minimum: whether a block has one.
    """

    values: Floats
    minimum: bool = False

    @property
    def wide(self) -> bool:
        """Five bits a level: four low ones together, the fifth ones in 32 bits before them."""
        return len(self.values) > 16

    @property
    def head(self) -> int:
        """Bytes of a block before its levels."""
        return 4 if self.minimum else 2

    def offsets(self, blocks: Bytes) -> tuple[Floats, Floats]:
        """Scales and minima [rows, blocks] of blocks [rows, blocks, bytes]."""
        halves = np.ascontiguousarray(blocks[:, :, : self.head]).view(np.float16).astype(np.float32)
        return halves[:, :, 0], halves[:, :, 1] if self.minimum else np.zeros_like(halves[:, :, 0])

    def put(self, levels: Levels, blocks: Bytes) -> None:
        """Replace the levels of `blocks` by [rows, blocks, 32]."""
        at, half = self.head, BLOCK // 2
        if self.wide:
            blocks[:, :, at : at + 4] = np.packbits(levels >> 4, axis=2, bitorder="little")
            at, levels = at + 4, np.bitwise_and(levels, np.uint8(15))
        blocks[:, :, at:] = levels[:, :, :half] | (levels[:, :, half:] << 4)


def _evenly(count: int, first: int) -> Floats:
    return np.arange(first, first + count, dtype=np.float32)


_LAYOUTS = {
    "Q4_0": _Layout(_evenly(16, -8)),
    "Q4_1": _Layout(_evenly(16, 0), minimum=True),
    "Q5_0": _Layout(_evenly(32, -16)),
    "Q5_1": _Layout(_evenly(32, 0), minimum=True),
    "IQ4_NL": _Layout(np.array(_IQ4_NL, dtype=np.float32)),
}
COMPENSATED = frozenset(_LAYOUTS)
"""Types that can be rounded so. Eight bits lose nothing worth it; K types scale their scales as well."""


@dataclass(frozen=True)
class Compensation:
    """How a column's error is taken up by the others; the same for all matrices with the same inputs.

    Attributes:
        order: the columns, most active first, shape [columns].
        taken: row i says what part of each earlier column's error the i-th takes, float32 [columns, columns].
    """

    order: npt.NDArray[np.intp]
    taken: Floats

    @classmethod
    def of(cls, moments: Floats) -> Compensation:
        """From X'X of the inputs X, [columns, columns]; damped more where they have no Cholesky factor.

        Raises:
            ConvertError: they aren't finite.
        """
        if not np.isfinite(moments).all():
            raise ConvertError(
                "what a layer is given isn't finite",
                "the model overflows on its training rows: use an earlier adapter, or convert.rounding = 'nearest'",
            )
        # In float32: doubles gave the same rounding errors to four digits, and a matrix of these is large enough.
        activity = moments.diagonal().astype(np.float64)
        order = np.argsort(-activity, kind="stable")
        # With R'R = (X'X)^-1, R upper: backwards, Cholesky's lower factor of X'X is an upper one, and R its inverse.
        back = order[::-1]
        square = moments[np.ix_(back, back)]
        damping = DAMPING * activity.mean() or 1.0  # inputs that are all zero: any order, no error spreads
        while True:
            square[np.diag_indices_from(square)] += np.float32(damping)
            try:
                factor = np.linalg.cholesky(square)
                break
            except np.linalg.LinAlgError:
                damping *= 10
        del square
        upper = _inverse(factor)[::-1, ::-1]
        del factor
        upper /= upper.diagonal().copy()[:, None]
        return cls(order, np.ascontiguousarray(upper.T))


def _inverse(lower: Floats) -> Floats:
    """Of a lower triangular matrix, by halves: a sixth of the work that `np.linalg.inv` does."""
    size = len(lower)
    if size <= 64:
        return np.tril(np.linalg.inv(lower))
    middle = size // 2
    out = np.zeros_like(lower)
    out[:middle, :middle] = _inverse(lower[:middle, :middle])
    out[middle:, middle:] = _inverse(lower[middle:, middle:])
    first, second = out[:middle, :middle], out[middle:, middle:]
    np.matmul(-second, lower[middle:, :middle] @ first, out=out[middle:, :middle])
    return out


def _nearest(values: Floats) -> Callable[[Floats], Levels]:
    """The index of the nearest of `values` to each number."""
    if np.all(np.diff(values) == 1):
        first, last = values[0], values[-1]
        return lambda given: (np.rint(given).clip(first, last) - first).astype(np.uint8)
    between = (values[1:] + values[:-1]) / 2
    return lambda given: np.searchsorted(between, given).astype(np.uint8)


Choose = Callable[[Floats, Floats, Floats, Floats, Compensation], Levels]
"""`choose_levels`, or what computes the same."""


def choose_levels(rows: Floats, scales: Floats, minima: Floats, values: Floats, how: Compensation) -> Levels:
    """The levels of weights, column after column: the definition, which a compiled one may stand in for.

    Args:
        rows: float32 [rows, columns].
        scales: of the blocks, [rows, blocks].
        minima: of the blocks, [rows, blocks].
        values: of the levels, ascending.
        how: of the inputs.

    Returns:
        uint8 [rows, columns].
    """
    # Turned, so that a column's weights lie together.
    left = np.ascontiguousarray(rows[:, how.order].T)
    scale = np.ascontiguousarray(np.repeat(scales, BLOCK, axis=1)[:, how.order].T)
    minimum = np.ascontiguousarray(np.repeat(minima, BLOCK, axis=1)[:, how.order].T)
    reciprocal = reciprocals(scale)
    nearest, taken, columns = _nearest(values), how.taken, len(left)
    found = np.empty(left.shape, dtype=np.uint8)
    for begin in range(0, columns, _TOGETHER):
        end = min(begin + _TOGETHER, columns)
        errors = np.empty((end - begin, left.shape[1]), dtype=np.float32)
        for at in range(begin, end):
            now = left[at]
            now -= taken[at, begin:at] @ errors[: at - begin]
            level = nearest((now - minimum[at]) * reciprocal[at])
            found[at] = level
            np.subtract(now, values[level] * scale[at] + minimum[at], out=errors[at - begin])
        left[end:] -= taken[end:, begin:end] @ errors
    levels = np.empty_like(found)
    levels[how.order] = found
    return np.ascontiguousarray(levels.T)


def reciprocals(scales: Floats) -> Floats:
    """Of scales; 0 for one that is 0 or has none."""
    with np.errstate(divide="ignore", over="ignore"):
        found = np.where(scales == 0, np.float32(0), np.float32(1) / scales)
    found[~np.isfinite(found)] = 0
    return found


def quantize_compensated(
    rows: Floats, type_name: str, how: Compensation, choose: Choose = choose_levels
) -> Bytes:
    """Rows of weights in a type's bytes.

    Args:
        rows: float32 [rows, columns], finite.
        type_name: one of `COMPENSATED`.
        how: of the inputs that the matrix is multiplied with, in whole blocks.
        choose: `choose_levels`, or what computes the same.

    Returns:
        uint8 [rows, bytes of a row].
    """
    layout = _LAYOUTS[type_name]
    found = quantize(rows, type_name)
    blocks = found.reshape(len(rows), -1, TYPES[type_name].size)
    levels = choose(rows, *layout.offsets(blocks), layout.values, how)
    layout.put(levels.reshape(len(rows), -1, BLOCK), blocks)
    return found
