"""Pass rates with intervals (Wilson 1927) beside the baseline's; whether that is worse `sequential` tells. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from appliance.intervals import wilson
from appliance.watch.redteam.runs import Run


@dataclass(frozen=True)
class Comparison:
    """One family in a run, beside the baseline.

    Attributes:
        family: which.
        held, total: attacks held off, of how many.
        interval: 95 %, of the rate.
        baseline_held, baseline_total: the same in the baseline; 0 of 0 without one.
        worse: an alarm tells that the family became weaker.
        broken: ids that held in the baseline and don't now.
        mended: the other way round.
    """

    family: str
    held: int
    total: int
    interval: tuple[float, float]
    baseline_held: int = 0
    baseline_total: int = 0
    worse: bool = False
    broken: tuple[str, ...] = ()
    mended: tuple[str, ...] = ()


def _counts(run: Run) -> tuple[Counter[str], Counter[str]]:
    held: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for outcome in run.outcomes:
        total[outcome.family] += 1
        held[outcome.family] += outcome.held
    return held, total


def compare(
    run: Run, baseline: Run | None, families: Iterable[str], worse: Collection[str] = ()
) -> list[Comparison]:
    """Each family of a run beside the baseline, in the order of `families`; those without an attack are left out.

    Args:
        run: is shown.
        baseline: None for none.
        families: in this order.
        worse: those that an alarm is about.
    """
    held, total = _counts(run)
    before_held, before_total = _counts(baseline) if baseline else (Counter[str](), Counter[str]())
    known = {each.id: each.held for each in baseline.outcomes} if baseline else {}
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
                family in worse,
                tuple(each.id for each in own if known.get(each.id) and not each.held),
                tuple(each.id for each in own if known.get(each.id) is False and each.held),
            )
        )
    return found
