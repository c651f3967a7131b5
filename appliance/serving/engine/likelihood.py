"""How likely the model finds given tokens: sequences with a common beginning, read once, logits only where needed.

Each request is computed alone and from an empty memory. What else the engine does, or did before, changes no bit of
it, so a measured likelihood may be kept under the digest of what was asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from appliance.errors import ServingError
from appliance.serving.engine.library import Batch, Model

MOST_SEQUENCES = 256  # in one request


@dataclass(frozen=True)
class Scoring:
    """One request.

    Attributes:
        number: the request's.
        sequences: token ids, each list with what stands before the scored tokens.
        starts: where the scored tokens of each begin; at least 1, since a first token follows nothing.
    """

    number: int
    sequences: list[list[int]]
    starts: list[int]

    def fault(self, context: int, vocabulary: int) -> tuple[str, str] | None:
        """(code, message) of what makes it impossible; None if nothing does."""
        return fault_of_sequences(self.sequences, self.starts, context, vocabulary)

    def result(self, model: Model, batch: Batch) -> dict[str, Any]:
        """The reply: `{"logprob", "tokens", "greedy"}` of each sequence.

        Raises:
            ServingError: llama.cpp can't compute it.
        """
        return {"type": "scores", "scores": score(model, batch, self)}


@dataclass
class _Sum:
    logprob: float = 0.0
    greedy: bool = True


def fault_of_sequences(
    sequences: Sequence[Sequence[int]], starts: Sequence[int], context: int, vocabulary: int
) -> tuple[str, str] | None:
    """(code, message) of what makes it impossible to read sequences and score them; None if nothing does."""
    count = len(sequences)
    if not 0 < count <= MOST_SEQUENCES or count != len(starts):
        return (
            "sequences",
            f"one to {MOST_SEQUENCES} sequences can be scored, each with where its scored tokens begin",
        )
    for tokens, start in zip(sequences, starts, strict=True):
        if not 1 <= start < len(tokens):
            return (
                "empty_prompt",
                f"scored tokens begin at {start} of {len(tokens)}: one at least, behind one at least",
            )
        if len(tokens) - 1 > context:  # the last token is only scored, never read
            return (
                "context_exceeded",
                f"the text has {len(tokens)} tokens; the context has room for {context}",
            )
        if any(not 0 <= token < vocabulary for token in tokens):
            return "unknown_token", f"token ids go from 0 to {vocabulary - 1}"
    return None


def _common_beginning(sequences: Sequence[Sequence[int]]) -> int:
    """Length of the beginning that all have in common; every sequence keeps one token of its own."""
    first, shortest = sequences[0], min(map(len, sequences)) - 1
    length = 0
    while length < shortest and all(tokens[length] == first[length] for tokens in sequences):
        length += 1
    return length


class _Reader:
    """Fills batches, decodes them, and hands each wanted token's likelihood to the sum that it belongs to."""

    def __init__(self, model: Model, batch: Batch) -> None:
        self._model, self._batch = model, batch
        self._wanted: list[tuple[int, list[tuple[int, _Sum]]]] = []

    def add(self, token: int, position: int, sequence: int | None, wanted: list[tuple[int, _Sum]]) -> None:
        """Read a token of one sequence, or of all (None); `wanted`: the tokens behind it, and whose they are."""
        if self._batch.size == self._batch.capacity:
            self.flush()
        if sequence is None:
            index = self._batch.add_to_all(token, position, bool(wanted))
        else:
            index = self._batch.add(token, position, sequence, bool(wanted))
        if wanted:
            self._wanted.append((index, wanted))

    def flush(self) -> None:
        """Decode what is gathered.

        Raises:
            ServingError: it can't be computed, or gives no numbers.
        """
        if self._batch.size == 0:
            return
        status = self._model.decode(self._batch)
        if status != 0:
            raise ServingError(f"llama_decode gave {status}")
        for index, wanted in self._wanted:
            logits = self._model.logits(index)
            likeliest = int(logits.argmax())
            largest = float(logits[likeliest])
            total = largest + math.log(float(np.exp(logits - np.float32(largest)).sum(dtype=np.float64)))
            if not math.isfinite(total):
                raise ServingError("the model's output is not a number: its weights are damaged")
            for token, each in wanted:
                each.logprob += float(logits[token]) - total
                each.greedy = each.greedy and token == likeliest
        self._wanted.clear()
        self._batch.clear()


def _read(model: Model, batch: Batch, request: Scoring, sums: list[_Sum]) -> None:
    sequences, starts = request.sequences, request.starts
    common = _common_beginning(sequences)
    reader = _Reader(model, batch)
    for position in range(common):
        wanted = [
            (tokens[position + 1], each)
            for tokens, start, each in zip(sequences, starts, sums, strict=True)
            if start <= position + 1
        ]
        reader.add(sequences[0][position], position, None, wanted)
    for begin in range(0, len(sums), model.slots):
        if begin:
            reader.flush()
            for place in range(model.slots):
                model.forget(place, common)
        for place, number in enumerate(range(begin, min(begin + model.slots, len(sums)))):
            tokens, start, each = sequences[number], starts[number], sums[number]
            for position in range(common, len(tokens) - 1):
                wanted = [(tokens[position + 1], each)] if start <= position + 1 else []
                reader.add(tokens[position], position, place, wanted)
    reader.flush()


def score(model: Model, batch: Batch, request: Scoring) -> list[dict[str, Any]]:
    """`{"logprob", "tokens", "greedy"}` of each sequence of a request that has no fault.

    `logprob` is the sum of the natural logarithms of the scored tokens' probabilities, `greedy` whether each was the
    likeliest. The model's memory is empty before and after.

    Raises:
        ServingError: llama.cpp can't compute it.
    """
    sums = [_Sum() for _ in request.sequences]
    # A recurrent model's memory can't be cut behind the common beginning: each sequence is read by itself.
    whole = model.can_keep_prefix()
    for part in (slice(None),) if whole else (slice(n, n + 1) for n in range(len(sums))):
        batch.clear()
        model.forget_all()
        try:
            _read(model, batch, Scoring(0, request.sequences[part], request.starts[part]), sums[part])
        finally:
            batch.clear()
            model.forget_all()
    return [
        {"logprob": each.logprob, "tokens": len(tokens) - start, "greedy": each.greedy}
        for each, tokens, start in zip(sums, request.sequences, request.starts, strict=True)
    ]
