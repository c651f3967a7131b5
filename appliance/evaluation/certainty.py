"""How sure a measured share is, and whether one system is truly better than another. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05  # below it we say "better"


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided p of McNemar's exact test: the sign test on rows that just one of two systems got right."""
    total = wins + losses
    if total == 0:
        return 1.0
    tail = sum(math.comb(total, count) for count in range(min(wins, losses) + 1))
    return min(1.0, float(2 * tail / 2**total))


@dataclass(frozen=True)
class Comparison:
    """One system against another on the same rows.

    Attributes:
        against: key of the other system.
        wins, losses: rows where only this one, or only the other, was exactly right.
        p: McNemar's exact p, two-sided.
        verdict: "better", "worse", or "no difference shown".
    """

    against: str
    wins: int
    losses: int
    p: float
    verdict: str


def compare(ours: Sequence[bool], theirs: Sequence[bool], against: str) -> Comparison:
    """Compare two systems by which rows they got exactly right."""
    wins = sum(a and not b for a, b in zip(ours, theirs, strict=True))
    losses = sum(b and not a for a, b in zip(ours, theirs, strict=True))
    p = mcnemar(wins, losses)
    verdict = "no difference shown" if p >= LEVEL else "better" if wins > losses else "worse"
    return Comparison(against, wins, losses, p, verdict)
