"""Other architectures and dropout on the grid that ships: loss, gradient and weights are the file's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.func import functional_call
from transformers import AutoModelForCausalLM

from appliance.config import KEYS_AND_VALUES, TrainingSection
from appliance.conversion import convert_project
from appliance.errors import ConversionError
from appliance.training import train
from appliance.training.batches import collate
from appliance.training.int4 import Grid, Merged
from appliance.training.llama import load
from appliance.training.modules import ModuleTrainable
from convert.architectures import LLAMA, permutation
from convert.gguf_file import read
from convert.libggml import dequantize
from convert.type_mix import Mix
from tests.training.test_decoder import RECIPE, gradients, rows_of
from tests.training.test_session import prepared

MIX = Mix.named("Q4_0", "Q8_0", {KEYS_AND_VALUES: "Q8_0"})
SCALE = RECIPE.alpha / RECIPE.rank


def moved(checkpoint: Path, folder: Path, recipe: TrainingSection = RECIPE) -> ModuleTrainable:
    """In training, every LoRA weight away from zero."""
    trainable = load(checkpoint, recipe, torch.float32, folder)
    assert isinstance(trainable, ModuleTrainable)
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for master in trainable.masters:
            master.copy_(0.05 * torch.randn(master.shape, generator=chance))
    trainable.push_weights()
    return trainable


def nameless(checkpoint: Path, folder: Path) -> Path:
    """Its weights alone: rounding a matrix needs no architecture, only what a file would call it does."""
    folder.mkdir()
    shutil.copy(checkpoint / "model.safetensors", folder)
    return folder


@pytest.mark.parametrize("base", ["tiny_qwen2", "tiny_biased"])
def test_loss_and_gradient_are_those_of_the_rounded_weights_straight_through(request, tmp_path, base):
    checkpoint = request.getfixturevalue(base)
    batch = collate(rows_of([20, 31]), share=False)
    ours = moved(checkpoint, tmp_path)
    off = ours.learn(batch)
    grid = Grid(nameless(checkpoint, tmp_path / "weights"), MIX, SCALE)
    ours.enter_grid(grid)
    value = ours.learn(batch)
    assert abs(value - off) > 1e-4  # rounding is felt
    assert ours.loss(batch) == pytest.approx(value, rel=1e-6)

    plain = AutoModelForCausalLM.from_pretrained(str(checkpoint), local_files_only=True)
    weights = {name: weight.detach() for name, weight in plain.named_parameters()}
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in weights:
            grid.fill_table(name, weights[name])
    factors = {name: tensor.clone().requires_grad_(True) for name, tensor in ours.adapter().items()}
    for name, a in factors.items():
        if ".lora_A." not in name:
            continue
        b, target = factors[name.replace("lora_A", "lora_B")], name.removeprefix("base_model.model.")
        target = target.replace("lora_A.weight", "weight")
        held = torch.from_numpy(grid.held(Merged(target, b.detach(), a.detach(), torch.empty(0))))
        low = SCALE * (b @ a)
        weights[target] = held + (low - low.detach())
    logits = functional_call(plain, weights, kwargs={"input_ids": batch.ids}).logits
    at_targets = logits.reshape(-1, logits.shape[-1])[batch.positions[: batch.learnt]]
    expected = torch.nn.functional.cross_entropy(at_targets, batch.targets[: batch.learnt])
    assert value == pytest.approx(expected.item(), rel=1e-5)
    expected.backward()
    for name, gradient in gradients(ours).items():
        theirs = factors[name].grad
        assert theirs.abs().max() > 0, name
        assert torch.allclose(gradient, theirs, atol=2e-4 * theirs.abs().max().item(), rtol=0), name


def based_on(folder: Path, before: Path, base: Path) -> Path:
    """A project of `make_project` put on another base."""
    path = folder / "anchorhold.toml"
    path.write_text(path.read_text().replace(str(before), str(base)))
    return folder


RUN = (
    "epochs = 3.0\nbatch_rows = 8\nrank = 4\nlearning_rate = 1e-2\nevaluations = 4\nvalidation_rows = 8\n"
    'grid_start = 0.5\ndtype = "float32"\nthreads = 1\n'
)


@pytest.mark.parametrize(("base", "dropout"), [("tiny_biased", 0.0), ("tiny_checkpoint", 0.1)])
def test_what_the_last_validation_saw_is_what_the_file_holds(
    request, make_project, tiny_checkpoint, tmp_path, base, dropout
):
    base = request.getfixturevalue(base)
    folder = based_on(make_project(training=RUN + f"dropout = {dropout}\n"), tiny_checkpoint, base)
    project, checkpoint = prepared(folder)
    events = []
    result = train(project, checkpoint, events.append)
    assert any("weights as they ship (Q4_0)" in event.text for event in events)
    assert not any(event.kind == "warning" for event in events)
    assert result.best_step > result.steps / 2  # the best is chosen among those on the grid
    convert_project(project)
    recipe = project.config.training
    trainable = load(checkpoint, recipe, torch.float32, tmp_path)
    assert isinstance(trainable, ModuleTrainable)
    adapter = load_file(project.adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, master in zip(trainable.names, trainable.masters, strict=True):
            master.copy_(adapter[name])
    trainable.push_weights()
    grid = Grid(checkpoint, MIX, recipe.alpha / recipe.rank)
    trainable.enter_grid(grid)
    path = project.gguf("Q4_0")
    held = {name: dequantize(each.data, each.type.name) for name, each in read(path).tensors.items()}
    model = trainable.model.base_model.model
    state, seen = dict(model.named_modules()), 0
    for name in trainable.names:
        if ".lora_A." not in name:
            continue
        target = name.removeprefix("base_model.model.").removesuffix(".lora_A.weight")
        factors = adapter[name.replace("lora_A", "lora_B")], adapter[name]
        shipped = grid.held(Merged(f"{target}.weight", *factors, torch.empty(0)))
        known = LLAMA.to_gguf(f"{target}.weight")
        heads = LLAMA.heads_of(known)
        order = slice(None)
        if heads:
            order = permutation(len(shipped), getattr(model.config, heads))
        assert np.array_equal(held[known], shipped[order]), target
        low = recipe.alpha / recipe.rank * (factors[0] @ factors[1])
        assert torch.allclose(state[target].base_layer.weight + low, torch.from_numpy(shipped), atol=1e-6)
        seen += 1
    assert seen == 7 * 2
    assert np.array_equal(held["token_embd.weight"], model.model.embed_tokens.weight.detach().numpy())
    projection = held.get("output.weight", held["token_embd.weight"])
    assert np.array_equal(projection, model.lm_head.weight.detach().numpy())
    assert ("output.weight" in held) == (base != tiny_checkpoint)


def test_dropout_is_for_learning_alone(tiny_checkpoint, tiny_biased, tmp_path):
    batch = collate(rows_of([20, 31]), share=False)
    without = moved(tiny_biased, tmp_path).loss(batch)
    dropped = moved(tiny_biased, tmp_path, RECIPE.model_copy(update={"dropout": 0.5}))
    assert dropped.loss(batch) == pytest.approx(without, rel=1e-6)
    assert abs(dropped.learn(batch) - without) > 1e-4
    assert dropped.loss(batch) == pytest.approx(without, rel=1e-6)


def test_a_base_that_can_not_be_converted_is_refused_before_it_is_loaded(
    make_project, tiny_checkpoint, tmp_path
):
    project, _ = prepared(make_project())
    other = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"architectures": ["Olmo2ForCausalLM"]}))
    events = []
    with pytest.raises(ConversionError, match="Olmo2ForCausalLM is not known"):
        train(project, other, events.append)
    assert not any("loading the base" in event.text for event in events)
