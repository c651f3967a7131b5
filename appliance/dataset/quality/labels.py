"""How much a classifier that has not seen a row doubts its label: complement naive Bayes on TF-IDF, cross-validated.

Rennie et al. 2003, "Tackling the Poor Assumptions of Naive Bayes Text Classifiers"; used out of sample as in confident
learning (Northcutt et al. 2021). Features are windows of three and four characters, words and pairs of words, hashed
into a bounded table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.near import TextStore
from appliance.dataset.near.shingles import Codes, Kind, mix, shingles

FOLDS = 5
_CELLS = 2**24  # label times feature: 64 MiB of 32-bit numbers
_MOST_BUCKETS = 2**17
_BLOCK = 256
_KINDS: tuple[Kind, ...] = ("characters", "words")
_SMOOTHING = 1.0
_SHARPNESS = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0])

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Doubt:
    """What the classifier says of n rows.

    Attributes:
        own: (n,) the probability of the row's own label.
        likelier: (n,) number of the most likely label.
    """

    own: NDArray[np.float64]
    likelier: NDArray[np.int64]


@dataclass(frozen=True)
class _Block:
    """Features of some rows: `buckets[places[i]:places[i + 1]]` are row i's, each once, with their weights."""

    rows: NDArray[np.int64]
    buckets: NDArray[np.int64]
    weights: Floats
    places: NDArray[np.int64]


def _bucket(codes: Codes, buckets: int) -> NDArray[np.int64]:
    return (mix(codes) % np.uint64(buckets)).astype(np.int64)


def _features(texts: Sequence[str], buckets: int) -> tuple[NDArray[np.int64], Floats, NDArray[np.int64]]:
    """(bucket, times) of each text's features, each bucket once a text, and where each text's begin."""
    found = []
    for number, kind in enumerate(_KINDS):
        codes, places = shingles(texts, kind)
        owner = np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(places))
        found.append(owner * buckets + _bucket(codes + np.uint64(number), buckets))
        # Each with the next one: windows of four characters, pairs of words.
        following = owner[1:] * buckets + _bucket(codes[:-1] * np.uint64(3) + codes[1:], buckets)
        found.append(following[owner[1:] == owner[:-1]])
    cells, times = np.unique(np.concatenate(found), return_counts=True)
    places = np.searchsorted(cells // buckets, np.arange(len(texts) + 1)).astype(np.int64)
    return cells % buckets, times.astype(np.float32), places


def _blocks(store: TextStore, rows: NDArray[np.int64], buckets: int, rarity: Floats) -> Iterator[_Block]:
    """TF-IDF of every text, of length one, in blocks."""
    for begin in range(0, len(rows), _BLOCK):
        part = rows[begin : begin + _BLOCK]
        bucket, times, places = _features(store.read(part.tolist()), buckets)
        weights = (1 + np.log(times)) * rarity[bucket]
        owner = np.repeat(np.arange(len(part)), np.diff(places))
        norms = np.sqrt(np.bincount(owner, weights.astype(np.float64) ** 2, minlength=len(part)))
        weights = (weights / np.maximum(norms, 1e-12)[owner]).astype(np.float32)
        yield _Block(np.arange(begin, begin + len(part)), bucket, weights, places)


def doubt_labels(store: TextStore, labels: NDArray[np.int64], folds: NDArray[np.int64]) -> Doubt:
    """For each row, what a classifier trained on the other folds says of its label.

    Args:
        store: a normalised text a row.
        labels: (n,) numbers from 0; every number occurs.
        folds: (n,) numbers below `FOLDS`: near rows in one fold, or they vouch for each other.
    """
    count = int(labels.max()) + 1
    buckets = int(min(_MOST_BUCKETS, max(2**12, _CELLS // count)))
    rows = np.arange(len(labels), dtype=np.int64)
    in_rows = np.zeros(buckets, dtype=np.float32)
    for begin in range(0, len(rows), _BLOCK):
        bucket, _, _ = _features(store.read(range(begin, min(begin + _BLOCK, len(rows)))), buckets)
        in_rows += np.bincount(bucket, minlength=buckets)
    rarity = (np.log((1 + len(rows)) / (1 + in_rows)) + 1).astype(np.float32)
    # A feature of one row alone says nothing of other rows, and would only take from the others' weight.
    rarity[in_rows < 2] = 0
    own = np.zeros((len(rows), len(_SHARPNESS)))
    likelier = np.zeros(len(rows), dtype=np.int64)
    for fold in range(FOLDS):
        inside = np.flatnonzero(folds == fold)
        if not len(inside):
            continue
        sums = np.zeros((buckets, count), dtype=np.float32)
        for block in _blocks(store, np.flatnonzero(folds != fold), buckets, rarity):
            outside = np.flatnonzero(folds != fold)[block.rows]
            label = np.repeat(labels[outside], np.diff(block.places))
            np.add.at(sums.ravel(), block.buckets * count + label, block.weights)
        complement = sums.sum(axis=1, keepdims=True) + _SMOOTHING - sums
        doubt = -np.log(complement / complement.sum(axis=0, keepdims=True))
        del sums, complement
        for block in _blocks(store, inside, buckets, rarity):
            products = doubt[block.buckets] * block.weights[:, None]
            scores = np.zeros((len(block.rows), count))
            some = np.diff(block.places) > 0
            if some.any():
                scores[some] = np.add.reduceat(products, block.places[:-1][some], axis=0)
            scores -= scores.max(axis=1, keepdims=True)
            at = inside[block.rows]
            mine = scores[np.arange(len(at)), labels[at], None] * _SHARPNESS
            own[at] = np.exp(mine) / np.exp(scores[:, :, None] * _SHARPNESS).sum(axis=1)
            likelier[at] = scores.argmax(axis=1)
    # Scores of weighted features are no log-probabilities yet: the sharpness that makes the labels likeliest is theirs
    # (temperature scaling, Guo et al. 2017).
    best = int(np.argmax(np.log(np.maximum(own, 1e-12)).mean(axis=0)))
    return Doubt(own[:, best], likelier)
