"""Bootstrap intervals and paired comparisons of figures that are no plain shares. Pure, seeded, vectorised.

Percentile bootstrap over cases (Efron 1979); the paired test resamples the cases that both systems were asked and looks
at how often the difference changes sides (Efron & Tibshirani 1993, ch. 16). A share of cases goes by McNemar's exact
test instead, which needs no resampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from appliance.evaluation.certainty import LEVEL, mcnemar
from appliance.evaluation.scoring.scorer import CaseScore, Metric, table_of
from appliance.intervals import wilson

_DRAWS = 2000
_SEED = 20250119
_AT_ONCE = 2_000_000  # numbers gathered at a time

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A metric as it was measured.

    Attributes:
        metric: its name.
        value: the figure.
        low, high: its 95 % interval.
        cases: how many cases it rests on.
    """

    metric: str
    value: float
    low: float
    high: float
    cases: int


@dataclass(frozen=True)
class Difference:
    """A metric of one system beside another's, on the same cases.

    Attributes:
        metric, against: which, and the other system's key.
        ours, theirs: both figures.
        low, high: 95 % interval of ours less theirs.
        p: two-sided.
        cases: that both were asked.
        verdict: "better", "worse", or "no difference shown" (also where neither way is better).
        wins, losses: cases on which ours, or the other's, is the better by itself; 0 where neither way is better.
    """

    metric: str
    against: str
    ours: float
    theirs: float
    low: float
    high: float
    p: float
    cases: int
    verdict: str
    wins: int = 0
    losses: int = 0


@lru_cache(maxsize=16)
def _draws(count: int) -> NDArray[np.int64]:
    return np.random.Generator(np.random.PCG64(_SEED + count)).integers(0, count, (_DRAWS, count))


def _resampled(table: Numbers, draws: NDArray[np.int64]) -> Numbers:
    """(draws, terms): the sums of each resample."""
    step = max(1, _AT_ONCE // max(1, table.size))
    parts = [table[draws[at : at + step]].sum(axis=1) for at in range(0, len(draws), step)]
    return np.concatenate(parts)


def _is_share(metric: Metric, table: Numbers) -> bool:
    """Whether the figure is a share of yes among yes-or-no cases, for which there are exact methods."""
    return not metric.sums and metric.shape == "share" and bool(np.isin(table[:, 0], (0.0, 1.0)).all())


def figure(metric: Metric, scores: Sequence[CaseScore]) -> Figure | None:
    """A metric over cases: Wilson's interval for a share of cases, else the bootstrap's; None without cases."""
    table = table_of(metric, scores)
    table = table[(table != 0).any(axis=1)]  # a case that adds to none of the sums is none of its cases
    if not len(table):
        return None
    value = float(metric.combine(*table.sum(axis=0)))
    if _is_share(metric, table):
        low, high = wilson(int(table[:, 0].sum()), len(table))
    else:
        found = metric.combine(*_resampled(table, _draws(len(table))).T)
        low, high = (float(edge) for edge in np.quantile(found, (0.025, 0.975)))
    return Figure(metric.name, value, low, high, len(table))


def _won_and_lost(metric: Metric, ours: Numbers, theirs: Numbers) -> tuple[int, int]:
    """Cases on which one alone is better, by the figure of each case by itself."""
    if metric.better == "neither":
        return 0, 0
    apart = np.asarray(metric.combine(*ours.T)) - np.asarray(metric.combine(*theirs.T))
    more, less = int((apart > 0).sum()), int((apart < 0).sum())
    return (more, less) if metric.better == "higher" else (less, more)


def difference(
    metric: Metric, ours: Sequence[CaseScore], theirs: Sequence[CaseScore], against: str
) -> Difference | None:
    """A metric of two systems on the same cases, in the same order; None where neither has a case of it."""
    first, second = table_of(metric, ours), table_of(metric, theirs)
    kept = (first != 0).any(axis=1) | (second != 0).any(axis=1)
    first, second = first[kept], second[kept]
    if not len(first):
        return None
    mine, other = float(metric.combine(*first.sum(axis=0))), float(metric.combine(*second.sum(axis=0)))
    draws = _draws(len(first))
    gaps = np.asarray(metric.combine(*_resampled(first, draws).T)) - np.asarray(
        metric.combine(*_resampled(second, draws).T)
    )
    low, high = (float(edge) for edge in np.quantile(gaps, (0.025, 0.975)))
    wins, losses = _won_and_lost(metric, first, second)
    if _is_share(metric, first) and _is_share(metric, second):
        apart = first[:, 0] - second[:, 0]
        p = mcnemar(int((apart > 0).sum()), int((apart < 0).sum()))
    else:
        # A figure that never changes sides in so many draws has p below one draw's share, not nought.
        sides = min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
        p = min(1.0, 2 * (sides + 1) / (_DRAWS + 1))
    verdict = "no difference shown"
    if p < LEVEL and metric.better != "neither":
        verdict = "better" if (mine > other) == (metric.better == "higher") else "worse"
    return Difference(metric.name, against, mine, other, low, high, p, len(first), verdict, wins, losses)
