"""False alarms of the red team and how soon it finds a weaker model: `python -m benchmarks.redteam_alarms [--years N]`.

Drawn, not asked: each attack has a chance of its own to come through, 0 or 1 for most of them, as a model that decodes
greedily answers the same; some families are weak from the start. Nightly runs of sixteen attacks of each of nine
families of sixty, the same every night or others. Prints one JSON line a figure, with Fisher's exact test at each run
(one-sided, Holm's correction, 1 %) as the peer.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from appliance.watch.redteam.runs import Outcome, Run
from appliance.watch.redteam.sequential import BUDGET, Series

FAMILIES, POOL, SAMPLE = 9, 60, 16
PEER_LEVEL = 0.01
WEAK = (0.0, 0.05, 0.3, 0.7)  # shares of attacks that come through, one drawn for each family
_GIVE_UP = 60  # nights after a shift


@dataclass
class Nights:
    """Runs of a simulated model, night after night.

    Attributes:
        random: source.
        noise: share of attacks whose answer changes by chance; up to three times as many in some families.
        same: the same attacks each night, else others.
    """

    random: np.random.Generator
    noise: float
    same: bool

    def __post_init__(self) -> None:
        self.chances = [self._chances() for _ in range(FAMILIES)]
        self._first = self._draw()

    def _chances(self) -> NDArray[np.float64]:
        found: NDArray[np.float64] = (self.random.random(POOL) < self.random.choice(WEAK)).astype(np.float64)
        noisy = self.random.random(POOL) < self.noise * self.random.choice([0.2, 1.0, 3.0])
        found[noisy] = self.random.random(noisy.sum())
        return found

    def _draw(self) -> list[NDArray[np.int64]]:
        return [self.random.permutation(POOL)[:SAMPLE] for _ in range(FAMILIES)]

    def weaken(self, share: float) -> None:
        """Let this share of attacks come through from now on."""
        for chances in self.chances:
            chances[self.random.random(POOL) < share] = 1.0

    def run(self, number: int) -> Run:
        """One night's run."""
        drawn = self._first if self.same else self._draw()
        outcomes = [
            Outcome(f"{family}/{place}", str(family), bool(self.random.random() >= chances[place]), "", "")
            for family, (places, chances) in enumerate(zip(drawn, self.chances, strict=True))
            for place in places
        ]
        return Run(number, "", "", "", "", 0, SAMPLE, tuple(outcomes))


@cache
def _fisher_less(good: int, other_good: int) -> float:
    """Probability of at most `good` of `SAMPLE`, if both had the rate of both together."""
    every = good + other_good
    ways = (math.comb(every, k) * math.comb(2 * SAMPLE - every, SAMPLE - k) for k in range(good + 1))
    return sum(ways) / math.comb(2 * SAMPLE, SAMPLE)


def _counts(run: Run) -> list[int]:
    return [sum(each.held for each in run.outcomes if each.family == str(n)) for n in range(FAMILIES)]


def _peer(run: Run, baseline: list[int]) -> bool:
    """Whether Fisher's test alarms for any family."""
    least = min(_fisher_less(now, before) for now, before in zip(_counts(run), baseline, strict=True))
    return least * FAMILIES < PEER_LEVEL


def _alarms(nights: Nights, count: int) -> Iterator[tuple[bool, bool]]:
    """For each night after the baseline: whether the product alarms, and the peer; alarms are reset."""
    baseline = nights.run(1)
    series, held = Series(baseline), _counts(baseline)
    for number in range(2, count + 2):
        run = nights.run(number)
        raised = bool(series.take(run))
        if raised:
            series = series.renewed(baseline)
        yield raised, _peer(run, held)


def _print(name: str, ours: float, peer: float, unit: str, how: str) -> None:
    print(json.dumps({"name": name, "ours": ours, "peer": peer, "unit": unit, "how": how}), flush=True)


def false_alarms(random: np.random.Generator, noise: float, same: bool, years: int) -> None:
    """Years of nights in which nothing has changed, a baseline each."""
    found = np.array([list(_alarms(Nights(random, noise, same), BUDGET)) for _ in range(years)])
    ours, peer = found.sum(axis=1).mean(axis=0)
    how = f"{years} years of {BUDGET} nights, a baseline each"
    _print(_named("false alarms", noise, same), round(ours, 3), round(peer, 2), "a year", how)


def delays(random: np.random.Generator, share: float, same: bool, trials: int) -> None:
    """Nights until a model is found that lets so many more attacks come through, after five nights of rest."""
    took = []
    for _ in range(trials):
        nights = Nights(random, 0.02, same)
        baseline = nights.run(1)
        series, held = Series(baseline), _counts(baseline)
        for number in range(2, 7):
            series.take(nights.run(number))
        nights.weaken(share)
        found: list[float] = [math.inf, math.inf]
        for night in range(1, _GIVE_UP + 1):
            run = nights.run(6 + night)
            for which, alarm in enumerate((bool(series.take(run)), _peer(run, held))):
                found[which] = min(found[which], night if alarm else math.inf)
            if math.isfinite(found[0]):
                break
        took.append(found)
    ours, peer = (float(each) for each in np.percentile(took, 50, axis=0, method="higher"))
    _print(
        _named(f"{share:.0%} of attacks come through", 0.02, same),
        ours if math.isfinite(ours) else -1,
        peer if math.isfinite(peer) else -1,
        "nights to the alarm (median)",
        f"{trials} trials; -1: not before ours, or not in {_GIVE_UP} nights",
    )


def _named(what: str, noise: float, same: bool) -> str:
    return f"{what}, {'the same' if same else 'other'} attacks each night, {noise:.0%} answered by chance"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--years", type=int, default=20, help="of each kind; also trials of each shift")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    for same in (True, False):
        for noise in (0.0, 0.02, 0.1, 0.3):
            false_alarms(random, noise, same, options.years)
        for share in (0.1, 0.2, 0.4):
            delays(random, share, same, options.years)


if __name__ == "__main__":
    main()
