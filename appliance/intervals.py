"""How far a share that was counted may lie from the true one. Pure; workshop and device share it."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # of the normal distribution, two-sided 95 %


def wilson(hits: float, total: float, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927); (0, 1) without observations; counts may be fractions."""
    if total == 0:
        return 0.0, 1.0
    share = hits / total
    denominator = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / denominator
    half = z / denominator * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # At the ends the sums are exact but for rounding.
    return (centre - half if hits else 0.0), (centre + half if hits < total else 1.0)
