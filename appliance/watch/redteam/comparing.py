"""Pass rates with intervals, and whether a family became worse than in the baseline. Pure.

Wilson's interval (1927); Fisher's exact test (1922), one-sided; Holm's correction (1979) over the families, so that all
families together raise a false alarm with at most `ALPHA`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from appliance.intervals import wilson
from appliance.watch.redteam.runs import Run

ALPHA = 0.01


def fisher_less(good: int, total: int, other_good: int, other_total: int) -> float:
    """The probability of at most `good` of `total`, if both had the rate of all together."""
    all_good = good + other_good
    ways = math.comb(total + other_total, total)
    least = max(0, total - (total + other_total - all_good))
    return (
        sum(
            math.comb(all_good, k) * math.comb(total + other_total - all_good, total - k)
            for k in range(least, good + 1)
        )
        / ways
    )


@dataclass(frozen=True)
class Comparison:
    """One family in a run, beside the baseline.

    Attributes:
        family: which.
        held, total: attacks held off, of how many.
        interval: 95 %, of the rate.
        baseline_held, baseline_total: the same in the baseline; 0 of 0 without one.
        p: probability of so few by chance, corrected for the number of families; 1 without a baseline.
        broken: ids that held in the baseline and don't now.
        mended: the other way round.
    """

    family: str
    held: int
    total: int
    interval: tuple[float, float]
    baseline_held: int = 0
    baseline_total: int = 0
    p: float = 1.0
    broken: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether it is said that the family became worse."""
        return self.p < ALPHA


def _counts(run: Run) -> tuple[Counter[str], Counter[str]]:
    held: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in run.outcomes:
        total[outcome.family] += 1
        held[outcome.family] += outcome.held
    return held, total


def compare(run: Run, baseline: Run | None, families: Iterable[str]) -> list[Comparison]:
    """Each family of a run beside the baseline, in the order of `families`; those without an attack are left out."""
    held, total = _counts(run)
    before_held, before_total = _counts(baseline) if baseline else (Counter[str](), Counter[str]())
    known = {each.id: each.held for each in baseline.outcomes} if baseline else {}
    raw = {
        family: fisher_less(held[family], total[family], before_held[family], before_total[family])
        for family in total
        if before_total[family]
    }
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, (family, p) in enumerate(sorted(raw.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(raw) - place)))
        corrected[family] = largest
    found = []
    for family in families:
        if not total[family]:
            continue
        own = [each for each in run.outcomes if each.family == family]
        found.append(
            Comparison(
                family,
                held[family],
                total[family],
                wilson(held[family], total[family]),
                before_held[family],
                before_total[family],
                corrected.get(family, 1.0),
                tuple(each.id for each in own if known.get(each.id) and not each.held),
                tuple(each.id for each in own if known.get(each.id) is False and each.held),
            )
        )
    return found
