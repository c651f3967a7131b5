"""How likely right answers are: what rounding has cost, told without generating and before exact matches show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from appliance.evaluation.scoring.scorer import (
    ASKED,
    CaseScore,
    Continuation,
    Key,
    LikelihoodScorer,
    Metric,
    blank_reference,
    conversation,
)
from appliance.evaluation.suite import Case, Suite
from appliance.serving.sampling import Likelihood


def _texts(case: Case, suite: Suite) -> list[Continuation]:
    return [Continuation(conversation(case, suite), case.text("reference"))]


def _loss(logprob: Any, tokens: Any) -> Any:
    return -logprob / np.maximum(tokens, 1)


def _score(_case: Case, _suite: Suite, found: Sequence[Likelihood]) -> CaseScore:
    values = {
        "logprob": found[0].logprob,
        "tokens": float(found[0].tokens),
        "greedy": float(found[0].greedy),
    }
    return CaseScore(values, None, f"{-found[0].logprob / max(1, found[0].tokens):.3f} nats a token")


ANSWER_LOSS = LikelihoodScorer(
    "answer_loss",
    "how likely the right answers are, in the model's chat template",
    {**ASKED, "reference": Key("text", True, "the right answer")},
    (
        Metric("loss", "nats a token of the right answers", "lower", ("logprob", "tokens"), _loss, "number"),
        Metric("greedy", "right answers of which every token is the likeliest"),
    ),
    score=_score,
    texts=_texts,
    check=blank_reference,
)
