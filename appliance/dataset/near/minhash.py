"""MinHash signatures (Broder 1997) as band keys and a byte a hash, for many texts in blocks on all cores."""

from __future__ import annotations

import math
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.near.shingles import Kind, mix, shingles
from appliance.dataset.near.store import TextStore

MISSED = 1e-6
"""The chance that a pair at just the threshold shares no band; what lies above it is missed more rarely still."""
MOST_HASHES = 300
SKETCHED = 96
_MOST_ROWS = 16
_BLOCK_BYTES = 400_000  # of text a block: its shingles and their hashes stay in a core's cache
_BLOCK_TEXTS = 4096
_IN_MEMORY = (
    64 * 1024 * 1024
)  # bytes of signatures; more go to a file, which the kernel may take out of memory
_DEVIATIONS = 6.0

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Bands:
    """How many bands of how many hashes: a pair at Jaccard J shares one with probability 1 - (1 - J^rows)^bands."""

    bands: int
    rows: int

    @classmethod
    def reaching(cls, threshold: float) -> Bands:
        """The longest rows (fewest candidates far below the threshold) that still miss one pair in a million."""
        best = cls(1, 1)
        for rows in range(1, _MOST_ROWS + 1):
            shared = threshold**rows
            bands = math.ceil(math.log(MISSED) / math.log1p(-shared)) if shared < 1 else 1
            if rows * bands <= MOST_HASHES:
                best = cls(bands, rows)
        return best

    @property
    def hashes(self) -> int:
        """How many hashes that is, at least as many as the sketch holds."""
        return max(self.bands * self.rows, SKETCHED)


@dataclass(frozen=True)
class Signatures:
    """Of n texts, at a threshold of 0.85, 240 bytes each; of many texts they lie in a file that is mapped into memory.

    Attributes:
        texts: (n,) their numbers in the store.
        keys: (n, bands) a 32-bit key a band; equal where all hashes of the band are.
        sketch: (n, SKETCHED) eight bits of the first hashes, to estimate a Jaccard by.
    """

    texts: NDArray[np.int64]
    keys: NDArray[np.uint32]
    sketch: NDArray[np.uint8]

    def likely(self, one: NDArray[np.int64], other: NDArray[np.int64], threshold: float) -> NDArray[np.bool_]:
        """Which pairs may reach `threshold`: those whose estimate isn't six standard errors below it."""
        error = math.sqrt(max(threshold * (1 - threshold), 0.01) / SKETCHED)
        least = SKETCHED * (threshold - _DEVIATIONS * error)
        equal: NDArray[np.bool_] = np.count_nonzero(self.sketch[one] == self.sketch[other], axis=1) >= least
        return equal


_ALL = max(MOST_HASHES, SKETCHED)
_NUMBERS = mix(np.arange(1, 2 * _ALL + _MOST_ROWS + 1, dtype=np.uint64))
_MULTIPLY = (_NUMBERS[:_ALL] >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
_FLIP = (_NUMBERS[_ALL : 2 * _ALL] >> np.uint64(32)).astype(np.uint32)
_COMBINE = _NUMBERS[2 * _ALL :] | np.uint64(1)

Signed = tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.uint8]]


def _sign(texts: list[str], kind: Kind, plan: Bands) -> Signed:
    """Whether each text has shingles; keys and sketch of those that have."""
    codes, places = shingles(texts, kind)
    some = np.diff(places) > 0
    starts = places[:-1][some]
    values = (mix(codes) >> np.uint64(32)).astype(np.uint32)
    lowest = np.empty((plan.hashes, len(starts)), dtype=np.uint32)
    if len(starts):
        hashed = np.empty_like(values)
        for number in range(plan.hashes):
            np.bitwise_xor(values, _FLIP[number], out=hashed)
            np.multiply(hashed, _MULTIPLY[number], out=hashed)
            np.minimum.reduceat(hashed, starts, out=lowest[number])
    keys = np.empty((len(starts), plan.bands), dtype=np.uint32)
    for band in range(plan.bands):
        key = np.zeros(len(starts), dtype=np.uint64)
        for row in range(plan.rows):
            key = mix(key ^ (lowest[band * plan.rows + row] * _COMBINE[row]))
        keys[:, band] = key >> np.uint64(32)
    sketch = ((lowest[:SKETCHED] >> np.uint32(12)) & np.uint32(0xFF)).astype(np.uint8)
    return some, keys, np.ascontiguousarray(sketch.T)


def _blocks(store: TextStore, texts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    begin, size = 0, 0
    for place, number in enumerate(texts):
        size += store.size(int(number))
        if size >= _BLOCK_BYTES or place + 1 - begin >= _BLOCK_TEXTS:
            yield texts[begin : place + 1]
            begin, size = place + 1, 0
    if begin < len(texts):
        yield texts[begin:]


def _room(shape: tuple[int, int], kind: type[Any], folder: Path | None) -> NDArray[Any]:
    """An array that is not filled yet: in memory, or where it would be large, in an unnamed file."""
    if shape[0] * shape[1] * np.dtype(kind).itemsize <= _IN_MEMORY:
        return np.empty(shape, dtype=kind)
    with tempfile.TemporaryFile(prefix=".signatures.", suffix=".part", dir=folder) as file:
        return np.memmap(file, dtype=kind, mode="w+", shape=shape)  # the mapping outlives the open file


def sign(store: TextStore, texts: NDArray[np.int64], kind: Kind, plan: Bands, tell: Tell) -> Signatures:
    """The signatures of the texts of these numbers; those without a shingle are left out.

    Args:
        store: holds the normalised texts.
        texts: ascending numbers.
        kind: what a shingle is.
        plan: how many bands of how many hashes.
        tell: called with (texts done, texts in all).
    """
    # A band's keys lie together: bands are looked at one after the other.
    keys = _room((plan.bands, len(texts)), np.uint32, store.folder).T
    sketch = _room((len(texts), SKETCHED), np.uint8, store.folder)
    alive = np.zeros(len(texts), dtype=bool)
    done = held = 0
    workers = len(os.sched_getaffinity(0))
    blocks = _blocks(store, texts)
    waiting: deque[Future[Signed]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < 2 * workers and (block := next(blocks, None)) is not None:
                waiting.append(pool.submit(_sign, store.read(block.tolist()), kind, plan))
            if not waiting:
                break
            some, block_keys, block_sketch = waiting.popleft().result()
            keys[held : held + len(block_keys)] = block_keys
            sketch[held : held + len(block_keys)] = block_sketch
            alive[done : done + len(some)] = some
            done, held = done + len(some), held + len(block_keys)
            tell(done, len(texts))
    return Signatures(texts[alive], keys[:held], sketch[:held])
