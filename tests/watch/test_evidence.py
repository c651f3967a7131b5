"""The tests' mathematics: bounds, the martingale property by enumeration, bursts, and where a change began."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from appliance.watch.evidence import (
    MEMORY,
    SHIFTS,
    STATES,
    Detector,
    after_bursts,
    burst_shares,
    upper_bound,
)


@pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 50), (3, 40), (20, 1000), (499, 500)])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
def test_the_bound_is_the_share_at_which_so_few_have_that_probability(
    count: int, total: int, level: float
) -> None:
    bound = upper_bound(count, total, level)
    few = sum(math.comb(total, k) * bound**k * (1 - bound) ** (total - k) for k in range(count + 1))
    assert few == pytest.approx(1 - level, rel=1e-6)
    if count == 0:
        assert bound == pytest.approx(1 - (1 - level) ** (1 / total))


def test_nothing_known_bounds_nothing() -> None:
    assert upper_bound(0, 0) == upper_bound(5, 5) == 1.0


BOUNDS = np.array([[0.02, 0.1, 0.3, 0.6], [0.5, 0.5, 0.7, 0.9]])


def state_of(past: tuple[int, ...]) -> int:
    recent = past[-MEMORY:]
    if not any(recent):
        return 0
    return 1 if not recent[-1] else 2 if sum(recent) == 1 else 3


@pytest.mark.parametrize("below", [0.0, 0.3, 1.0])
def test_the_sum_s_mean_is_the_number_of_requests_at_most(below: float) -> None:
    """Every sequence of eight, under a process whose shares given the past are the bounds, or lie below them."""
    detector = Detector(BOUNDS)
    for length in (1, 2, 5, 8):
        mean = np.zeros((2, len(SHIFTS)))
        for sequence in itertools.product((0, 1), repeat=length):
            evidence = detector.begin()
            chance = np.ones(2)
            for place, hit in enumerate(sequence):
                share = below * BOUNDS[:, state_of(sequence[:place])]
                chance *= share if hit else 1 - share
                evidence = detector.take(evidence, np.array([hit, hit], dtype=bool))
            mean += chance[:, None] * np.exp(evidence.log_sum)
        assert (mean <= length * (1 + 1e-9)).all()
        if below == 1.0:
            np.testing.assert_allclose(mean, length)


def test_many_streams_are_as_one_after_the_other() -> None:
    random = np.random.default_rng(1)
    hits = random.random((300, 5, 2)) < 0.4
    detector = Detector(BOUNDS)
    together = detector.begin(5)
    for step in hits:
        together = detector.take(together, step)
    for stream in range(5):
        alone = detector.begin()
        for step in hits:
            alone = detector.take(alone, step[stream])
        for name, array in vars(alone).items():
            np.testing.assert_array_equal(array, getattr(together, name)[stream])
        assert detector.log_total(alone) == pytest.approx(detector.log_total(together)[stream])


def test_it_tells_where_the_change_began() -> None:
    detector = Detector(after_bursts([0.05], np.zeros((1, STATES))))
    evidence = detector.begin()
    for hit in [False] * 700 + [True, False] * 20:
        evidence = detector.take(evidence, np.array([hit]))
    place = int(np.argmax(evidence.log_cusum))
    assert (evidence.seen.flat[place], evidence.hits.flat[place]) == (40, 20)
    assert detector.log_total(evidence) > 20


def test_nothing_happens_where_nothing_has_changed() -> None:
    random = np.random.default_rng(2)
    detector = Detector(after_bursts([upper_bound(20, 1000)], np.zeros((1, STATES))))
    evidence, most = detector.begin(100), np.full(100, -np.inf)
    for _ in range(2000):
        evidence = detector.take(evidence, random.random((100, 1)) < 0.02)
        most = np.maximum(most, detector.log_total(evidence))
    # In the mean the budget of 7,000 x 10 is reached no sooner, so by few of a hundred streams in 2,000 requests.
    assert (most > math.log(70_000)).sum() <= 3


def test_bursts_are_learnt_and_told_from_chance() -> None:
    random = np.random.default_rng(3)
    chance = burst_shares(random.random((4000, 1)) < 0.1)
    state, clustered = False, []
    for _ in range(4000):
        state = bool(random.random() < (0.55 if state else 0.05))
        clustered.append([state])
    bursts = burst_shares(np.array(clustered))
    assert chance[0, 0] == bursts[0, 0] == 0
    assert 0.08 < chance[0, 1] < 0.13 and chance[0].max() < 0.25
    assert bursts[0, 1] < 0.13
    assert 0.55 < bursts[0, 2] <= bursts[0, 3] < 0.7


def test_a_few_lone_hits_do_not_rule_bursts_out() -> None:
    lone = np.zeros((1000, 1), dtype=bool)
    lone[[100, 300, 500, 700]] = True
    bounds = after_bursts([upper_bound(4, 1000)], burst_shares(lone))
    assert bounds[0, 0] == pytest.approx(upper_bound(4, 1000)), "after no hit the share itself counts"
    assert 0.2 < bounds[0, 2] < 0.5
    none = after_bursts([upper_bound(0, 1000)], burst_shares(np.zeros((1000, 1), dtype=bool)))
    assert none[0, 3] < 0.98, "a change after which all are beyond the limit can be found"
    evidence = Detector(none).begin()
    for _ in range(100):
        evidence = Detector(none).take(evidence, np.array([True]))
    assert Detector(none).log_total(evidence) > math.log(70_000)


def test_in_a_burst_that_is_as_usual_nothing_is_wagered() -> None:
    """A burst of hits is worth its first one, for alternatives below the share that is usual after a hit."""
    detector = Detector(np.array([[0.01, 0.5, 0.5, 0.5]]))
    evidence = detector.take(detector.begin(), np.array([True]))
    first = evidence.log_cusum.copy()
    for hit in (True, True, False, True):
        evidence = detector.take(evidence, np.array([hit]))
    low = np.asarray(SHIFTS) * 0.99 + 0.01 < 0.5
    np.testing.assert_array_equal(evidence.log_cusum[0, low], first[0, low])
    assert (evidence.log_cusum[0, ~low] != first[0, ~low]).all()


def test_bounds_after_bursts_keep_the_first_and_rise() -> None:
    bounds = after_bursts([0.02, 1.0], np.array([[0.0, 0.01, 0.3, 1.0], [0.0, 0.1, 0.1, 0.1]]))
    np.testing.assert_allclose(bounds[0, :3], [0.02, 0.02, 0.3])
    assert (bounds < 1).all()
    evidence = Detector(bounds).begin()
    for _ in range(50):  # where every request was usual, none is evidence
        evidence = Detector(bounds).take(evidence, np.array([False, True]))
    assert Detector(bounds).log_total(evidence) < math.log(60)
