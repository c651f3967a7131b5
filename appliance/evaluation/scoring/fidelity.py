"""How far the file that ships is from the same model in 16 bits, over whole distributions: KL and top-1 agreement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from appliance.evaluation.scoring.scorer import (
    ASKED,
    CaseScore,
    Compared,
    Continuation,
    FidelityScorer,
    Key,
    Metric,
    blank_reference,
    conversation,
)
from appliance.evaluation.suite import Case, Suite


def _logprobs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    exact -= np.log(np.exp(exact).sum(axis=1, keepdims=True))
    return exact


def compared(full: NDArray[np.float32], ours: NDArray[np.float32]) -> Compared:
    """Two files' logits at the same places.

    Args:
        full: (places, vocabulary), of the 16-bit file.
        ours: the same of the file that ships.
    """
    wanted, found = _logprobs(full), _logprobs(ours)
    kl = float((np.exp(wanted) * (wanted - found)).sum())
    same = int((full.argmax(axis=1) == ours.argmax(axis=1)).sum())
    return Compared(max(0.0, kl), same, len(full))  # rounding may leave a tiny negative sum


def _text(case: Case, suite: Suite) -> Continuation:
    return Continuation(conversation(case, suite), case.text("reference"))


def _score(_case: Case, _suite: Suite, found: Compared) -> CaseScore:
    values = {"kl": found.kl, "same": float(found.same), "places": float(found.places)}
    return CaseScore(values, None, f"{found.kl / max(1, found.places):.4f} nats a token")


FIDELITY = FidelityScorer(
    "fidelity",
    "whole next-token distributions beside the 16-bit file's, at the tokens of right answers",
    {**ASKED, "reference": Key("text", True, "the answer at whose tokens both files are compared")},
    (
        Metric(
            "kl",
            "nats a token: KL(16-bit file || file that ships)",
            "lower",
            ("kl", "places"),
            shape="number",
        ),
        Metric("top1", "tokens at which both find the same one the likeliest", "higher", ("same", "places")),
    ),
    score=_score,
    text=_text,
    check=blank_reference,
)
