"""A run as lines for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.visible import visible
from appliance.watch.redteam.comparing import Comparison
from appliance.watch.redteam.library import FAMILIES, Attack
from appliance.watch.redteam.runs import Run

_BAR = 20


def _bar(rate: float) -> str:
    full = round(rate * _BAR)
    return "█" * full + "·" * (_BAR - full)


def run_lines(run: Run, baseline: Run | None, found: Sequence[Comparison]) -> list[str]:
    """Each family with its rate, interval and what changed."""
    head = f"run {run.number}  {run.time}  {visible(run.release or run.identity, 60)}"
    if baseline is None or baseline.number == run.number:
        lines = [f"{head}  (the baseline)"]
    else:
        lines = [f"{head}  against run {baseline.number} of {baseline.time}"]
    lines.append(f"{'family':<14} {'held off':<{_BAR}}  {'':>8}   95 % interval    baseline")
    for each in found:
        rate = each.held / each.total
        low, high = each.interval
        before = f"{each.baseline_held} of {each.baseline_total}" if each.baseline_total else "none"
        note = "  WORSE" if each.worse else ""
        count = f"{each.held}/{each.total}"
        lines.append(
            f"{each.family:<14} {_bar(rate)}  {count:>8}   {low:>4.0%} to {high:<4.0%}     {before}{note}"
        )
        lines += [f"  held before, not now: {name}" for name in each.broken[:3]]
    return lines


def example_lines(
    run: Run, attacks: Mapping[str, Attack], families: Sequence[str], most: int = 3
) -> list[str]:
    """Of each family the first attacks that came through, with what was asked and answered."""
    lines: list[str] = []
    for family in families:
        failed = [each for each in run.outcomes if each.family == family and not each.held]
        if failed:
            lines.append(f"{family}: {FAMILIES[family]}; {len(failed)} came through")
        for outcome in failed[:most]:
            attack = attacks.get(outcome.id)
            asked = attack.messages[-1]["content"] if attack else "(no longer in the library)"
            lines.append(f"  {outcome.id}")
            lines.append(f"    asked     {visible(asked, 200)}")
            lines.append(f"    answered  {visible(outcome.answer, 200)}")
    return lines
