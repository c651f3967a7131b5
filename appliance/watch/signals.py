"""What is watched of a request: a few numbers, and never its text. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from appliance.refusals import begins_as_refusal

Side = Literal["up", "down"]


@dataclass(frozen=True)
class Signal:
    """One number of a request.

    Attributes:
        name: its name in files and metrics.
        about: what it is, in plain words.
        sides: on which side of the usual it is watched.
        rate: it is 0 or 1, and its mean a share.
        needs_sketch: it can be taken only beside a set of prompts.
        share: of what one side may spend of the budget of false alarms; those below 1 are tested together as one.
    """

    name: str
    about: str
    sides: tuple[Side, ...]
    rate: bool = False
    needs_sketch: bool = False
    share: float = 1.0


SIGNALS = (
    Signal("length", "characters of the last message", ("up", "down")),
    Signal("unknown", "share of words that the known prompts don't have", ("up",), needs_sketch=True),
    # These two tell of the same changes, so they are tested as one side.
    Signal("surprise", "bits a trigram costs, by the known prompts", ("up",), needs_sketch=True, share=0.5),
    Signal("embedding", "distance of the token embeddings' mean", ("up",), needs_sketch=True, share=0.5),
    Signal("unfit", "answers that don't fit the schema", ("up",), rate=True),
    Signal("refusal", "answers that refuse", ("up",), rate=True),
    Signal("cut", "answers cut at their greatest length", ("up",), rate=True),
    Signal("answer", "tokens of the answer", ("up", "down")),
    Signal("confidence", "mean log-probability of the answer's tokens", ("down",)),
)
BY_NAME = {signal.name: signal for signal in SIGNALS}
SIDES = tuple((signal.name, side) for signal in SIGNALS for side in signal.sides)
"""All that is tested, and so what the budget of false alarms is shared among."""

Values = dict[str, float]
"""A request's numbers by the names of their signals; what could not be taken is missing."""


@dataclass(frozen=True)
class Observed:
    """One answered request, on its way to be turned into numbers and forgotten.

    Attributes:
        prompt: the text of the last message of the user.
        answer: the answer's text.
        finish: "stop" or "length".
        tokens: of the answer.
        confidence: mean natural log-probability of its tokens; None if it wasn't taken.
        schema: the answer was to be JSON of a schema.
        asked: token ids of `prompt`; none if they weren't taken.
    """

    prompt: str
    answer: str
    finish: str
    tokens: int
    confidence: float | None
    schema: bool
    asked: tuple[int, ...] = ()


def fits(answer: str, finish: str) -> bool:
    """Whether an answer that was to satisfy a schema is whole JSON; the grammar has held it to the rest."""
    if finish != "stop":
        return False
    try:
        json.loads(answer)
    except (ValueError, RecursionError):
        return False
    return True


def values_of(seen: Observed) -> Values:
    """A request's numbers, but for those that need a sketch."""
    values = {
        "length": float(len(seen.prompt)),
        "refusal": float(begins_as_refusal(seen.answer)),
        "cut": float(seen.finish == "length"),
        "answer": float(seen.tokens),
    }
    if seen.schema:
        values["unfit"] = float(not fits(seen.answer, seen.finish))
    if seen.confidence is not None:
        values["confidence"] = seen.confidence
    return values
