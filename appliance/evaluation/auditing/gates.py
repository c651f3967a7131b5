"""Whether figures keep their bounds. Pure: figures in, verdicts out; each says why in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from appliance.evaluation.auditing.results import SuiteResult
from appliance.evaluation.resampling import Difference, Figure
from appliance.evaluation.results import EvaluationResult
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Fault, Gate, Suite
from appliance.evaluation.suites.reading import gate_words

FORMAT = 1
FAULTS = "faults"
"""Stands in the metric's place where what is judged is a suite's file."""
_MOST_TOLD = 5  # faults, in a verdict


@dataclass(frozen=True)
class Verdict:
    """One gate as it was judged.

    Attributes:
        gate: `suite:metric`, and what a waiver names.
        bound: what is asked, in words.
        passed: whether it holds.
        reason: what was measured beside the bound, in a sentence.
    """

    gate: str
    bound: str
    passed: bool
    reason: str


def record(model: str, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """What a file of verdicts holds (docs/formats/suites.md); `model` is the measured file's SHA-256."""
    return {"format": FORMAT, "model": model, "gates": [asdict(verdict) for verdict in verdicts]}


def said(figure: Figure, shape: str) -> str:
    """A figure with its interval, for a sentence."""
    if shape == "share":
        interval = f"{figure.low:.1%} to {figure.high:.1%}"
        return f"{figure.value:.1%} ({interval}, {figure.cases} cases)"
    return f"{figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g}, {figure.cases} cases)"


def judge(
    suite: Suite, gate: Gate, figure: Figure | None, other: Figure | None, gap: Difference | None
) -> Verdict:
    """One gate of a suite.

    Args:
        suite: with the gate.
        gate: the bound.
        figure: the shipped file's.
        other: the system's that the gate is against; None where it names none.
        gap: the paired comparison with it.
    """
    metric = next(entry for entry in SCORERS[suite.scorer].metrics if entry.name == gate.metric)
    name, bound = f"{suite.name}:{gate.metric}", gate_words(gate)
    if figure is None:
        return Verdict(name, bound, False, "nothing was measured: no case of the suite could be scored")
    text = f"{metric.name} is {said(figure, metric.shape)}"
    broken = []
    if gate.at_least is not None:
        broken.append((figure.high if gate.sure else figure.value) < gate.at_least)
    if gate.at_most is not None:
        broken.append((figure.low if gate.sure else figure.value) > gate.at_most)
    if gate.against:
        if other is None or gap is None:
            return Verdict(name, bound, False, f"{gate.against} was not measured beside it")
        text += f"; {gate.against}'s is {said(other, metric.shape)}, p = {gap.p:.2g}: {gap.verdict}"
        worse = gap.theirs - gap.ours if metric.better == "higher" else gap.ours - gap.theirs
        shown = not gate.sure or gap.verdict == "worse"
        if gate.drop_at_most is not None:
            broken.append(shown and worse > gate.drop_at_most)
        if gate.ratio_at_most is not None:
            broken.append(shown and gap.ours > gate.ratio_at_most * gap.theirs)
    return Verdict(name, bound, not any(broken), text)


def standing(result: EvaluationResult, int4_drop: float, ended: float, beats_base: bool) -> list[Verdict]:
    """The gates that every evaluation has: on what it measured anyway.

    Args:
        result: the evaluation.
        int4_drop: how much smaller the shipped file's exact share may be than the F16 file's, beyond noise.
        ended: the least share of answers that end by themselves, beyond noise.
        beats_base: whether the tuned file must not be worse than the base with all the help of a prompt.
    """
    ours = result.systems[-1]
    verdicts = [
        Verdict(
            "answers:ended",
            f"at least {ended:g} of the answers say something and end by themselves, beyond noise",
            ours.ended.high >= ended,
            f"{ours.ended.share:.1%} do ({ours.ended.low:.1%} to {ours.ended.high:.1%}, {ours.rows} test rows)"
            + (
                ""
                if ours.ended.high >= ended
                else ": nothing is said, the end token is not learnt, or the template is another"
            ),
        )
    ]
    compared: Mapping[str, Any] = {entry.against: entry for entry in result.comparisons}
    full = result.system("tuned_f16")
    if full is not None:
        loss = full.exact.share - ours.exact.share
        lost = loss > int4_drop and compared["tuned_f16"].verdict == "worse"
        verdicts.append(
            Verdict(
                "answers:quantization",
                f"at most {int4_drop:g} fewer exactly right than the F16 file, beyond noise",
                not lost,
                f"{ours.exact.share:.1%} against {full.exact.share:.1%}, p = {compared['tuned_f16'].p:.2g}",
            )
        )
    rival = result.system("base_shots") or result.system("base")
    if rival is not None and beats_base:
        entry = compared[rival.key]
        verdicts.append(
            Verdict(
                "answers:base",
                "not worse than the untuned base, asked as well as a prompt allows",
                entry.verdict != "worse",
                f"{ours.exact.share:.1%} against {rival.exact.share:.1%} exactly right, p = {entry.p:.2g}: "
                f"{entry.verdict}",
            )
        )
    return verdicts


def of_suites(results: Sequence[SuiteResult]) -> list[Verdict]:
    """The verdicts of an audit, in its order."""
    return [Verdict(**verdict) for result in results for verdict in result.gates]


def of_faults(faults: Sequence[Fault]) -> list[Verdict]:
    """One failed verdict for each suite whose head, gates or file are wrong: a gate may be missing because of it."""
    by_suite: dict[str, list[str]] = {}
    for fault in faults:
        by_suite.setdefault(fault.suite, []).append(str(fault))
    return [
        Verdict(
            f"{suite}:{FAULTS}",
            "head and gates of the suite without a fault",
            False,
            "; ".join(told[:_MOST_TOLD])
            + (f"; and {len(told) - _MOST_TOLD} more" if len(told) > _MOST_TOLD else ""),
        )
        for suite, told in by_suite.items()
    ]
