"""How many rows have how many tokens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

MOST_BINS = 24
_WIDE = 8  # times the shortest: from there on bins grow with the length


def token_histogram(counts: Mapping[str, ArrayLike]) -> dict[str, Any]:
    """The same bins for every split.

    Args:
        counts: split -> tokens of each row.

    Returns:
        `edges` (whole numbers, ascending; bin i holds edges[i] <= tokens < edges[i + 1]) and `rows`: split -> rows of
        each bin. Empty without rows.
    """
    arrays = {split: np.asarray(values, dtype=np.int64) for split, values in counts.items()}
    filled = [values for values in arrays.values() if len(values)]
    if not filled:
        return {}
    low, high = min(int(values.min()) for values in filled), max(int(values.max()) for values in filled)
    edges = _edges(low, high)
    rows = {split: np.histogram(values, edges)[0].tolist() for split, values in arrays.items()}
    return {"edges": edges, "rows": rows}


def _edges(low: int, high: int) -> list[int]:
    if high < _WIDE * max(low, 1):
        width = -(-(high - low + 1) // MOST_BINS)
        bins = -(-(high - low + 1) // width)
        return [low + width * number for number in range(bins + 1)]
    grown = np.geomspace(max(low, 1), high + 1, MOST_BINS + 1).round().astype(np.int64)
    grown[0], grown[-1] = low, high + 1
    return [int(edge) for edge in np.unique(grown)]
