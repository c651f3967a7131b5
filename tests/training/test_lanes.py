"""The rows of a step on several threads: the step is the one of a single batch, and nothing is left behind."""

from __future__ import annotations

import threading

import pytest
import torch

from appliance.training.batches import collate
from appliance.training.kernels import Plain
from appliance.training.lanes import WASTE, Lanes, spread
from appliance.training.llama import LlamaTrainable
from appliance.training.modules import load_modules
from tests.training.test_decoder import RECIPE, rows_of


def on_lanes(checkpoint, lanes: int) -> LlamaTrainable:
    model = load_modules(checkpoint, RECIPE, torch.float32)
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.requires_grad:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=chance))
    return LlamaTrainable(model, torch.float32, RECIPE.alpha / RECIPE.rank, Plain(), lanes)


def ids_of(batch) -> list[list[int]]:
    return [batch.prefix.tolist() + row.tolist() for row in batch.ids]


@pytest.mark.parametrize("common", [0, 25])
def test_lanes_have_the_loss_and_gradient_of_one_batch(tiny_checkpoint, common):
    rows = rows_of([9, 30, 17, 44, 41, 38, 52], common=common)
    one, several = on_lanes(tiny_checkpoint, 1), on_lanes(tiny_checkpoint, 3)
    parts = [collate(rows[lane::3]) for lane in range(3)]
    loss = one.learn(collate(rows))
    assert several.learn(*parts) == pytest.approx(loss, rel=1e-6)
    assert several.loss(*parts) == pytest.approx(loss, rel=1e-6)
    (whole,), (summed,) = (each.masters for each in (one, several))
    assert torch.allclose(summed.grad, whole.grad, atol=1e-5 * whole.grad.abs().max().item(), rtol=0)
    # Fewer batches than lanes, then all again: nothing of a former step is added.
    assert several.learn(collate(rows)) == pytest.approx(loss, rel=1e-6)
    assert torch.allclose(summed.grad, whole.grad, atol=1e-5 * whole.grad.abs().max().item(), rtol=0)
    several.learn(*parts)
    assert torch.allclose(summed.grad, whole.grad, atol=1e-5 * whole.grad.abs().max().item(), rtol=0)


def test_the_same_step_twice_is_the_same_to_the_bit(tiny_checkpoint):
    rows = rows_of([9, 30, 17, 44])
    trainable = on_lanes(tiny_checkpoint, 2)
    parts = [collate(rows[lane::2]) for lane in range(2)]
    trainable.learn(*parts)
    before = trainable.masters[0].grad.clone()
    trainable.learn(*parts)
    assert torch.equal(trainable.masters[0].grad, before)


def test_rows_are_divided_where_that_computes_little_more():
    rows = rows_of([40, 50, 60, 70])
    parts = spread(rows, 2, share=True)
    assert [len(part.ids) for part in parts] == [2, 2]
    assert sum(part.learnt for part in parts) == sum(row.targets for row in rows)
    begun = [ids for part in parts for ids in ids_of(part)]
    assert all(any(ids[: len(row.ids)] == list(row.ids) for ids in begun) for row in rows)
    assert sum(part.tokens for part in parts) == collate(rows).tokens


def test_a_long_shared_beginning_is_not_computed_in_each_lane():
    rows = rows_of([5, 6, 7, 8], common=120)
    (whole,) = spread(rows, 2, share=True)
    assert len(whole.prefix) > 100
    assert 2 * len(whole.prefix) > WASTE * whole.computed


@pytest.mark.parametrize("lanes", [1, 4])
def test_fewer_rows_than_lanes(lanes):
    assert [len(part.ids) for part in spread(rows_of([12]), lanes, share=True)] == [1]


def test_the_first_error_comes_out_after_all_have_ended():
    torch.set_num_threads(2)
    lanes, ended = Lanes(2), threading.Event()

    def fails() -> float:
        raise ValueError("a lane's own")

    def ends() -> float:
        ended.wait(0.2)
        ended.set()
        return 1.0

    with pytest.raises(ValueError, match="a lane's own"):
        lanes.run([fails, ends])
    assert ended.is_set()
    assert lanes.run([ends, ends]) == [1.0, 1.0]
    assert torch.get_num_threads() == 2
