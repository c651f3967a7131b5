"""Steps, rates and the order of rows."""

from __future__ import annotations

import pytest

from appliance.config import TrainingSection
from appliance.errors import TrainingError
from appliance.training.batches import epoch_order, step_rows
from appliance.training.recipe import resolve_plan


def test_the_plan_counts_steps_and_ends_with_an_evaluation():
    plan = resolve_plan(TrainingSection(epochs=3.0, batch_rows=16, evaluations=4), 100)
    assert (plan.steps_per_epoch, plan.steps) == (7, 21)
    assert max(plan.evaluate_at) == 21
    assert len(plan.evaluate_at) == 4


def test_the_rate_rises_then_falls_to_a_tenth():
    plan = resolve_plan(TrainingSection(epochs=10.0, batch_rows=10, warmup=0.1, learning_rate=1e-3), 100)
    rates = [plan.rate(step) for step in range(1, plan.steps + 1)]
    top = rates.index(max(rates))
    assert rates[top] == pytest.approx(1e-3)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] == pytest.approx(1e-4)


def test_no_rows_is_an_error():
    with pytest.raises(TrainingError, match="no row"):
        resolve_plan(TrainingSection(), 0)


def test_an_epoch_holds_every_row_once():
    batches = epoch_order(330, 8, seed=7, epoch=0)
    assert sorted(row for batch in batches for row in batch) == list(range(330))
    assert [len(batch) for batch in batches] == [8] * 41 + [2]


def test_the_order_depends_on_seed_and_epoch_alone():
    assert epoch_order(100, 8, 7, 0) == epoch_order(100, 8, 7, 0)
    assert epoch_order(100, 8, 7, 0) != epoch_order(100, 8, 7, 1)
    assert epoch_order(100, 8, 7, 0) != epoch_order(100, 8, 8, 0)


def test_steps_from_the_middle_are_those_of_the_whole_run():
    whole = list(step_rows(100, 8, 7, 1, 30))
    assert list(step_rows(100, 8, 7, 17, 30)) == whole[16:]
