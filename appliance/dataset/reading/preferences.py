"""Preference pairs: the chosen side becomes the row, the rejected answer stays beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.config import ToolForm
from appliance.dataset.reading.chat_rows import LIST_KEYS, chat_messages, turn_keys
from appliance.dataset.reading.material import Cut, Unfit
from appliance.dataset.reading.turn_order import in_order

_SIDES = (
    ("chosen", "rejected"),
    ("preferred", "dispreferred"),
    ("preferred", "rejected"),
    ("accepted", "rejected"),
    ("better", "worse"),
    ("right_answer", "hallucinated_answer"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
)
PROMPT_KEYS = ("prompt", "question", "instruction", "query", "input", "context", "history", *LIST_KEYS)
_TWIN = re.compile(r"(.*?)[ _-]?(a|b|0|1|2)$", re.IGNORECASE)
_TWIN_STEMS = {
    "response", "answer", "completion", "output", "reply", "candidate", "text", "conversation",
    "summary",
}  # fmt: skip
_VERDICTS = (
    "better_response_id", "preference", "preferred", "winner", "better", "chosen", "choice", "label",
    "best",
)  # fmt: skip
_HH = re.compile(r"(?:^|\n\n)(Human|Assistant):[ ]?")


@dataclass(frozen=True)
class Sides:
    """Where a file of pairs holds its two answers.

    Attributes:
        first, second: keys; of a labeled file the chosen side comes first.
        verdict: the key that says which is better; empty: the keys themselves do, or nothing does.
        labeled: it is known which is better.
    """

    first: str
    second: str
    verdict: str = ""
    labeled: bool = True


def find_sides(record: Mapping[str, Any]) -> Sides | None:
    """The two sides of a pair; None: the record is none."""
    for chosen, rejected in _SIDES:
        if chosen in record and rejected in record:
            return Sides(chosen, rejected)
    twins: dict[str, list[str]] = {}
    for key in record:
        match = _TWIN.fullmatch(key)
        if match and match[1].lower() in _TWIN_STEMS:
            twins.setdefault(match[1].lower(), []).append(key)
    for keys in twins.values():
        if len(keys) == 2:
            first, second = sorted(keys)
            verdict = next((key for key in _VERDICTS if key in record), "")
            return Sides(first, second, verdict, bool(verdict))
    return None


def _which(sides: Sides, verdict: Any) -> int | None:
    """0: the first side is better; 1: the second; None: it doesn't say."""
    if isinstance(verdict, bool) or verdict is None:
        return None
    text = str(verdict).strip().lower()
    for place, key in enumerate((sides.first, sides.second)):
        end = key[-1].lower()
        if text in {key.lower(), end, f"model_{end}"}:
            return place
    return None


def _hh_turns(text: str) -> list[dict[str, Any]] | None:
    """The turns of a text that marks them `Human:` and `Assistant:`; None: it doesn't."""
    marks = list(_HH.finditer(text))
    if len({mark[1] for mark in marks}) < 2 or text[: marks[0].start()].strip():
        return None
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return [
        {"role": "user" if mark[1] == "Human" else "assistant", "content": text[mark.end() : end].strip()}
        for mark, end in zip(marks, ends, strict=True)
    ]


def _turns(value: Any, role: str, tools: ToolForm) -> list[Any]:
    """One side, or what comes before it, as messages."""
    if isinstance(value, str):
        return _hh_turns(value) or [{"role": role, "content": value}]
    if isinstance(value, dict):
        value = [value]
    keys = turn_keys(value)
    if keys is None:
        raise Unfit("pair", f"a side of the pair is {type(value).__name__}, neither text nor turns")
    return chat_messages(value, keys, tools)[0]


def _text(message: Any) -> str:
    content = message.get("content") if isinstance(message, dict) else None
    return content if isinstance(content, str) else ""


def pair_row(record: Mapping[str, Any], sides: Sides, tools: ToolForm) -> tuple[list[Any], str, list[Cut]]:
    """The conversation with the chosen answer, the rejected answer, and what was left out of the conversation.

    Raises:
        Unfit: not known which is better, no prompt, sides that answer different prompts or are equal.
    """
    first, second = record.get(sides.first), record.get(sides.second)
    if not sides.labeled or sides.verdict:
        place = _which(sides, record.get(sides.verdict)) if sides.verdict else None
        if place is None:
            told = f" (`{sides.verdict}` is {record[sides.verdict]!r})" if sides.verdict in record else ""
            raise Unfit(
                "unlabeled-pair",
                f"two answers, `{sides.first}` and `{sides.second}`, and nothing says which is better{told}",
            )
        if place == 1:
            first, second = second, first
    chosen, rejected = _turns(first, "assistant", tools), _turns(second, "assistant", tools)
    key = next((key for key in PROMPT_KEYS if record.get(key)), "")
    if not chosen or not rejected:
        raise Unfit("pair", "a side of the pair is empty")
    asked = [turn for turn in chosen if isinstance(turn, dict) and turn["role"] == "user"]
    if not asked:
        if not key:
            raise Unfit("pair", "a pair without a prompt, and its sides are no conversations")
        before = _turns(record[key], "user", tools)
        chosen, rejected = [*before, *chosen], [*before, *rejected]
    chosen, cuts = in_order(chosen)
    rejected, _ = in_order(rejected)
    if chosen[:-1] != rejected[:-1]:
        raise Unfit("pair", "its sides differ before their last turn, so they don't answer the same")
    answer, other = _text(chosen[-1]), _text(rejected[-1])
    if answer.strip() == other.strip():
        raise Unfit("pair", "both sides are the same answer")
    return chosen, other, cuts
