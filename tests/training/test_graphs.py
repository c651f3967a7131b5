"""Recorded work: what is replayed does what the work does, with what it is given then."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from appliance.training import graphs as graphs_module
from appliance.training.batches import COARSE_TARGETS, COARSE_TOKENS, collate
from appliance.training.graphs import Graphs
from appliance.training.kernels import Plain
from appliance.training.llama import LlamaTrainable
from appliance.training.modules import load_modules
from tests.training.test_decoder import RECIPE, SETS, gradients, trained


class Again:
    """Records like a CUDA graph, as far as a CPU can: what is replayed sees only the places, never a new argument."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        self.recorded += 1
        return work


def test_recorded_when_met_again_and_forgotten_when_told() -> None:
    record = Again()
    graphs, seen = Graphs(record), []

    def work(given):
        seen.append(given[0].data_ptr())
        return given[0] * 2

    for value in (1.0, 2.0, 3.0):
        assert graphs.run("a", [torch.tensor([value])], work).tolist() == [2 * value]
    assert record.recorded == 1
    assert seen[1] == seen[2] != seen[0], "a replay works on the places of the recording"
    assert graphs.run("b", [torch.tensor([5.0])], work).tolist() == [10.0]
    assert record.recorded == 1, "another key is met for the first time"
    graphs.forget()
    assert graphs.run("a", [torch.tensor([4.0])], work).tolist() == [8.0]
    assert record.recorded == 1


def test_no_more_recordings_than_there_is_room_for(monkeypatch) -> None:
    monkeypatch.setattr(graphs_module, "LIMIT", 2)
    record = Again()
    graphs = Graphs(record)
    for key in range(5):
        for value in (1.0, 2.0, 3.0):
            assert graphs.run(key, [torch.tensor([value])], lambda given: given[0] + 1).tolist() == [
                value + 1
            ]
    assert record.recorded == 2


@pytest.mark.parametrize("which", SETS)
def test_a_recorded_step_has_the_loss_and_gradients_of_a_plain_one(which, tiny_checkpoint) -> None:
    plain, record = trained(tiny_checkpoint, Plain()), Again()
    model = load_modules(tiny_checkpoint, RECIPE, torch.float32)
    recorded = LlamaTrainable(model, torch.float32, RECIPE.alpha / RECIPE.rank, Plain(), Graphs(record))
    with torch.no_grad():
        recorded.masters[0].copy_(plain.masters[0])
    batch = collate(SETS[which])
    coarse = collate(SETS[which], coarse=recorded.coarse)
    assert coarse.ids.shape[1] % COARSE_TOKENS == 0 and len(coarse.targets) == COARSE_TARGETS
    loss = plain.learn(batch)
    wanted = gradients(plain)
    for turn in range(3):  # met, recorded, replayed
        recorded.push_weights()
        recorded.masters[0].grad.fill_(7.0)  # what the step before left must not count
        assert recorded.learn(coarse) == pytest.approx(loss, rel=1e-5), turn
        for name, gradient in gradients(recorded).items():
            torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-6, msg=f"{name}, {turn}")
        assert recorded.loss(coarse) == pytest.approx(loss, rel=1e-5)
    assert record.recorded == 3, "a step, a loss, and the weights' way back"


def test_a_replay_takes_the_new_rows(tiny_checkpoint) -> None:
    model = load_modules(tiny_checkpoint, RECIPE, torch.float32)
    recorded = LlamaTrainable(model, torch.float32, RECIPE.alpha / RECIPE.rank, Plain(), Graphs(Again()))
    plain = trained(tiny_checkpoint, Plain())
    with torch.no_grad():
        recorded.masters[0].copy_(plain.masters[0])
    recorded.push_weights()
    rows = SETS["rows of several lengths"]
    for chosen in (rows, rows[::-1], [rows[1], rows[1], rows[2]], rows):
        expected = plain.loss(collate(chosen))
        assert recorded.loss(collate(chosen, coarse=True)) == pytest.approx(expected, rel=1e-5)
