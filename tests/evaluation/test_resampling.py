"""Intervals that hold what they promise, and differences that are said only where there is one."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.evaluation.resampling import difference, figure
from appliance.evaluation.scoring import CaseScore, Metric
from appliance.intervals import wilson

MEAN = Metric("x", "a mean", shape="number")
SHARE = Metric("x", "a share")
RATIO = Metric("r", "a ratio", sums=("top", "bottom"), shape="number")


def scores_of(values: list[float]) -> list[CaseScore]:
    return [CaseScore({"x": value}) for value in values]


def test_a_share_has_wilsons_interval_and_a_mean_the_bootstraps() -> None:
    share = figure(SHARE, scores_of([1.0] * 7 + [0.0] * 3))
    assert share is not None
    assert (share.value, share.cases) == (0.7, 10)
    assert (share.low, share.high) == wilson(7, 10)
    mean = figure(MEAN, scores_of([1.0, 2.0, 3.0, 4.0]))
    assert mean is not None
    assert mean.value == 2.5 and 1.0 < mean.low < 2.5 < mean.high < 4.0
    assert mean == figure(MEAN, scores_of([1.0, 2.0, 3.0, 4.0]))


def test_cases_without_a_metric_are_none_of_its_cases() -> None:
    found = figure(SHARE, [CaseScore({"x": 1.0}), CaseScore({"y": 1.0})])
    assert found is not None and found.cases == 1
    assert figure(SHARE, [CaseScore({"y": 1.0})]) is None
    assert figure(SHARE, []) is None


def test_the_bootstraps_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draw = np.random.Generator(np.random.PCG64(3))
    covered = 0
    for _ in range(100):
        found = figure(MEAN, scores_of(list(draw.normal(5.0, 2.0, 40))))
        assert found is not None
        covered += found.low <= 5.0 <= found.high
    assert 89 <= covered <= 99  # 95 expected, a little fewer for so few cases


def test_a_ratio_is_of_sums_not_a_mean_of_ratios() -> None:
    found = figure(RATIO, [CaseScore({"top": 1.0, "bottom": 1.0}), CaseScore({"top": 1.0, "bottom": 9.0})])
    assert found is not None and found.value == pytest.approx(0.2)


def test_better_is_said_only_where_it_is() -> None:
    draw = np.random.Generator(np.random.PCG64(5))
    base = draw.normal(0.0, 1.0, 60)
    same = difference(MEAN, scores_of(list(base + draw.normal(0, 0.5, 60))), scores_of(list(base)), "base")
    assert same is not None and same.verdict == "no difference shown"
    assert same.low < 0 < same.high
    better = difference(MEAN, scores_of(list(base + 0.5)), scores_of(list(base)), "base")
    assert better is not None and (better.verdict, better.p < 0.01) == ("better", True)
    assert better.ours - better.theirs == pytest.approx(0.5)
    lower = Metric("x", "a loss", "lower", shape="number")
    worse = difference(lower, scores_of(list(base + 0.5)), scores_of(list(base)), "base")
    assert worse is not None and worse.verdict == "worse"
    neither = Metric("x", "a bias", "neither", shape="number")
    told = difference(neither, scores_of(list(base + 0.5)), scores_of(list(base)), "base")
    assert told is not None and told.verdict == "no difference shown" and told.p < 0.01


def test_false_alarms_of_the_paired_test_are_about_as_many_as_it_says() -> None:
    draw = np.random.Generator(np.random.PCG64(11))
    alarms = 0
    for _ in range(100):
        base, other = draw.normal(0, 1, (2, 50))
        found = difference(MEAN, scores_of(list(base)), scores_of(list(other)), "base")
        assert found is not None
        alarms += found.verdict != "no difference shown"
    assert alarms <= 11  # 5 expected


def test_shares_are_compared_by_mcnemars_exact_test() -> None:
    ours, theirs = [1.0] * 9 + [0.0] * 11, [0.0] * 9 + [1.0] + [0.0] * 10
    found = difference(SHARE, scores_of(ours), scores_of(theirs), "base")
    assert found is not None
    assert found.p == pytest.approx(2 * 11 / 2**10)  # 9 to 1: the tail of 0 or 1 in 10, twice
    assert found.verdict == "better"
