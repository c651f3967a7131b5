"""The sets that texts are compared by: windows of three characters, or words; as numbers, many texts at once.

A window of three characters is its three code points in one number, so equal numbers are equal windows. A word is
a 64-bit hash of its characters and their places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["characters", "words"]
Codes = NDArray[np.uint64]
Places = NDArray[np.int64]

WINDOW = 3
_SPACE = np.uint32(32)
_ODD = np.uint64(0x9E3779B97F4A7C15)


def mix(values: Codes) -> Codes:
    """A bijection of 64-bit numbers that leaves no structure (the finalizer of SplitMix64, Steele et al. 2014)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Places]:
    """All code points, two spaces behind each text, and where each text begins (and the last ends)."""
    joined = np.frombuffer("".join(f"{text}  " for text in texts).encode("utf-32-le"), dtype=np.uint32)
    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts)) + 2
    return joined, np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


def _windows(texts: Sequence[str]) -> tuple[Codes, Places]:
    points, begins = _code_points(texts)
    wide = points.astype(np.uint64)
    wide = np.concatenate([wide, np.full(2, 32, dtype=np.uint64)])
    codes = (wide[:-2] << np.uint64(42)) | (wide[1:-1] << np.uint64(21)) | wide[2:]
    # The last two windows of a text reach into the spaces behind it: only a text of one or two characters keeps one.
    size = np.diff(begins)
    lengths = np.where(size > 2, np.maximum(size - 2 - (WINDOW - 1), 1), 0)
    keep = np.arange(len(points)) - np.repeat(begins[:-1], size) < np.repeat(lengths, size)
    return codes[keep], np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])


def _words(texts: Sequence[str]) -> tuple[Codes, Places]:
    points, begins = _code_points(texts)
    letter = points != _SPACE
    first = letter & np.concatenate([[True], ~letter[:-1]])
    starts = np.flatnonzero(first)
    number = np.cumsum(first) - 1
    place = np.arange(len(points)) - starts[np.maximum(number, 0)] if len(starts) else np.arange(len(points))
    values = mix(points.astype(np.uint64) * _ODD + place.astype(np.uint64) + np.uint64(1))
    values[~letter] = 0
    words = np.add.reduceat(values, starts) if len(starts) else np.zeros(0, dtype=np.uint64)
    return words, np.searchsorted(starts, begins).astype(np.int64)


def shingles(texts: Sequence[str], kind: Kind) -> tuple[Codes, Places]:
    """The shingles of normalised texts, repetitions included.

    Returns:
        codes of all texts one after the other, and n + 1 places: text i has codes[places[i]:places[i + 1]]. An
        empty text has none.
    """
    return _windows(texts) if kind == "characters" else _words(texts)


def unique_sets(texts: Sequence[str], kind: Kind) -> tuple[NDArray[np.int64], Places]:
    """The shingles of each text as a sorted set of small numbers.

    Returns:
        numbers (the same one for the same shingle in all of `texts`) and n + 1 places, as `shingles` gives them.
    """
    codes, places = shingles(texts, kind)
    order = np.argsort(codes)
    ordered = codes[order]
    numbers = np.empty(len(codes), dtype=np.int64)
    numbers[order] = np.cumsum(np.concatenate([[False], ordered[1:] != ordered[:-1]])[: len(codes)])
    owner = np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(places))
    packed = (owner << 32) | numbers
    packed.sort()
    packed = packed[np.concatenate([[True], packed[1:] != packed[:-1]])[: len(packed)]]
    return packed & 0xFFFFFFFF, np.searchsorted(packed >> 32, np.arange(len(texts) + 1)).astype(np.int64)
