"""Passages and examples put before a question. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from appliance.retrieval.index import Found

Messages = list[dict[str, Any]]
Fits = Callable[[Messages], bool]

_TASK = (
    "Answer the question from the passages below. Answer in as few words as it takes, in the words of the passages. "
    "If they don't say it, answer: not in the documents."
)


def _shown(found: Sequence[Found]) -> str:
    return "\n\n".join(
        f"[{number}] {each.passage.title}\n{each.passage.text}" for number, each in enumerate(found, start=1)
    )


def with_passages(
    messages: Sequence[Mapping[str, Any]], found: Sequence[Found], fits: Fits = lambda _: True
) -> tuple[Messages, list[Found]]:
    """The conversation with as many of the nearest passages before its last question as fit.

    Args:
        messages: the last one is the question.
        found: the nearest first; they are shown the farthest first, so that the nearest stands beside the question.
        fits: whether a conversation fits the context.

    Returns:
        the conversation, and the passages in it, numbered as they are shown.
    """
    own = [dict(message) for message in messages]
    for count in range(len(found), 0, -1):
        shown = list(reversed(found[:count]))
        text = f"{_TASK}\n\n{_shown(shown)}\n\nQuestion: {own[-1]['content']}"
        made = [*own[:-1], {**own[-1], "content": text}]
        if fits(made):
            return made, shown
    return own, []


def with_examples(
    messages: Sequence[Mapping[str, Any]],
    examples: Sequence[Sequence[Mapping[str, Any]]],
    fits: Fits = lambda _: True,
) -> Messages:
    """The conversation with examples as turns before it, as many as fit; the nearest, given first, stand last.

    Args:
        messages: its system turn, if any, stays first.
        examples: conversations with their answers; their system turns are left out.
        fits: whether a conversation fits the context.
    """
    own = [dict(message) for message in messages]
    system = own[:1] if own and own[0]["role"] == "system" else []
    for count in range(len(examples), 0, -1):
        shown = [
            dict(turn)
            for example in reversed(examples[:count])
            for turn in example
            if turn["role"] != "system"
        ]
        made = [*system, *shown, *own[len(system) :]]
        if fits(made):
            return made
    return own
