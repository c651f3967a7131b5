"""The written-out decoder has the loss of transformers and peft, and their gradient for every LoRA weight."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from appliance.config import TrainingSection
from appliance.training import batches
from appliance.training.arena import Arena
from appliance.training.batches import collate
from appliance.training.encoding import Encoded
from appliance.training.kernels import Native, Plain
from appliance.training.kernels import load as load_kernels
from appliance.training.llama import LlamaTrainable, load, written_out
from appliance.training.modules import ModuleTrainable, load_modules

RECIPE = TrainingSection(rank=4, alpha=8.0)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> Native:
    kernels = load_kernels(tmp_path_factory.mktemp("kernels"))
    assert isinstance(kernels, Native), "the tests need a C++ compiler"
    return kernels


def rows_of(lengths, common=0, seed=5):
    chance = torch.Generator().manual_seed(seed)
    beginning = torch.randint(10, 49000, (common,), generator=chance).tolist()
    rows = []
    for number, length in enumerate(lengths):
        ids = beginning + torch.randint(10, 49000, (length,), generator=chance).tolist()
        learnt = tuple(place >= common + length // 2 for place in range(len(ids)))
        rows.append(Encoded(f"r{number}", tuple(ids), learnt))
    return rows


def trained(checkpoint: Path, kernels: Plain | None, dtype=torch.float32):
    """A model whose LoRA weights are all away from zero; the plain one without kernels."""
    model = load_modules(checkpoint, RECIPE, dtype)
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for _, weight in sorted(model.named_parameters()):
            if weight.requires_grad:
                weight.copy_(0.05 * torch.randn(weight.shape, generator=chance))
    if kernels is None:
        return ModuleTrainable(model, dtype, fused=False)
    return LlamaTrainable(model, dtype, RECIPE.alpha / RECIPE.rank, kernels)


def gradients(trainable) -> dict[str, torch.Tensor]:
    flat = torch.cat([master.grad.flatten() for master in trainable.masters])
    if isinstance(trainable, ModuleTrainable):
        sizes = [tensor.numel() for tensor in trainable.tensors()]
        parts = flat.split(sizes)
        return {
            name: part.view(tensor.shape)
            for name, part, tensor in zip(trainable.names, parts, trainable.tensors(), strict=True)
        }
    found, offset = {}, 0
    for name, tensor in zip(trainable.names, trainable.tensors(), strict=True):
        offset = tensor.storage_offset()
        found[name] = flat[offset : offset + tensor.numel()].view(tensor.shape)
    return found


SETS = {
    "one row": rows_of([40]),
    "rows of several lengths": rows_of([9, 30, 17]),
    "a shared beginning": rows_of([9, 30, 17], common=25),
    "a beginning longer than the rows": rows_of([5, 6, 7, 8], common=120),
}


@pytest.mark.parametrize("which", SETS)
@pytest.mark.parametrize("kernels", ["torch", "compiled"])
def test_loss_and_every_gradient_are_those_of_transformers_and_peft(
    tiny_checkpoint, compiled, which, kernels
):
    ours = trained(tiny_checkpoint, compiled if kernels == "compiled" else Plain())
    plain = trained(tiny_checkpoint, None)
    batch = collate(SETS[which])
    assert bool(len(batch.prefix)) == ("beginning" in which)
    expected = plain.learn(collate(SETS[which], share=False))
    assert ours.learn(batch) == pytest.approx(expected, rel=1e-5)
    assert ours.loss(batch) == pytest.approx(expected, rel=1e-5)
    theirs, found = gradients(plain), gradients(ours)
    assert list(found) == list(theirs)
    for name, gradient in theirs.items():
        assert gradient.abs().max() > 0, name
        assert torch.allclose(found[name], gradient, atol=1e-4 * gradient.abs().max().item(), rtol=0), name


def test_rows_too_long_for_a_score_matrix_take_the_tiled_kernel(tiny_checkpoint, compiled, monkeypatch):
    rows = rows_of([70, 33], common=20)
    expected = trained(tiny_checkpoint, None)
    value = expected.learn(collate(rows, share=False))
    monkeypatch.setattr(batches, "SCORES", 1000)
    batch = collate(rows)
    assert not len(batch.prefix)  # sharing needs the score matrix
    ours = trained(tiny_checkpoint, compiled)
    assert ours.learn(batch) == pytest.approx(value, rel=1e-5)
    theirs = gradients(expected)
    for name, gradient in gradients(ours).items():
        largest = theirs[name].abs().max().item()
        assert torch.allclose(gradient, theirs[name], atol=1e-4 * largest, rtol=0), name


@pytest.mark.parametrize("kernels", ["torch", "compiled"])
def test_in_bfloat16_it_is_as_near_as_bfloat16_is(tiny_checkpoint, compiled, kernels):
    rows = rows_of([40, 50, 60], common=30)
    exact = trained(tiny_checkpoint, None)
    expected = exact.learn(collate(rows, share=False))
    ours = trained(tiny_checkpoint, compiled if kernels == "compiled" else Plain(), torch.bfloat16)
    assert ours.learn(collate(rows)) == pytest.approx(expected, rel=5e-3)
    theirs = torch.cat([part.flatten() for part in gradients(exact).values()])
    found = torch.cat([part.flatten() for part in gradients(ours).values()])
    assert torch.nn.functional.cosine_similarity(found, theirs, dim=0) > 0.999


def test_another_batch_in_between_changes_nothing(tiny_checkpoint, compiled):
    """Memory is reused from step to step: nothing of the last one may be read."""
    ours = trained(tiny_checkpoint, compiled)
    first, second = collate(rows_of([9, 30])), collate(rows_of([80, 70, 60], common=11, seed=9))
    before = ours.learn(first), ours.masters[0].grad.clone()
    ours.learn(second)
    ours.loss(second)
    assert ours.learn(first) == before[0]
    assert torch.equal(ours.masters[0].grad, before[1])


def test_rows_longer_than_the_table_of_angles(tiny_checkpoint, compiled):
    rows = rows_of([600])
    value = trained(tiny_checkpoint, None).loss(collate(rows))
    assert trained(tiny_checkpoint, compiled).loss(collate(rows)) == pytest.approx(value, rel=1e-5)


def test_dropout_and_other_architectures_take_the_modules(tiny_checkpoint, tmp_path):
    assert isinstance(load(tiny_checkpoint, RECIPE, torch.float32, tmp_path), LlamaTrainable)
    dropout = RECIPE.model_copy(update={"dropout": 0.1})
    assert isinstance(load(tiny_checkpoint, dropout, torch.float32, tmp_path), ModuleTrainable)
    config = load_modules(tiny_checkpoint, RECIPE, torch.float32).base_model.model.config
    assert written_out(config)
    for change in ({"hidden_act": "gelu"}, {"attention_bias": True}, {"mlp_bias": True}):
        for key, value in change.items():
            other = type(config)(**{**config.to_dict(), key: value})
            assert not written_out(other)


def test_accumulated_by_targets_two_halves_have_the_gradient_of_the_whole(tiny_checkpoint, compiled):
    """A batch's loss is a mean over targets, so parts weigh by their targets, whatever their lengths."""
    rows = rows_of([9, 30, 17, 44])
    ours = trained(tiny_checkpoint, compiled)
    ours.learn(collate(rows))
    whole = ours.masters[0].grad.clone()
    total = sum(row.targets for row in rows)
    summed = torch.zeros_like(whole)
    for part in (rows[:1], rows[1:]):
        ours.learn(collate(part))
        summed += ours.masters[0].grad * sum(row.targets for row in part) / total
    assert torch.allclose(summed, whole, atol=1e-5 * whole.abs().max().item(), rtol=0)


def test_without_a_compiler_torch_does_it(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "/bin/false")
    assert load_kernels(tmp_path).name == "torch"
    assert not list(tmp_path.rglob("*.so"))


def test_compiled_once_for_one_machine(tmp_path, compiled):
    load_kernels(tmp_path)
    (made,) = tmp_path.rglob("*.so")
    before = made.stat().st_mtime_ns
    load_kernels(tmp_path)
    assert made.stat().st_mtime_ns == before


def test_a_library_cut_by_a_crash_is_made_again(tmp_path):
    load_kernels(tmp_path)
    (made,) = tmp_path.rglob("*.so")
    size = made.stat().st_size
    fresh = tmp_path / "fresh" / "kernels"
    fresh.mkdir(parents=True, mode=0o700)
    (fresh / made.name).write_bytes(made.read_bytes()[:100])  # elsewhere: the first is loaded in this process
    assert load_kernels(tmp_path / "fresh").name == "compiled"
    assert (fresh / made.name).stat().st_size == size


def test_a_folder_that_others_may_write_is_not_loaded_from(tmp_path):
    load_kernels(tmp_path)
    (tmp_path / "kernels").chmod(0o777)
    assert load_kernels(tmp_path).name == "torch"


def test_a_shared_beginning_ends_before_what_is_learnt():
    rows = rows_of([20, 20], common=30)
    same = [dataclasses.replace(rows[0], row_id="a"), dataclasses.replace(rows[0], row_id="b")]
    batch = collate(same)
    assert len(batch.prefix) == (rows[0].learnt.index(True) - 1) // 4 * 4
    assert batch.tokens == 100
    assert len(collate(rows_of([20, 20], common=5)).prefix) == 0  # too short to be worth it


def test_the_arena_gives_back_to_a_mark_and_never_overlaps():
    arena = Arena(slab=1 << 16)
    first = arena.take(10, 3, dtype=torch.float32).fill_(1)
    mark = arena.mark()
    second = arena.take(1 << 15, dtype=torch.bfloat16).fill_(2)  # begins a slab of its own
    third = arena.take(7, dtype=torch.bfloat16).fill_(3)
    assert (first == 1).all() and (second == 2).all() and (third == 3).all()
    assert first.data_ptr() % 64 == third.data_ptr() % 64 == 0
    size = arena.size
    arena.release(mark)
    assert arena.take(1 << 15, dtype=torch.bfloat16).data_ptr() == second.data_ptr()
    assert arena.size == size
