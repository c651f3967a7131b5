"""Sequential tests for a share that has risen, with a bound on false alarms that holds whenever one looks. Pure.

The one question asked is: do more requests than usual lie beyond a limit? Answers are yes or no, so nothing need be
assumed of how the numbers themselves are spread. `Detector` is an e-detector (Shin, Ramdas and Rinaldo, "E-detectors:
a nonparametric framework for sequential change detection", New England Journal of Statistics in Data Science, 2024) of
the Shiryaev-Roberts form (Shiryaev 1963; Roberts 1966), over a mixture of alternatives.

Like requests come in bursts, and a test that takes them for independent cries wolf. So the bound of a request depends
on which of the four before it were beyond the limit: the null hypothesis is about the share given the past. Nor does
an alternative expect more after a burst than its own share: inside a burst that is as usual nothing is wagered, and a
burst counts about as one request.

With e_t the likelihood ratio of one request, E[e_t | past] <= 1 as long as that share is at most its bound. Then
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

from appliance.intervals import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHIFTS = (0.05, 0.1, 0.2, 0.4, 0.8, 0.98)
"""How far the alternatives lie: the bound after no hit, and this share of the way from it to 1."""
MEMORY = 4
"""Requests back that a bound depends on."""
STATES = 4
"""Of these, beyond the limit: none; some, but not the last; the last alone; the last and others."""
_STATE_OF = np.array(
    [0 if not bits else 1 if not bits & 1 else 2 if bits == 1 else 3 for bits in range(1 << MEMORY)]
)
_LEVEL = 0.75  # of the bound on a baseline's share, one-sided
_LEVEL_Z = 0.6744897501960817  # the same level, of the normal distribution
_PRIOR_SHARE = 0.5  # beyond the limit after one that was, as if seen once: every second, until more is known
_HALVINGS = 50
_CERTAIN = 1 - 1e-6  # a share that tells nothing
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


def burst_shares(beyond: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How many lie beyond a limit after requests that did, in a sequence in which all is well.

    What counts is the upper bound of the share after each state, not its likeliest value: a baseline with four hits,
    none of them after another, doesn't rule out that every second one is followed by one.

    Args:
        beyond: shape [requests, limits], in the order in which they came.

    Returns:
        Shape [limits, STATES]: shares, rising from state to state; 0 after none that did, where the bound of the
        limit itself holds.
    """
    limits = beyond.shape[1]
    shares = np.zeros((limits, STATES))
    for limit in range(limits):
        hits = beyond[:, limit]
        seen, yes, recent = np.zeros(STATES, dtype=int), np.zeros(STATES, dtype=int), 0
        for hit in hits:
            state = _STATE_OF[recent]
            seen[state] += 1
            yes[state] += hit
            recent = (recent << 1 | int(hit)) % (1 << MEMORY)
        expected = max(_PRIOR_SHARE, float(hits.mean()))
        for state in range(1, STATES):
            _, share = wilson(yes[state] + expected, seen[state] + 1, _LEVEL_Z)
            shares[limit, state] = max(shares[limit, state - 1], share)
    return shares


def after_bursts(bounds: Sequence[float], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bounds of shares given the past, shape [limits, STATES].

    Args:
        bounds: of the shares as such, one a limit.
        shares: of `burst_shares`.
    """
    first = np.clip(np.asarray(bounds, dtype=np.float64), 1e-9, _CERTAIN)[:, None]
    return np.minimum(_CERTAIN, np.maximum(first, shares))


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
        recent: of each limit, shape [..., limits]: one bit for each of the last requests, the newest lowest.
    """

    log_sum: NDArray[np.float64]
    log_cusum: NDArray[np.float64]
    seen: NDArray[np.int64]
    hits: NDArray[np.int64]
    recent: NDArray[np.int64]


class Detector:
    """Whether the share of requests beyond any of some limits has risen over its bound.

    Args:
        bounds: for each limit and each state of the requests before, the largest share that counts as usual; shape
            [limits, STATES], as `after_bursts` gives it.
    """

    def __init__(self, bounds: NDArray[np.float64]) -> None:
        usual = bounds[..., None]
        first = usual[:, :1]
        risen = np.maximum(usual, first + (1 - first) * np.asarray(SHIFTS))
        # Tables of shape [limits, states, alternatives].
        self._hit: NDArray[np.float64] = np.log(risen / usual)
        self._miss: NDArray[np.float64] = np.log1p(-risen) - np.log1p(-usual)
        self._limits = np.arange(len(bounds))

    def begin(self, *streams: int) -> Evidence:
        """No evidence; `streams` are leading dimensions, for many streams at a time."""
        limits, _, alternatives = self._hit.shape
        shape = (*streams, limits, alternatives)
        none = np.zeros(shape, dtype=np.int64)
        recent = np.zeros(shape[:-1], dtype=np.int64)
        return Evidence(np.full(shape, _NOTHING), np.zeros(shape), none, none.copy(), recent)

    def take(self, before: Evidence, beyond: NDArray[np.bool_]) -> Evidence:
        """The evidence after one more request (of each stream).

        Args:
            before: is left as it is.
            beyond: shape [..., limits]: whether the request lies beyond each.
        """
        yes = np.asarray(beyond, dtype=bool)
        hit, state = yes[..., None], _STATE_OF[before.recent]
        step = np.where(hit, self._hit[self._limits, state], self._miss[self._limits, state])
        fresh = before.log_cusum <= 0
        return Evidence(
            np.logaddexp(before.log_sum, 0.0) + step,
            np.maximum(before.log_cusum, 0.0) + step,
            np.where(fresh, 0, before.seen) + 1,
            np.where(fresh, 0, before.hits) + hit,
            (before.recent << 1 | yes) % (1 << MEMORY),
        )

    def log_total(self, evidence: Evidence) -> Any:
        """Natural logarithm of the mixture of all components; a number, or one for each stream."""
        return log_mean(evidence.log_sum)


def log_mean(log_sums: NDArray[np.float64]) -> Any:
    """Natural logarithm of the mean over the last two axes, limits and alternatives."""
    largest = log_sums.max(axis=(-2, -1))
    shares = np.exp(log_sums - largest[..., None, None])
    return largest + np.log(shares.mean(axis=(-2, -1)))
