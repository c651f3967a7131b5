"""Golden prompts: what a device asks the file before it may serve, and what it answered here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from appliance.dataset import Row
from appliance.evaluation.answers import Answer
from appliance.evaluation.scorers import RowScore
from appliance.evaluation.systems import plain_prompt
from appliance.serving.engine_client import Engine, Sampling

MARGIN = 0.5
"""Logits. Kernels of another CPU sum in another order and differ far less than this; a token that led by less
could be another one there."""
_TRIES = 8  # rows asked for each golden prompt, at most


def candidates(rows: Sequence[Row], answers: Sequence[Answer], scores: Sequence[RowScore]) -> list[Row]:
    """Rows whose answer said something and ended by itself: the exactly right ones first, each kind ordered by id."""
    ended = [
        (not score.exact, row.id, row)
        for row, answer, score in zip(rows, answers, scores, strict=True)
        if answer.complete
    ]
    return [row for _, _, row in sorted(ended, key=lambda entry: entry[:2])]


def record(engine: Engine, rows: Sequence[Row], count: int, sampling: Sampling) -> list[dict[str, Any]]:
    """Ask candidates one at a time, as an installing device will, until `count` suit.

    An answer suits if it ended by itself and each of its tokens, the end included, led by `MARGIN` at least,
    so that a device whose CPU sums in another order gives the same text. At most `_TRIES` times `count` rows
    are asked.

    Returns:
        `{"messages": [...], "answer": text}` each.
    """
    golden: list[dict[str, Any]] = []
    asked = replace(sampling, margin=True)
    for row in rows[: _TRIES * count]:
        if len(golden) == count:
            break
        messages = plain_prompt(row)
        said = engine.complete(engine.render(messages), asked)
        if said.finish == "stop" and said.margin is not None and said.margin >= MARGIN:
            golden.append({"messages": messages, "answer": said.text})
    return golden
