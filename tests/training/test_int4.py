"""Training on the grid that ships: the weights are the file's, bit for bit, and the gradient goes straight through."""

from __future__ import annotations

import json
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from appliance.base_model import resolve
from appliance.conversion import convert_project
from appliance.dataset import prepare
from appliance.events import ignore
from appliance.paths import Project
from appliance.training import train
from appliance.training.batches import collate
from appliance.training.int4 import Grid, Merged
from appliance.training.kernels import Plain
from appliance.training.llama import LlamaTrainable, load
from convert.gguf_file import read
from convert.libggml import dequantize
from convert.type_mix import Mix
from tests.training.test_decoder import RECIPE, gradients, rows_of, trained


def adversarial() -> np.ndarray:
    """Blocks of 32 where rounding goes wrong first, one a row of 64 columns beside an ordinary one."""
    chance = np.random.default_rng(1)
    blocks = [
        np.zeros(32),
        np.full(32, -0.0),
        np.r_[6e4, np.full(31, 1e-3)],  # one huge value
        np.r_[-6e4, np.full(31, 1e-3)],
        np.tile([1.0, -1.0], 16),  # a tie of the largest: the first decides the sign
        np.tile([-1.0, 1.0], 16),
        np.arange(-16, 16) / 8 * 0.5,  # values half-way between levels
        np.full(32, 1e-42),  # subnormal
        np.r_[1e-42, np.full(31, -1e-45)],
        np.r_[3e-8, np.full(31, 1e-8)],  # a scale that is subnormal in float16
        np.r_[1e-12, np.full(31, 1e-13)],  # a scale that is zero in float16
        -np.abs(chance.standard_normal(32)),
        np.nextafter(np.linspace(-8, 7, 32) + 0.5, -100),
        np.nextafter(np.linspace(-8, 7, 32) + 0.5, 100),
    ]
    rows = [np.r_[block, chance.standard_normal(32)] for block in blocks]
    return np.array(rows, dtype=np.float32)


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "Q4_1", "Q5_0"])
def test_the_grid_is_that_of_an_independent_quantizer_on_adversarial_blocks(tmp_path, kind):
    base = adversarial()
    save_file({"w": base}, tmp_path / "model.safetensors")
    zeros = torch.zeros(len(base), 4), torch.zeros(4, base.shape[1])
    held = Grid(tmp_path, Mix.named(kind, "Q8_0"), 2.0).held(Merged("w", *zeros, torch.empty(0)))
    number = gguf.GGMLQuantizationType[kind]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        expected = gguf.quants.dequantize(gguf.quants.quantize(base, number), number)
    # Bit for bit, but for what 0 * -scale is called.
    assert (held == expected).all()


def test_loss_and_gradient_are_those_of_the_rounded_weights_straight_through(tiny_checkpoint):
    batch = collate(rows_of([20, 31], common=12))
    ours = trained(tiny_checkpoint, Plain())
    off = ours.learn(batch)
    grid = Grid(tiny_checkpoint, Mix.named("Q4_0", "F16"), RECIPE.alpha / RECIPE.rank)
    ours.enter_grid(grid)
    value = ours.learn(batch)
    assert abs(value - off) > 1e-4  # rounding is felt
    # peft computes x(W + sBA): with W := held - sBA it computes on the grid, its gradients those of the factors alone.
    plain = trained(tiny_checkpoint, None)
    state = dict(plain.model.named_modules())
    with torch.no_grad():
        for _, places in ours._placed:
            for place in places:
                module = state[f"base_model.model.{place.name.removesuffix('.weight')}"]
                low = module.lora_B["default"].weight @ module.lora_A["default"].weight
                factors = module.lora_B["default"].weight, module.lora_A["default"].weight
                merged = Merged(place.name, *(factor.detach() for factor in factors), torch.empty(0))
                shipped = torch.from_numpy(grid.held(merged))
                module.base_layer.weight.copy_(shipped - low * module.scaling["default"])
        tables = plain.model.base_model.model
        tables.model.embed_tokens.weight.copy_(ours.decoder.embeddings)
    expected = plain.learn(collate(rows_of([20, 31], common=12), share=False))
    assert value == pytest.approx(expected, rel=1e-5)
    theirs = gradients(plain)
    for name, gradient in gradients(ours).items():
        largest = theirs[name].abs().max().item()
        assert torch.allclose(gradient, theirs[name], atol=2e-4 * largest, rtol=0), name


def project_with(make_project, convert: str = "", **changes) -> tuple[Project, Path]:
    recipe = {
        "epochs": 6.0,
        "batch_rows": 8,
        "rank": 8,
        "learning_rate": 1e-2,
        "threads": 1,
        "evaluations": 6,
        "grid_start": 0.5,
    }
    lines = "".join(f"{key} = {value}\n" for key, value in (recipe | changes).items())
    folder = make_project(training=lines + 'dtype = "float32"\n')
    if convert:
        with (folder / "anchorhold.toml").open("a") as configuration:
            configuration.write(f"\n[convert]\n{convert}\n")
    project = Project.open(folder)
    checkpoint = resolve(project.config.base.path, project.root)
    prepare(project, ignore)
    return project, checkpoint


@pytest.mark.parametrize(
    "convert",
    ["", 'type = "IQ4_NL"', 'type = "Q4_K"', 'overrides = { ffn_down = "Q8_0", "blk.0.attn" = "Q4_1" }'],
)
def test_what_the_last_validation_saw_is_what_the_file_holds(make_project, tmp_path, convert):
    project, checkpoint = project_with(make_project, convert)
    kind = project.config.convert.type
    events = []
    result = train(project, checkpoint, events.append)
    assert any(f"weights as they ship ({kind})" in event.text for event in events)
    assert result.best_step > result.steps / 2  # the best is chosen among those on the grid
    convert_project(project)
    trainable = load(checkpoint, project.config.training, torch.float32, tmp_path)
    assert isinstance(trainable, LlamaTrainable)
    adapter = load_file(project.adapter / "adapter_model.safetensors")
    with torch.no_grad():
        for name, tensor in zip(trainable.names, trainable.tensors(), strict=True):
            tensor.copy_(adapter[name])
    trainable.push_weights()
    recipe, ships = project.config.training, project.config.convert
    mix = Mix.named(kind, ships.embeddings, project.config.parts_of(kind))
    grid = Grid(checkpoint, mix, recipe.alpha / recipe.rank)
    trainable.enter_grid(grid)
    path = project.gguf(kind)
    held = {name: dequantize(each.data, each.type.name) for name, each in read(path).tensors.items()}
    names = {
        "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    }  # fmt: skip
    seen, types = 0, set()
    for group, places in trainable._placed:
        for place in places:
            layer, part = place.name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            if part not in names:  # queries and keys stand in another order of rows
                continue
            factors = (adapter[f"base_model.model.{place.name[:-7]}.lora_{side}.weight"] for side in "BA")
            shipped = grid.held(Merged(place.name, *factors, torch.empty(0)))
            assert np.array_equal(held[f"blk.{layer}.{names[part]}.weight"], shipped)
            types.add(grid.mix.of(f"blk.{layer}.{names[part]}.weight", shipped.shape[1]).name)
            low = group.up[place.rows] @ group.down
            assert np.allclose(shipped, (group.weight[place.rows] + low).numpy(), atol=1e-6)
            seen += 1
    assert seen == 5 * 2
    # A row of the tiny base is too narrow for a K type; llama.cpp takes Q5_0 then.
    narrow = {"Q5_0" if kind == "Q4_K" else kind, "Q8_0"}
    assert types == (narrow | {"Q4_1"} if ships.overrides else narrow)
    assert np.array_equal(held["token_embd.weight"], trainable.decoder.embeddings.numpy())


def test_off_the_grid_nothing_is_rounded(make_project):
    project, checkpoint = project_with(make_project, epochs=1.0, evaluations=1, grid_start=1.0)
    events = []
    train(project, checkpoint, events.append)
    assert not any("as they ship" in event.text for event in events)


def test_the_recipe_s_grid_is_part_of_what_makes_a_training(make_project):
    project, checkpoint = project_with(make_project, epochs=1.0, evaluations=1)
    train(project, checkpoint, ignore)
    config = project.root / "anchorhold.toml"
    config.write_text(config.read_text() + '\n[convert]\ntype = "Q8_0"\n')
    events = []
    train(Project.open(project.root), checkpoint, events.append)
    assert not any("resumed" in event.text for event in events)
    assert json.loads((project.training / "training.json").read_text())["steps"] > 0
