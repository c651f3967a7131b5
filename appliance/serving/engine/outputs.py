"""What the model puts out for given tokens, whole: its logits, and the mean of its hidden states.

Each request is computed alone and from an empty memory, as likelihoods are (`likelihood`): equal requests have equal
answers to the last bit.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.errors import ServingError
from appliance.serving.engine.library import Batch, Model
from appliance.serving.engine.likelihood import MOST_SEQUENCES, fault_of_sequences

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PLACES = 64  # whose logits one request may ask for; with 150,000 tokens these are 38 MB


def _packed(values: NDArray[np.float32]) -> str:
    return base64.b64encode(values.astype("<f4", copy=False).tobytes()).decode("ascii")


def _decoded(model: Model, batch: Batch, tokens: list[int], start: int) -> Iterator[tuple[int, int]]:
    """Read one sequence in batches; (index in the batch, place) of each token from `start` on, once it is decoded.

    Raises:
        ServingError: llama.cpp can't compute it.
    """
    for begin in range(0, len(tokens), batch.capacity):
        batch.clear()
        part = range(begin, min(begin + batch.capacity, len(tokens)))
        for place in part:
            batch.add(tokens[place], place, 0, place >= start)
        status = model.decode(batch)
        if status != 0:
            raise ServingError(f"llama_decode gave {status}")
        yield from ((place - begin, place) for place in part if place >= start)


@dataclass(frozen=True)
class Distributions:
    """Asks for the logits that stand before each token of a sequence from its start on.

    Attributes:
        number: the request's.
        tokens: ids; the last one is only predicted, never read.
        start: of the first token that is predicted; at least 1.
    """

    number: int
    tokens: list[int]
    start: int

    def fault(self, context: int, vocabulary: int) -> tuple[str, str] | None:
        """(code, message) of what makes it impossible; None if nothing does."""
        if len(self.tokens) - self.start > MOST_PLACES:
            return "sequences", f"logits of at most {MOST_PLACES} tokens can be asked for at a time"
        return fault_of_sequences([self.tokens], [self.start], context, vocabulary)

    def result(self, model: Model, batch: Batch) -> dict[str, Any]:
        """The reply: `logits`, little-endian float32 in base64, a row of the whole vocabulary a token.

        Raises:
            ServingError: llama.cpp can't compute it, or the model's output is not a number.
        """
        first = self.start - 1
        found = np.empty((len(self.tokens) - self.start, model.vocabulary), np.float32)
        for index, place in _decoded(model, batch, self.tokens[:-1], first):
            found[place - first] = model.logits(index)
        if not np.isfinite(found).all():
            raise ServingError("the model's output is not a number: its weights are damaged")
        return {"type": "distributions", "logits": _packed(found)}


@dataclass(frozen=True)
class Embeddings:
    """Asks for the mean of the last layer's hidden states over each sequence's tokens from its start on.

    Attributes:
        number: the request's.
        sequences: token ids.
        starts: of the first token that counts; at least 1, since a first token's state says nothing of a text.
    """

    number: int
    sequences: list[list[int]]
    starts: list[int]

    def fault(self, context: int, vocabulary: int) -> tuple[str, str] | None:
        """(code, message) of what makes it impossible; None if nothing does."""
        if len(self.sequences) > MOST_SEQUENCES:
            return "sequences", f"one to {MOST_SEQUENCES} sequences can be read at a time"
        if any(len(tokens) > context for tokens in self.sequences):
            return "context_exceeded", f"a text has more tokens than the context has room for ({context})"
        return fault_of_sequences(self.sequences, self.starts, context, vocabulary)

    def result(self, model: Model, batch: Batch) -> dict[str, Any]:
        """The reply: `vectors`, one a sequence: little-endian float32 in base64.

        Raises:
            ServingError: llama.cpp can't compute it, or gives no numbers.
        """
        vectors = []
        with model.embedding():
            for tokens, start in zip(self.sequences, self.starts, strict=True):
                total = np.zeros(model.width, np.float64)
                for index, _ in _decoded(model, batch, tokens, start):
                    total += model.hidden(index)
                model.forget_all()
                if not np.isfinite(total).all():
                    raise ServingError("the model's output is not a number: its weights are damaged")
                vectors.append(_packed((total / (len(tokens) - start)).astype(np.float32)))
        return {"type": "vectors", "vectors": vectors}
