"""Golden prompts: what a device asks the file before it may serve, and what it answered here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.dataset import Row
from appliance.evaluation.answers import Answer
from appliance.evaluation.scorers import RowScore
from appliance.evaluation.systems import plain_prompt
from appliance.serving.engine_client import Engine, Sampling


def candidates(rows: Sequence[Row], answers: Sequence[Answer], scores: Sequence[RowScore]) -> list[Row]:
    """Rows whose answer ended by itself: the exactly right ones first, each kind ordered by id."""
    ended = [
        (not score.exact, row.id, row)
        for row, answer, score in zip(rows, answers, scores, strict=True)
        if answer.ended
    ]
    return [row for _, _, row in sorted(ended, key=lambda entry: entry[:2])]


def record(engine: Engine, rows: Sequence[Row], count: int, sampling: Sampling) -> list[dict[str, Any]]:
    """Ask candidates one at a time, as an installing device will, until `count` have ended by themselves.

    Side by side, sums are taken in another order and a near tie may fall the other way; alone they don't.

    Returns:
        `{"messages": [...], "answer": text}` each.
    """
    golden: list[dict[str, Any]] = []
    for row in rows:
        if len(golden) == count:
            break
        messages = plain_prompt(row)
        said = engine.complete(engine.render(messages), sampling)
        if said.finish == "stop":
            golden.append({"messages": messages, "answer": said.text})
    return golden
