"""Which split each unit goes to: where it was before, else by hash, in each label's own share. Pure.

A unit is what must not part: the rows of one named group, and of everything near to them. Its place follows from
the hash of one of its groups' names. Where answers are labels, units of one label are spread by their rank in that
order, so that each split gets its share of the label as nearly as units allow. Units are columns of numbers: there may
be millions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.rows import SPLITS
from appliance.dataset.splitting import TEST, TRAIN, VALID, position

LABEL_ROWS = 10
"""Answers are labels when there are at least so many rows to each."""
LABEL_LENGTH = 200
"""and when none is longer than so many characters."""
_LARGE = 0.05  # of its label's rows: such a unit goes where most is missing, before the others are spread
_TIES = np.array([0, 1, 2])  # of training, validation, test: the later keeps its rows, to stay comparable

Splits = NDArray[np.int8]
"""Places in `SPLITS`; -1: none."""
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Units:
    """What stays together, n of it.

    Attributes:
        keys: (n,) the `group_key` of one of each unit's groups; all different.
        rows: (n,) how many rows.
        labels: (n,) a digest of the most frequent answer; None where answers aren't labels.
        before: (n, 3) rows of it by the split that they were in before; zeros for a new unit.
    """

    keys: NDArray[np.uint64]
    rows: Numbers
    labels: Numbers | None
    before: Numbers

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(n,) where the hashes put them in [0, 1), as `splitting.position` does."""
        fractions: NDArray[np.float64] = (self.keys >> np.uint64(16)) / 2.0**48
        return fractions


def earlier_splits(before: Numbers, count: int) -> Splits:
    """The split that most of each unit's rows were in, of the first `count` of `SPLITS`; -1 for a new unit.

    On a tie the test split keeps its rows, then validation: what has been measured on is to stay comparable.
    """
    known = before[:, :count]
    best = np.argmax(known * len(_TIES) + _TIES[:count] * (known > 0), axis=1)
    return np.where(known.any(axis=1), best, -1).astype(np.int8)


def _by_position(positions: NDArray[np.float64], with_test: bool) -> Splits:
    """As `splitting.by_position`."""
    bounds = [0.8, 0.9] if with_test else [0.9]
    return np.searchsorted(np.array(bounds), positions, side="right").astype(np.int8)


def _spread(
    label: int, keys: NDArray[np.uint64], rows: Numbers, have: Numbers, shares: list[float]
) -> Splits:
    """The split of each new unit of one label; `have` counts the rows that stand already, by split."""
    total = int(rows.sum()) + int(have.sum())
    missing = [max(0.0, share * total - held) for share, held in zip(shares, have.tolist(), strict=True)]
    result: Splits = np.full(len(keys), -1, dtype=np.int8)
    large = max(1.0, _LARGE * total)
    for place in np.lexsort((keys, -rows)).tolist():
        if rows[place] <= large:
            break
        split = max(range(len(missing)), key=lambda split: missing[split])
        missing[split] = max(0.0, missing[split] - int(rows[place]))
        result[place] = split
    rest = np.flatnonzero(result < 0)
    rest = rest[np.argsort(keys[rest])]
    wanted = sum(missing)
    weights = [part / wanted if wanted else share for part, share in zip(missing, shares, strict=True)]
    # Where the first row of a label falls differs from label to label, or all would round the same way.
    shift = position(f"label {label & (2**64 - 1):016x}")
    sizes = rows[rest]
    at = (np.cumsum(sizes) - sizes + shift * sizes) / max(int(sizes.sum()), 1)
    bounds = list(itertools.accumulate(weights))[:-1]
    result[rest] = np.searchsorted(np.array(bounds), at, side="right")
    return result


def _fill_empty(splits: Splits, units: Units, centres: list[float]) -> None:
    """No split stays empty while there are units enough, as `splitting.fill_empty` says."""
    for empty in (SPLITS.index(name) for name in (TRAIN, TEST, VALID)):
        if empty >= len(centres) or np.any(splits == empty):
            continue
        sizes = np.bincount(splits, minlength=len(centres))
        donor = int(np.argmax(sizes))
        if sizes[donor] < 2:
            continue
        held = np.flatnonzero(splits == donor)
        nearest = np.lexsort((units.keys[held], np.abs(units.positions[held] - centres[empty])))
        splits[held[nearest[0]]] = empty


def place(units: Units, with_test: bool = True) -> Splits:
    """The split of each unit.

    A unit that was in a split before stays there. A new one goes by its hash alone where answers aren't labels; else
    it fills what its label lacks. No split stays empty while there are units enough.

    Args:
        units: in any order.
        with_test: False where the test rows come from files of their own.
    """
    shares, centres = ([0.8, 0.1, 0.1], [0.4, 0.85, 0.95]) if with_test else ([0.9, 0.1], [0.45, 0.95])
    result = earlier_splits(units.before, len(shares))
    if units.labels is None:
        unplaced = result < 0
        result[unplaced] = _by_position(units.positions[unplaced], with_test)
    else:
        order = np.argsort(units.labels, kind="stable")
        ordered = units.labels[order]
        bounds = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
        for begin, end in itertools.pairwise(bounds.tolist() if len(ordered) else []):
            members = order[begin:end]
            old, new = members[result[members] >= 0], members[result[members] < 0]
            have = np.bincount(result[old], weights=units.rows[old], minlength=len(shares)).astype(np.int64)
            result[new] = _spread(int(ordered[begin]), units.keys[new], units.rows[new], have, shares)
    _fill_empty(result, units, centres)
    return result


def are_labels(distinct: int, rows: int, longest: int) -> bool:
    """Whether answers are labels.

    Args:
        distinct: how many different answers there are.
        rows: how many rows.
        longest: characters of the longest answer.
    """
    return 1 < distinct <= rows / LABEL_ROWS and longest <= LABEL_LENGTH
