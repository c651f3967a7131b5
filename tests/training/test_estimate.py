"""The cost told before the first step, and the refusal of what would take days."""

from __future__ import annotations

import pytest

from appliance.config import TrainingSection
from appliance.errors import TrainingError
from appliance.events import ignore
from appliance.training import checkpoints, train
from appliance.training import estimate as estimating
from appliance.training.encoding import Encoded
from appliance.training.estimate import Size, estimate, refuse_days, size_of
from appliance.training.recipe import resolve_plan
from tests.training.test_session import prepared

ROWS = [Encoded(str(n), tuple(range(100)), (False,) * 60 + (True,) * 40) for n in range(1000)]
PLAN = resolve_plan(TrainingSection(epochs=2.0, batch_rows=4), len(ROWS))


def test_the_arithmetic_of_an_8b_on_two_cores(monkeypatch):
    monkeypatch.setattr(estimating, "free_memory", lambda: 64_000_000_000)
    eight = Size(6_980_000_000, 525_000_000, 1_050_000_000)
    cost = estimate(eight, ROWS, PLAN, 0, 8, 100.0, 2)
    assert cost.tokens == 200_000
    # Four operations a weight and token; the projection at four tenths of the positions.
    assert cost.gflop == pytest.approx(4 * (6.98 + 0.4 * 0.525))
    assert cost.seconds == pytest.approx(200_000 * cost.gflop / 60.0)
    with pytest.raises(
        TrainingError, match=r"would take about 26h37m: 200,000 tokens of 28\.76 GFLOP"
    ) as raised:
        refuse_days(cost)
    assert "--yes" in raised.value.hint
    refuse_days(estimate(eight, ROWS, PLAN, 0, 8, 400.0, 2))


def test_roundings_cost_too():
    size = Size(100_000_000, 0, 0)
    without = estimate(size, ROWS, PLAN, 0, 8, 100.0, 2)
    on_grid = estimate(size, ROWS, PLAN, 250, 8, 100.0, 2)
    assert on_grid.roundings == 32
    assert on_grid.seconds > without.seconds


def test_weights_that_do_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr(estimating, "free_memory", lambda: 8_000_000_000)
    with pytest.raises(TrainingError, match=r"alone take 14\.0 GB of memory, and 8\.0 GB are free"):
        refuse_days(estimate(Size(6_500_000_000, 500_000_000, 500_000_000), ROWS, PLAN, 0, 8, 400.0, 2))


def test_weights_go_into_the_memory_that_is_named():
    size = Size(6_500_000_000, 500_000_000, 500_000_000)
    assert estimate(size, ROWS, PLAN, 0, 8, 4000.0, 2, free=14_000_000_001).free_bytes == 14_000_000_001
    with pytest.raises(TrainingError, match=r"14\.0 GB of memory, and 13\.0 GB are free"):
        refuse_days(estimate(size, ROWS, PLAN, 0, 8, 4000.0, 2, free=13_000_000_000))
    refuse_days(estimate(size, ROWS, PLAN, 0, 8, 4000.0, 2, free=8_000_000_000), 0.5)  # shared by two


def test_a_training_of_days_is_refused_before_anything_is_loaded_and_begun_with_yes(
    make_project, monkeypatch
):
    project, checkpoint = prepared(make_project())
    assert size_of(checkpoint).matrices > 0
    monkeypatch.setattr(estimating, "LIMIT", 0.0)
    with pytest.raises(TrainingError, match="this training would take about"):
        train(project, checkpoint, ignore)
    assert not project.adapter.exists()
    events = []
    train(project, checkpoint, events.append, accept_days=True)
    assert any(event.text.startswith("about ") and "GFLOP/s" in event.text for event in events)


def test_what_was_begun_goes_on_and_a_refused_restart_loses_nothing(make_project, monkeypatch):
    project, checkpoint = prepared(make_project())
    monkeypatch.setattr(estimating, "LIMIT", 0.0)
    result = train(project, checkpoint, ignore, accept_days=True)
    assert train(project, checkpoint, ignore).adapter_sha256 == result.adapter_sha256
    kept = sorted(path.name for path in project.training.iterdir())
    with pytest.raises(TrainingError, match="this training would take about"):
        train(project, checkpoint, ignore, restart=True)
    assert sorted(path.name for path in project.training.iterdir()) == kept


def test_processes_that_each_hold_the_weights_count_them_all(monkeypatch):
    monkeypatch.setattr(estimating, "free_memory", lambda: 20_000_000_000)
    cost = estimate(Size(6_500_000_000, 500_000_000, 500_000_000), ROWS, PLAN, 0, 8, 4000.0, 2)
    refuse_days(cost)
    with pytest.raises(TrainingError, match=r"28\.0 GB"):
        refuse_days(cost, 2)


@pytest.mark.parametrize("left", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_checkpoint_is_said_not_a_fault_of_the_program(make_project, left):
    project, checkpoint = prepared(make_project())
    project.training.mkdir(parents=True)
    (project.training / checkpoints.FILE_NAME).write_bytes(left)
    with pytest.raises(TrainingError, match="can't be read"):
        train(project, checkpoint, ignore)
