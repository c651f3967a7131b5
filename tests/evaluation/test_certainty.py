"""Intervals and tests against published values."""

from __future__ import annotations

import pytest

from appliance.evaluation.certainty import compare, mcnemar
from appliance.intervals import wilson


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [
        # Newcombe (1998), table I, the score method without continuity correction.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (20, 20, 0.8389, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(hits: int, total: int, low: float, high: float) -> None:
    assert wilson(hits, total) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (6, 0, 0.03125), (0, 6, 0.03125), (5, 0, 0.0625), (10, 2, 158 / 4096)],
)
def test_mcnemar(wins: int, losses: int, p: float) -> None:
    assert mcnemar(wins, losses) == pytest.approx(p)


def test_better_is_said_only_when_it_is_shown() -> None:
    right, wrong = [True] * 6 + [True, False], [False] * 6 + [True, False]
    won = compare(right, wrong, "base")
    assert (won.wins, won.losses, won.verdict) == (6, 0, "better")
    assert compare(wrong, right, "base").verdict == "worse"
    assert compare(right[1:], wrong[1:], "base").verdict == "no difference shown"
