"""Which texts of a set are near: LSH proposes pairs, their exact Jaccard decides."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.near.minhash import Bands, Signatures, Tell, sign
from appliance.dataset.near.shingles import Kind, unique_sets
from appliance.dataset.near.store import TextStore
from appliance.dataset.near.union_find import UnionFind

Places = NDArray[np.int64]
Pairs = tuple[Places, Places]
Labels = Callable[[], Places]
"""A label for each signed text; texts of one label aren't compared."""

_PAIRS_AT_ONCE = 1_000_000  # candidates looked at together
_CHARACTERS_AT_ONCE = 1_500_000  # of text whose sets are compared together
_LONG = 64  # texts that share a band's key, from which on they are compared one by one
_EPSILON = 1e-12


@dataclass(frozen=True)
class NearPair:
    """Two texts found near.

    Attributes:
        one, other: their numbers, the smaller first.
        jaccard: of their shingles.
        kind: what was compared.
    """

    one: int
    other: int
    jaccard: float
    kind: Kind


class PairList(Sequence[NearPair]):
    """Pairs of one kind as three columns of numbers, 24 bytes each."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._ones, self._others, self._jaccards = array("q"), array("q"), array("d")

    def append(self, pair: NearPair) -> None:
        """One more."""
        self._ones.append(pair.one)
        self._others.append(pair.other)
        self._jaccards.append(pair.jaccard)

    def __len__(self) -> int:
        return len(self._ones)

    @overload
    def __getitem__(self, place: int) -> NearPair: ...
    @overload
    def __getitem__(self, place: slice) -> list[NearPair]: ...
    def __getitem__(self, place: int | slice) -> NearPair | list[NearPair]:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return NearPair(self._ones[place], self._others[place], self._jaccards[place], self.kind)

    def sides(self) -> tuple[Places, Places]:
        """(pairs,) the one of each, and the other."""
        return np.array(self._ones, dtype=np.int64), np.array(self._others, dtype=np.int64)


def likeness(one: str, other: str, kind: Kind) -> float:
    """The Jaccard similarity of two normalised texts' sets of shingles; 1 for equal texts."""
    if one == other:
        return 1.0
    return float(_jaccards([one, other], np.array([0]), np.array([1]), kind)[0])


def _jaccards(
    texts: Sequence[str], one: NDArray[np.int64], other: NDArray[np.int64], kind: Kind
) -> NDArray[np.float64]:
    """Exact Jaccard of pairs, given as places in `texts`."""
    numbers, places = unique_sets(texts, kind)
    sizes = np.diff(places)

    def spread(members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The shingles of each pair's member, tagged with the pair."""
        counts = sizes[members]
        pair = np.repeat(np.arange(len(members)), counts)
        within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
        tagged: Places = (pair << 32) | numbers[np.repeat(places[members], counts) + within]
        return tagged

    both = np.concatenate([spread(one), spread(other)])
    both.sort()
    shared = np.bincount(both[1:][both[1:] == both[:-1]] >> 32, minlength=len(one))
    union = sizes[one] + sizes[other] - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 0.0)


class NearJoin:
    """Finds near texts of a store.

    Args:
        store: normalised texts.
        threshold: the Jaccard similarity from which two texts are near, in (0, 1].
        tell: called with (texts signed, texts in all), then with (half bands looked at, half bands in all).
    """

    def __init__(self, store: TextStore, threshold: float, tell: Tell = lambda _done, _total: None) -> None:
        self.store = store
        self.threshold = threshold
        self.tell = tell

    def sign(self, texts: NDArray[np.int64], kind: Kind) -> Signatures:
        """Signatures of the texts of these numbers (ascending)."""
        return sign(self.store, texts, kind, Bands.reaching(self.threshold), self.tell)

    def clusters(self, signed: Signatures, kind: Kind, sets: UnionFind) -> PairList:
        """Join in `sets` (over the store's numbers) all texts that a chain of near pairs connects.

        Returns:
            the pairs that joined two sets: a reason for each join, not every near pair there is.
        """
        labels = sets.labels()[signed.texts]
        reasons = PairList(kind)
        found = 0
        for pairs in self._near(signed, kind, lambda: labels):
            for pair in pairs:
                if sets.union(pair.one, pair.other):
                    reasons.append(pair)
            found += len(pairs)
            if found > len(labels) // 100:  # stale labels cost comparisons, fresh ones a pass over all
                np.copyto(labels, sets.labels()[signed.texts])
                found = 0
        return reasons

    def across(
        self, signed: Signatures, kind: Kind, side: NDArray[np.bool_], once: bool = False
    ) -> list[NearPair]:
        """Every near pair with its texts on different sides.

        Args:
            signed: signatures of both sides.
            side: (texts of the store,) which side each text is on.
            once: one pair for each text of the side False is enough.
        """
        found: list[NearPair] = []
        settled: set[int] = set()
        labels = side[signed.texts].astype(np.int64)
        for pairs in self._near(signed, kind, lambda: labels):
            for pair in pairs:
                held = pair.other if side[pair.one] else pair.one
                if held not in settled:
                    found.append(pair)
                    if once:
                        settled.add(held)
        return found

    def _near(self, signed: Signatures, kind: Kind, labels: Labels) -> Iterator[list[NearPair]]:
        bands = signed.keys.shape[1]
        for band, one, other in _candidates(signed, labels):
            self.tell(2 * band + 1, 2 * bands)
            chosen = signed.likely(one, other, self.threshold)
            one, other = signed.texts[one[chosen]], signed.texts[other[chosen]]
            for begin, end in self._portions(one, other):
                yield self._verified(one[begin:end], other[begin:end], kind)
                self.tell(2 * band + 1, 2 * bands)
        self.tell(2 * bands, 2 * bands)

    def _portions(self, one: NDArray[np.int64], other: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
        """Stretches of the pairs whose texts together have a bounded size."""
        begin, size = 0, 0
        for place, (first, second) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
            size += self.store.size(first) + self.store.size(second)
            if size >= _CHARACTERS_AT_ONCE:
                yield begin, place + 1
                begin, size = place + 1, 0
        if begin < len(one):
            yield begin, len(one)

    def _verified(self, one: NDArray[np.int64], other: NDArray[np.int64], kind: Kind) -> list[NearPair]:
        numbers, places = np.unique_inverse(np.concatenate([one, other]))
        texts = self.store.read(numbers.tolist())
        jaccards = _jaccards(texts, places[: len(one)], places[len(one) :], kind)
        return [
            NearPair(
                int(min(one[place], other[place])),
                int(max(one[place], other[place])),
                float(jaccards[place]),
                kind,
            )
            for place in np.flatnonzero(jaccards >= self.threshold - _EPSILON)
        ]


def _candidates(signed: Signatures, labels: Labels) -> Iterator[tuple[int, Places, Places]]:
    """(band, pairs as places in `signed`) that share its key and have different labels, each in the first it shares.

    Labels are asked for anew as they change: what has been joined meanwhile needs no comparing.
    """
    for band in range(signed.keys.shape[1]):
        yield band, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)  # a sign of life
        keys = np.asarray(signed.keys[:, band])
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        ends = np.flatnonzero(np.concatenate([ordered[1:] != ordered[:-1], [True]])) + 1
        lengths = np.diff(np.concatenate([[0], ends]))
        ends, lengths = ends[lengths > 1], lengths[lengths > 1]
        for one, other in _short_runs(order, ends[lengths <= _LONG], lengths[lengths <= _LONG], labels):
            yield band, *_not_before(signed, band, one, other)
        for end, length in zip(ends[lengths > _LONG], lengths[lengths > _LONG], strict=True):
            for one, other in _long_run(order[end - length : end], labels):
                yield band, *_not_before(signed, band, one, other)


def _not_before(signed: Signatures, band: int, one: Places, other: Places) -> Pairs:
    """The pairs that share no earlier band."""
    new = ~np.any(signed.keys[one, :band] == signed.keys[other, :band], axis=1)
    return one[new], other[new]


def _short_runs(order: Places, ends: Places, lengths: Places, labels: Labels) -> Iterator[Pairs]:
    """All pairs within each run of `order`, by their distance, many runs at once."""
    end_of = np.repeat(ends, lengths)
    within = np.arange(len(end_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    here = np.repeat(ends - lengths, lengths) + within
    for step in range(1, _LONG):
        inside = here + step < end_of
        here, end_of = here[inside], end_of[inside]
        for begin in range(0, len(here), _PAIRS_AT_ONCE):
            part = here[begin : begin + _PAIRS_AT_ONCE]
            yield _labelled_apart(order[part], order[part + step], labels())


def _long_run(members: Places, labels: Labels) -> Iterator[Pairs]:
    """All pairs of one run with different labels: the smallest label against all others, until one is left.

    So ten thousand rows of one pattern cost comparisons with those that are not yet known to be of it, no square.
    """
    while True:
        now = labels()[members]
        values, place, counts = np.unique(now, return_inverse=True, return_counts=True)
        if len(values) == 1:
            return
        fewest = place == int(np.argmin(counts))
        few, rest = members[fewest], members[~fewest]
        for member in few:
            yield _labelled_apart(np.full(len(rest), member), rest, labels())
        members = rest


def _labelled_apart(one: Places, other: Places, labels: Places) -> Pairs:
    apart = labels[one] != labels[other]
    return one[apart], other[apart]
