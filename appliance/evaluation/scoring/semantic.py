"""Likeness of meaning, by the embeddings of the local model, and calibrated: what a wrong pairing scores is nought.

The mean hidden states of a language model all point much the same way, so that a bare cosine says little. Each answer's
cosine with its own reference is set beside those with the other cases' references, which are the shuffled pairing.
Weak at negation, numbers and names: "deck 3" and "deck 4" are nearly alike. A small model's embeddings are poor ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from appliance.evaluation.scoring.scorer import (
    ASKED,
    CaseScore,
    EmbeddingScorer,
    Key,
    Likeness,
    Metric,
    Said,
    Values,
    blank_reference,
    listed,
)
from appliance.evaluation.suite import Case, Suite

_LEAST = 0.5  # of the way from a shuffled pairing to the same text


def _score(case: Case, suite: Suite, said: Sequence[Said], found: Likeness) -> CaseScore:
    chance = sum(found.others) / len(found.others)
    similarity = (found.own - chance) / (1 - chance) if chance < 1 else 0.0
    nearest = found.own > max(found.others)
    ok = similarity >= float(suite.options.get("least", _LEAST))
    values: Mapping[str, float] = {
        "alike": float(ok),
        "similarity": similarity,
        "nearest": float(nearest),
        "cosine": found.own,
        "shuffled": chance,
    }
    note = f"cosine {found.own:.3f}, shuffled {chance:.3f}: {similarity:.2f}"
    return CaseScore(values, ok, said[0].text, " | ".join(case.texts("reference")), note)


def _all_alike(cases: Sequence[Values]) -> list[str]:
    if len({frozenset(listed(values["reference"])) for values in cases}) > 1:
        return []
    return ["no case has another `reference`: likeness is calibrated by those of the other cases"]


SEMANTIC = EmbeddingScorer(
    "semantic",
    "answer and reference mean about the same, by the embeddings of the file that ships; calibrated",
    {**ASKED, "reference": Key("texts", True, "a good answer, or several; the nearest counts")},
    (
        Metric("similarity", "0: as like as a shuffled pairing, 1: the same", shape="number"),
        Metric("alike", "answers with a similarity from the threshold on"),
        Metric("nearest", "answers nearer to their own reference than to any other case's"),
        Metric("cosine", "mean cosine with the reference, as it is", shape="number"),
        Metric("shuffled", "the same with other cases' references", "neither", shape="number"),
    ),
    {"least": Key("share", about="similarity from which an answer counts as alike (0.5)")},
    score=_score,
    check=blank_reference,
    check_all=_all_alike,
)
