"""How sure a measured share is, and whether one system is truly better than another. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %
LEVEL = 0.05  # below it we say "better"


def wilson(hits: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) without observations."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    denominator = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, centre - half), min(1.0, centre + half)


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
