"""The scorer by embeddings, with the real 135M: what means the same is told from what doesn't, and what is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.evaluation.auditing.meaning import EmbeddingStore, Meaning
from appliance.evaluation.auditing.running import Outcome
from appliance.evaluation.suite import Case, Suite
from appliance.serving.engine_client import Engine

pytestmark = pytest.mark.slow

PAIRS = [
    ("The pump on deck 3 is dead.", "Pump at deck three has failed."),
    ("We would like two lattes with oat milk.", "Two oat milk lattes for us, please."),
    ("Boil the water for a minute before you drink it.", "Water has to be boiled one minute to be safe to drink."),
    ("The invoice was paid on Monday.", "Payment of the bill took place on Monday."),
    ("Keep a wound clean and covered.", "A wound should be washed and bandaged."),
    ("The library closes at six in the evening.", "At 6 pm the library shuts."),
]  # fmt: skip


def outcome_of(suite: Suite, said: dict[str, str]) -> Outcome:
    return Outcome(suite, said={number: [text] for number, text in said.items()})


def test_right_answers_are_told_from_shuffled_ones(embedded_gguf: Path, tmp_path: Path) -> None:
    cases = [
        Case(str(number), {"prompt": "?", "reference": reference}, f"s:{number + 2}")
        for number, (_, reference) in enumerate(PAIRS)
    ]
    suite = Suite("s", "semantic", tuple(cases))
    right = outcome_of(suite, {str(number): answer for number, (answer, _) in enumerate(PAIRS)})
    turned = [*PAIRS[1:], PAIRS[0]]
    wrong = outcome_of(suite, {str(number): answer for number, (answer, _) in enumerate(turned)})
    empty = outcome_of(suite, {"0": ""})
    kept = tmp_path / "embeddings.jsonl"
    with Engine(embedded_gguf, slots=1, context=256, threads=1) as engine:
        with EmbeddingStore(kept) as store:
            Meaning(engine, "f", store).score(suite, {"shipped": right, "base": wrong, "in_service": empty})
        before = kept.read_bytes()
        again = outcome_of(suite, right.said and {key: said[0] for key, said in right.said.items()})
        with EmbeddingStore(kept) as store:
            Meaning(engine, "f", store).score(suite, {"shipped": again})
        alone = Suite("s", "semantic", tuple(cases[:1]))
        lonely = outcome_of(alone, {"0": "The pump"})
        with EmbeddingStore(kept) as store:
            Meaning(engine, "f", store).score(alone, {"shipped": lonely})
    assert before == kept.read_bytes()[: len(before)] and again.scores == right.scores

    def mean(outcome: Outcome, name: str) -> float:
        return sum(score.values[name] for score in outcome.scores.values()) / len(outcome.scores)

    assert mean(right, "nearest") > 0.8 and mean(right, "similarity") > 0.4
    assert mean(wrong, "nearest") == 0.0 and mean(wrong, "similarity") < 0.1
    assert empty.scores["0"].values["cosine"] == 0.0
    assert not lonely.scores and "can't be calibrated" in lonely.faults[0].text
