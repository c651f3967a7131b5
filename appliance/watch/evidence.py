"""Sequential tests for a share that has risen, with a bound on false alarms that holds whenever one looks. Pure.

The one question asked is: do more requests than usual lie beyond a limit? Answers are yes or no, so nothing need be
assumed of how the numbers themselves are spread. `Detector` is an e-detector (Shin, Ramdas and Rinaldo, "E-detectors:
a nonparametric framework for sequential change detection", New England Journal of Statistics in Data Science, 2024) of
the Shiryaev-Roberts form (Shiryaev 1963; Roberts 1966), over a mixture of alternatives.

With e_t the likelihood ratio of one request, E[e_t | past] <= 1 as long as the share is at most the bound. Then
M_t = (M_{t-1} + 1) e_t has E[M_T] <= E[T] for every stopping time T; if T is the first time that M_t >= c, it follows
that E[T] >= c: at most one false alarm in c requests in the mean. A mean of such M is one too, so several detectors
that share one budget c (each stops at c times their number) keep it together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFTS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""How far the alternatives lie: the bound, and this share of the way from it to 1."""
_LEVEL = 0.9  # of the bound on a baseline's share, one-sided
_HALVINGS = 50
_NOTHING = -1e9  # the logarithm of no evidence; JSON knows no infinity


def upper_bound(count: int, total: int, level: float = _LEVEL) -> float:
    """The largest share that `count` of `total` doesn't rule out (Clopper and Pearson, Biometrika 26, 1934).

    Args:
        count: how many were beyond the limit.
        total: of how many.
        level: one-sided confidence.

    Returns:
        A share above 0; 1.0 where nothing is known.
    """
    if total <= 0 or count >= total:
        return 1.0
    low, high = count / total, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _at_most(count, total, middle) > 1 - level:
            low = middle
        else:
            high = middle
    return high


def _at_most(count: int, total: int, share: float) -> float:
    """Probability of `count` hits or fewer in `total` tries."""
    if not 0 < share < 1:
        return float(share <= 0)
    whole, yes, no = math.lgamma(total + 1), math.log(share), math.log1p(-share)
    terms = (
        whole - math.lgamma(k + 1) - math.lgamma(total - k + 1) + k * yes + (total - k) * no
        for k in range(count + 1)
    )
    return min(1.0, math.fsum(math.exp(term) for term in terms))


@dataclass
class Evidence:
    """What a detector has seen; arrays of shape [..., limits, alternatives], one entry a component.

    Attributes:
        log_sum: natural logarithm of the Shiryaev-Roberts sum.
        log_cusum: that of the largest product since any request (Page, Biometrika 41, 1954); its last zero is where
            the change most likely began.
        seen, hits: requests since that zero, and those beyond the limit.
    """

    log_sum: NDArray[np.float64]
    log_cusum: NDArray[np.float64]
    seen: NDArray[np.int64]
    hits: NDArray[np.int64]


class Detector:
    """Whether the share of requests beyond any of some limits has risen over its bound.

    Args:
        bounds: for each limit, the largest share that counts as usual.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        usual = np.clip(np.asarray(bounds, dtype=np.float64), 1e-9, 1 - 1e-9)[:, None]
        risen = usual + (1 - usual) * np.asarray(SHIFTS)
        self.risen = risen
        self._hit: NDArray[np.float64] = np.log(risen / usual)
        self._miss: NDArray[np.float64] = np.log1p(-risen) - np.log1p(-usual)

    def begin(self, *streams: int) -> Evidence:
        """No evidence; `streams` are leading dimensions, for many streams at a time."""
        shape = (*streams, *self._hit.shape)
        zero = np.zeros(shape)
        return Evidence(
            np.full(shape, _NOTHING), zero, np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        )

    def take(self, before: Evidence, beyond: NDArray[np.bool_]) -> Evidence:
        """The evidence after one more request (of each stream).

        Args:
            before: is left as it is.
            beyond: shape [..., limits]: whether the request lies beyond each.
        """
        hit = np.asarray(beyond, dtype=bool)[..., None]
        step = np.where(hit, self._hit, self._miss)
        fresh = before.log_cusum <= 0
        return Evidence(
            np.logaddexp(before.log_sum, 0.0) + step,
            np.maximum(before.log_cusum, 0.0) + step,
            np.where(fresh, 0, before.seen) + 1,
            np.where(fresh, 0, before.hits) + hit,
        )

    def log_total(self, evidence: Evidence) -> Any:
        """Natural logarithm of the mixture of all components; a number, or one for each stream."""
        count = self._hit.size
        flat = evidence.log_sum.reshape(*evidence.log_sum.shape[:-2], count)
        return np.logaddexp.reduce(flat, axis=-1) - math.log(count)
