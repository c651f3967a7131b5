"""Which way wins, by which measure, and at what cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.evaluation.resampling import Figure, difference, figure
from appliance.evaluation.scoring.scorer import CaseScore, Metric

FORMAT = 1
Measure = Literal["exact", "rouge_l"]
METRICS: dict[Measure, Metric] = {
    "exact": Metric("exact", "answers that are exactly right"),
    "rouge_l": Metric("rouge_l", "mean F1 of the longest word sequence that answer and reference share"),
}


@dataclass(frozen=True)
class Cost:
    """What a way takes.

    Attributes:
        rows_per_second: answered, on this machine, several side by side.
        prompt_tokens, answer_tokens: means of a row.
        memory_bytes: of the engine.
        file_bytes: of the model's file.
        training_seconds: once, before the first answer; 0 for what needs none.
    """

    rows_per_second: float
    prompt_tokens: float
    answer_tokens: float
    memory_bytes: int
    file_bytes: int
    training_seconds: float = 0.0


@dataclass(frozen=True)
class Way:
    """One way as it was measured.

    Attributes:
        key, title: which.
        value, low, high: the measure and its 95 % interval.
        against_best: "best", or what its difference from the best came to: "worse" or "no difference shown".
        p: of that difference, two-sided; 1 for the best.
        cost: what it takes.
    """

    key: str
    title: str
    value: float
    low: float
    high: float
    against_best: str
    p: float
    cost: Cost


@dataclass(frozen=True)
class Advice:
    """What was found.

    Attributes:
        measure: by what ways are compared.
        rows: cases asked.
        looked_up: "documents", "training rows" or "" where nothing was looked up, and how many things.
        ways: in the order they were asked.
        quickest: of those that are not shown worse than the best, the one that answers most rows a second.
        least_work: of the same, the one that needs least before its first answer.
        text: the advice in words.
    """

    measure: Measure
    rows: int
    looked_up: tuple[str, int]
    ways: tuple[Way, ...]
    quickest: str
    least_work: str
    text: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON value; docs/formats/evaluation.md describes it."""
        return {"format": FORMAT, **asdict(self)}


def judge(
    measure: Measure,
    asked: Sequence[tuple[str, str, Sequence[float], Cost]],
    looked_up: tuple[str, int],
) -> Advice:
    """Compare ways on the same rows.

    Args:
        measure: what the values are.
        asked: key, title, a value a row, and cost of each way; from the cheapest to make to the dearest.
        looked_up: see `Advice`.
    """
    metric = METRICS[measure]
    scores = {key: [CaseScore({measure: value}) for value in values] for key, _, values, _ in asked}
    figures: dict[str, Figure] = {}
    for key in scores:
        found = figure(metric, scores[key])
        assert found is not None, "every row has the measure"
        figures[key] = found
    best = max(figures, key=lambda key: figures[key].value)
    ways = []
    for key, title, _, cost in asked:
        verdict, p = "best", 1.0
        if key != best:
            gap = difference(metric, scores[key], scores[best], best)
            assert gap is not None
            verdict, p = gap.verdict, gap.p
        one = figures[key]
        ways.append(Way(key, title, one.value, one.low, one.high, verdict, p, cost))
    level = [way for way in ways if way.against_best != "worse"]
    quickest = max(level, key=lambda way: way.cost.rows_per_second)
    least = level[0]
    rows = len(next(iter(scores.values())))
    return Advice(
        measure,
        rows,
        looked_up,
        tuple(ways),
        quickest.key,
        least.key,
        _words(measure, ways, level, quickest, least, looked_up[0]),
    )


def _words(
    measure: Measure, ways: Sequence[Way], level: Sequence[Way], quickest: Way, least: Way, looked: str
) -> str:
    best = next(way for way in ways if way.against_best == "best")
    told = f"{best.value:.1%} exactly right" if measure == "exact" else f"ROUGE-L {best.value:.2f}"
    lines = [f"{best.title} is best: {told}."]
    others = [way.title for way in level if way is not best]
    if others:
        lines.append(f"Not shown to be worse: {'; '.join(others)}.")
    if quickest is not best:
        lines.append(f"Of these {quickest.title} answers most rows a second.")
    if least is not best and least.cost.training_seconds < best.cost.training_seconds:
        lines.append(f"{least.title} needs no training.")
    if best.value < 0.5:
        lines += ["None of them is good.", _what_next(best, level, looked)]
    if best.key.startswith("tuned"):
        lines.append(
            "What changes from day to day a tuned model learns only in its next round; look such facts up."
        )
    return " ".join(lines)


def _what_next(best: Way, level: Sequence[Way], looked: str) -> str:
    """What the measurement says of ways none of which is good, and what may help that it did not try.

    Args:
        best: the best way.
        level: it, and the ways that are not shown to be worse.
        looked: what was looked up in; see `Advice`.
    """
    untried = "a larger base may too. Neither was tried here."
    if any(way.key == "prompt" for way in level):
        return (
            "Nothing is shown to be better than the prompt alone, so neither examples nor training have brought "
            "what is asked for: read the answers before anything else. More rows about these topics may help, "
            + untried
        )
    if best.key == "retrieval" and looked == "documents":
        return (
            "It is better than the prompt alone, so the passages hold at least some of what is asked for: keep "
            "looking up. A larger base may make more of the same passages. It was not tried here."
        )
    if best.key == "retrieval":
        return f"Rows like the question help most: more rows about these topics may help further, {untried}"
    if best.key == "few_shot":
        return (
            f"Examples in the prompt help most: others, chosen for these topics, may help further, {untried}"
        )
    if best.key == "tuned_retrieval":
        return (
            "Training and looking up help together: keep both. Training rows that show passages may help further, "
            + untried
        )
    return f"Training helps most: more rows about these topics may help further, {untried}"
