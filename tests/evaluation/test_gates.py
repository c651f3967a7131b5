"""Bounds and figures to verdicts: what breaks, what is only noise, and what every evaluation is judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.evaluation.answers import Answer
from appliance.evaluation.auditing.gates import judge, record, standing
from appliance.evaluation.certainty import compare
from appliance.evaluation.resampling import Difference, Figure, difference, figure
from appliance.evaluation.results import EvaluationResult, Share, SystemScore, score_answers, summarise
from appliance.evaluation.scoring import SCORERS, CaseScore
from appliance.evaluation.suite import Gate, Suite
from appliance.evaluation.suites.public_sets import SETS
from appliance.evaluation.systems import ModelFile, System, plain_prompt

SUITE = Suite("desk", "exact", ())
SWAPS = Suite("swaps", "swap", ())
BELOW = Figure("exact", 0.85, 0.70, 0.93, 40)


def test_a_bound_is_on_the_figure_unless_it_has_to_be_sure() -> None:
    verdict = judge(SUITE, Gate("exact", at_least=0.9), BELOW, None, None)
    assert (verdict.passed, verdict.gate) == (False, "desk:exact")
    assert verdict.bound == "exact at least 0.9"
    assert verdict.reason == "exact is 85.0% (70.0% to 93.0%, 40 cases)"
    assert judge(SUITE, Gate("exact", at_least=0.9, sure=True), BELOW, None, None).passed
    assert not judge(SUITE, Gate("exact", at_least=0.95, sure=True), BELOW, None, None).passed
    assert not judge(SUITE, Gate("exact", at_most=0.8), BELOW, None, None).passed
    assert judge(SUITE, Gate("exact", at_most=0.8, sure=True), BELOW, None, None).passed
    assert not judge(SUITE, Gate("exact", at_most=0.6, sure=True), BELOW, None, None).passed
    assert not judge(SUITE, Gate("exact", at_least=0.8, at_most=0.82), BELOW, None, None).passed


def test_what_was_not_measured_does_not_pass() -> None:
    assert not judge(SUITE, Gate("exact", at_least=0.0), None, None, None).passed
    lone = judge(SUITE, Gate("exact", against="base", drop_at_most=0.5), BELOW, None, None)
    assert not lone.passed and "base was not measured" in lone.reason


@pytest.mark.parametrize(
    ("gate", "verdict", "passed"),
    [
        (Gate("exact", against="base", drop_at_most=0.05), "no difference shown", False),
        (Gate("exact", against="base", drop_at_most=0.05, sure=True), "no difference shown", True),
        (Gate("exact", against="base", drop_at_most=0.05, sure=True), "worse", False),
        (Gate("exact", against="base", drop_at_most=0.2), "worse", True),
    ],
)
def test_a_drop_against_the_base(gate: Gate, verdict: str, passed: bool) -> None:
    other = Figure("exact", 0.95, 0.9, 0.99, 40)
    gap = Difference("exact", "base", 0.85, 0.95, -0.2, 0.0, 0.04, 40, verdict)
    assert judge(SUITE, gate, BELOW, other, gap).passed is passed


def test_where_less_is_better_a_drop_is_a_rise() -> None:
    ours, other = Figure("spread", 0.5, 0.4, 0.6, 20), Figure("spread", 0.1, 0.05, 0.2, 20)
    gap = Difference("spread", "base", 0.5, 0.1, 0.3, 0.5, 0.001, 20, "worse")
    gate = Gate("spread", against="base", drop_at_most=0.1, sure=True)
    assert not judge(SWAPS, gate, ours, other, gap).passed
    ratio = Gate("spread", against="base", ratio_at_most=6.0)
    assert judge(SWAPS, ratio, ours, other, gap).passed
    assert not judge(SWAPS, Gate("spread", against="base", ratio_at_most=4.0), ours, other, gap).passed


def evaluated(shipped: list[bool], full: list[bool], base: list[bool], ended: int) -> EvaluationResult:
    def system(key: str, right: list[bool]) -> SystemScore:
        share = Share.of(sum(right), len(right))
        ends = Share.of(ended, len(right))
        file = {"name": f"{key}.gguf", "sha256": key, "bytes": 1, "bits_per_weight": 4.5}
        return SystemScore(key, key, file, len(right), share, None, None, ends, None, None, None, 9.0)

    systems = [system("base_shots", base), system("tuned_f16", full), system("shipped", shipped)]
    compared = [compare(shipped, full, "tuned_f16"), compare(shipped, base, "base_shots")]
    return EvaluationResult("p", "1.0.0", "d", len(shipped), "exact", systems, compared, [], [], "shipped")


def broken(result: EvaluationResult) -> list[str]:
    return [v.gate for v in standing(result, int4_drop=0.1, ended=0.5, beats_base=True) if not v.passed]


def test_what_every_evaluation_is_judged_by() -> None:
    good, bad = [True] * 90 + [False] * 10, [True] * 60 + [False] * 40
    assert broken(evaluated(good, good, bad, 100)) == []
    assert broken(evaluated(good, good, bad, 30)) == ["answers:ended"]
    assert broken(evaluated(bad, good, bad, 100)) == ["answers:quantization"]
    assert broken(evaluated(bad, bad, good, 100)) == ["answers:base"]
    few = [True] * 3 + [False] * 3
    assert broken(evaluated(few, [True] * 6, [True] * 6, 1)) == [], "six rows show nothing"
    assert [v.gate for v in standing(evaluated(bad, bad, good, 100), 0.1, 0.5, False)] == [
        "answers:ended",
        "answers:quantization",
    ]


def test_verdicts_as_data_name_their_file() -> None:
    value = record("m" * 64, standing(evaluated([True], [True], [True], 1), 0.1, 0.5, True))
    assert (value["format"], value["model"], len(value["gates"])) == (1, "m" * 64, 3)
    assert set(value["gates"][0]) == {"gate", "bound", "passed", "reason"}


def test_an_answer_that_says_nothing_has_not_ended_by_itself() -> None:
    """What a release with another chat template does: the end token at once, in both files alike."""
    file = ModelFile(Path("a.gguf"), "0" * 64, 1, 5.5)
    system = System("shipped", "Q4_0", file, plain_prompt)
    for text, share in (("", 0.0), (" \n", 0.0), ("yes", 1.0)):
        answers = [Answer("k", "shipped", str(n), text, "stop", 9, 0, 0.1) for n in range(16)]
        scores = score_answers(["yes"] * 16, answers, "exact", None)
        assert summarise(system, scores, answers, "exact").ended.share == share
    cut = Answer("k", "shipped", "0", "yes", "length", 9, 3, 0.1)
    assert not cut.complete


def _passes(suite: Suite, ours: list[CaseScore], base: list[CaseScore]) -> dict[str, bool]:
    found = {}
    for gate in suite.gates:
        metric = next(metric for metric in SCORERS[suite.scorer].metrics if metric.name == gate.metric)
        gap = difference(metric, ours, base, "base") if base else None
        verdict = judge(suite, gate, figure(metric, ours), figure(metric, base), gap)
        found[gate.metric] = verdict.passed
    return found


def _public(name: str) -> Suite:
    public = next(entry for entry in SETS if entry.file == name)
    return Suite(public.file, public.scorer, (), public.gates)


def test_a_file_that_leans_like_the_base_passes_and_one_that_always_follows_the_stereotype_does_not() -> None:
    def pairs(share: float, turned: int = 0) -> list[CaseScore]:
        return [CaseScore({"stereotyped": float((n + turned) % 10 < share * 10)}) for n in range(100)]

    crows = _public("bias_crows_pairs")
    assert _passes(crows, pairs(0.6, 3), pairs(0.6)) == {"lean": True}
    assert _passes(crows, pairs(0.5), pairs(0.6)) == {"lean": True}
    assert _passes(crows, pairs(1.0), pairs(0.6)) == {"lean": False}
    assert _passes(crows, pairs(0.0), pairs(0.6)) == {"lean": False}  # the other way is a lean too

    def answers(right: float, toward: float) -> list[CaseScore]:
        return [
            CaseScore(
                {"acc": float(n % 10 < right * 10), "bias_ambiguous": 1.0 if n % 10 < toward * 10 else -1.0}
            )
            for n in range(100)
        ]

    bbq = _public("bias_bbq")
    assert all(_passes(bbq, answers(0.4, 0.6), answers(0.4, 0.5)).values())
    assert _passes(bbq, answers(0.4, 0.9), answers(0.4, 0.5)) == {"acc": True, "lean_ambiguous": False}
    assert _passes(bbq, answers(0.1, 0.5), answers(0.4, 0.5)) == {"acc": False, "lean_ambiguous": True}


def test_public_sets_whose_bound_is_their_own() -> None:
    def complied(share: float) -> list[CaseScore]:
        return [CaseScore({"complied": float(n < share * 60)}) for n in range(60)]

    for name in ("overrefusal_xstest", "overrefusal_mitre_frr"):
        assert _passes(_public(name), complied(0.7), []) == {"complied": True}
        assert _passes(_public(name), complied(0.3), []) == {"complied": False}
    told = [CaseScore({"kept": float(n == 0)}) for n in range(22)]
    assert _passes(_public("prompt_injection"), told, []) == {"kept": False}
    ungated = {entry.file for entry in SETS if not entry.gates}
    assert ungated == {"redteam_advbench", "redteam_harmbench", "indirect_injection_bipia"}
