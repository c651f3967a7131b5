"""Rows to token ids and the positions that are learnt: the answers, each with its end token.

The learnt part is found by rendering prefixes of a conversation with the chat template, never by looking for ids:
a padding id may equal the end token (SmolLM2), and a search would mask the very token that ends an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.errors import TrainingError

Render = Callable[[list[dict[str, Any]], bool], str]
"""(messages, add_generation_prompt) -> text."""
Tokenize = Callable[[str], list[int]]


@dataclass(frozen=True)
class Encoded:
    """One row, ready to learn.

    Attributes:
        row_id: the row's id, for errors.
        ids: token ids of the whole conversation, shape [tokens].
        learnt: for each token, whether the model is taught to predict it, shape [tokens].
    """

    row_id: str
    ids: tuple[int, ...]
    learnt: tuple[bool, ...]

    @property
    def targets(self) -> int:
        """How many tokens are learnt."""
        return sum(self.learnt)


def encode_row(
    row_id: str, messages: Sequence[dict[str, Any]], render: Render, tokenize: Tokenize, end_tokens: set[int]
) -> Encoded:
    """Encode one conversation; every assistant turn is learnt up to and including its end token.

    Raises:
        TrainingError: the row has nothing to learn, the template rewrites earlier turns, or an answer's end token
            would not be learnt.
    """
    conversation = list(messages)
    ids = tokenize(render(conversation, False))
    learnt = [False] * len(ids)
    for turn, message in enumerate(conversation):
        if message["role"] != "assistant":
            continue
        before = tokenize(render(conversation[:turn], True))
        through = tokenize(render(conversation[: turn + 1], False))
        if ids[: len(before)] != before or ids[: len(through)] != through:
            raise TrainingError(
                f"row {row_id}: the chat template renders turn {turn + 1} differently inside a longer conversation",
                "this template can't be trained turn by turn; split the conversation so that the answer comes last",
            )
        ends = [place for place in range(len(before), len(through)) if ids[place] in end_tokens]
        if not ends:
            raise TrainingError(
                f"row {row_id}: no end token after the answer in turn {turn + 1}; the model would never learn to stop",
                "check the base's chat template and its end token",
            )
        # What the template writes behind the end token (a line feed) is never generated, so it isn't learnt.
        learnt[len(before) : ends[-1] + 1] = [True] * (ends[-1] + 1 - len(before))
    if not any(learnt):
        raise TrainingError(
            f"row {row_id}: it has no answer, so nothing can be learnt from it", "drop the row"
        )
    return Encoded(row_id, tuple(ids), tuple(learnt))


def encode_rows(
    rows: Sequence[tuple[str, Sequence[dict[str, Any]]]],
    render: Render,
    tokenize: Tokenize,
    end_tokens: set[int],
) -> list[Encoded]:
    """Encode all rows; see `encode_row`."""
    return [encode_row(row_id, messages, render, tokenize, end_tokens) for row_id, messages in rows]
