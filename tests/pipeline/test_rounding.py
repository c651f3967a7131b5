"""What a project's weights are rounded by: its own training rows through its own model, or to the nearest, and told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from appliance.base_model import resolve
from appliance.calibration import Calibration, chosen, spread
from appliance.conversion import convert_project
from appliance.dataset import prepare, read_rows
from appliance.events import Event, ignore
from appliance.layer_inputs import Moments
from appliance.layer_inputs_of import DecoderInputs, ModuleInputs, layer_inputs
from appliance.paths import Project
from appliance.training import train
from appliance.training.encoding import Encoded
from appliance.training.session import encode_with
from convert.architectures import LLAMA
from convert.gguf_file import read
from convert.libggml import dequantize

CPU = torch.device("cpu")
RUN = 'epochs = 1.0\nbatch_rows = 8\nrank = 4\nlearning_rate = 1e-2\nevaluations = 1\nthreads = 1\ndtype = "float32"\n'


FEW = {r"attn_[kv]\.": "Q8_0"}
MORE = FEW | {r"ffn_down\.": "Q5_0"}


@pytest.fixture
def project(make_project) -> Project:
    """A tiny project, trained."""
    opened = Project.open(make_project(training=RUN))
    prepare(opened, ignore)
    train(opened, resolve(opened.config.base.path, opened.root), ignore)
    return opened


def of(project: Project) -> Path:
    return resolve(project.config.base.path, project.root)


def encoded(project: Project):
    return encode_with(read_rows(project.dataset / "train.jsonl"), of(project))


def with_settings(project: Project, text: str) -> Project:
    path = project.root / "anchorhold.toml"
    path.write_text(f"{path.read_text()}\n[convert]\n{text}\n")
    return Project.open(project.root)


def record(project: Project):
    return json.loads((project.model / "convert.json").read_text())["files"]


def test_the_shipped_file_is_nearer_to_the_16_bit_one_on_the_rows(project: Project, tmp_path: Path) -> None:
    convert_project(project)
    assert record(project)["Q4_0"]["rounding"] == "gptq" and record(project)["F16"]["rounding"] == "nearest"
    files = {"gptq": project.gguf("Q4_0").read_bytes()}
    convert_project(project)
    assert project.gguf("Q4_0").read_bytes() == files["gptq"]  # the same again
    full, ours = read(project.gguf("F16")).tensors, read(project.gguf("Q4_0")).tensors
    (tmp_path / "gptq.gguf").write_bytes(files["gptq"])
    convert_project(with_settings(project, 'rounding = "nearest"'))
    assert record(project)["Q4_0"]["rounding"] == "nearest"
    plain = read(project.gguf("Q4_0")).tensors
    ours = read(tmp_path / "gptq.gguf").tensors

    rows = encoded(project)
    measured = Calibration(of(project), project.adapter, rows, torch.float32, CPU).measured()
    seen = 0
    for name, held in (pair for layer in measured for pair in layer.items()):
        if {ours[name].type.name, plain[name].type.name} != {"Q4_0"}:
            continue
        wanted = dequantize(full[name].data, "F16")
        off = [dequantize(each[name].data, "Q4_0") - wanted for each in (ours, plain)]
        better, worse = (float(np.einsum("ij,jk,ik->", o, held.numpy(), o)) for o in off)
        assert better < worse, name
        seen += 1
    assert (
        seen == 2 * 4
    )  # queries, attention's output, gate, up; keys and values ship in eight bits, down in five
    downs = [
        (ours[f"blk.{layer}.ffn_down.weight"], plain[f"blk.{layer}.ffn_down.weight"]) for layer in range(2)
    ]
    assert [(one.type.name, other.type.name) for one, other in downs] == [("Q5_0", "Q4_0")] * 2
    assert ours["token_embd.weight"].data.tobytes() == plain["token_embd.weight"].data.tobytes()


def whole_model(project: Project, adapter: Path | None, rows: list[Encoded]) -> dict[str, torch.Tensor]:
    """X'X of every layer's inputs: transformers' own model, one row after another."""
    model = AutoModelForCausalLM.from_pretrained(str(of(project)), dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
    found: dict[str, torch.Tensor] = {}

    def take(name: str, module: torch.nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        x = given[0][0]
        found[name] = found.get(name, 0) + x.t() @ x

    for name, module in model.named_modules():
        known = LLAMA.to_gguf(f"{name}.weight") if isinstance(module, torch.nn.Linear) else None
        if known is not None and known.startswith("blk."):
            module.register_forward_pre_hook(partial(take, known))
    with torch.no_grad():
        for row in rows:
            model(input_ids=torch.tensor([row.ids]))
    return found


@pytest.mark.parametrize("kind", [DecoderInputs, ModuleInputs])
@pytest.mark.parametrize("batch", [64, 2048])
def test_layer_by_layer_is_the_whole_model(project: Project, monkeypatch, kind, batch: int) -> None:
    monkeypatch.setattr("appliance.layer_inputs.BATCH", batch)
    rows = encoded(project)[:24]
    assert len({len(row.ids) for row in rows}) > 1  # so there is padding
    inputs = kind(of(project), project.adapter, rows, torch.float32, CPU)
    layers = list(inputs.walk())
    assert len(layers) == 2
    wanted = whole_model(project, project.adapter, rows)
    found = {name: held for layer in layers for name, held in layer.items()}
    assert found.keys() == wanted.keys() and len(found) == 2 * 7
    for name, held in found.items():
        assert torch.allclose(
            held, wanted[name], rtol=1e-3, atol=1e-4 * float(wanted[name].diagonal().mean())
        )
    assert found["blk.0.attn_q.weight"] is found["blk.0.attn_v.weight"]
    assert found["blk.0.ffn_up.weight"] is not found["blk.0.ffn_down.weight"]


def test_what_rows_begin_with_goes_through_once(project: Project) -> None:
    rows = encoded(project)[:24]
    inputs = DecoderInputs(of(project), project.adapter, rows, torch.float32, CPU)
    computed = sum(len(batch.kept) for batch, _ in inputs._batches)
    assert computed < 0.8 * sum(len(row.ids) for row in rows)
    assert layer_inputs(of(project), None, rows, torch.float32, CPU).shares


@pytest.mark.parametrize("kind", [DecoderInputs, ModuleInputs])
def test_a_row_whose_answer_lies_beyond_what_is_run_is_run_so_far(
    project: Project, monkeypatch, kind
) -> None:
    monkeypatch.setattr("appliance.calibration.TOKENS", 8)
    monkeypatch.setattr("appliance.calibration.layer_inputs", kind)
    rows = encoded(project)[:6]
    assert all(not any(row.learnt[:8]) for row in rows)
    (first, _) = Calibration(of(project), project.adapter, rows, torch.float32, CPU).measured()
    cut = [replace(row, ids=row.ids[:8]) for row in rows]
    wanted = whole_model(project, project.adapter, cut)["blk.0.ffn_down.weight"]
    found = first["blk.0.ffn_down.weight"]
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.diagonal().mean()))


def test_without_the_memory_it_is_the_nearest_and_says_so(project: Project, monkeypatch) -> None:
    heard: list[Event] = []
    monkeypatch.setattr("appliance.training.estimate.free_memory", lambda: 10_000)
    convert_project(project, emit=heard.append)
    assert record(project)["Q4_0"]["rounding"] == "nearest"
    (warning,) = [event.text for event in heard if event.kind == "warning"]
    assert "rounded to the nearest" in warning and "GB of memory" in warning


def test_the_adapter_counts(project: Project) -> None:
    rows = encoded(project)[:4]
    with_it, without = (
        list(Calibration(of(project), adapter, rows, torch.float32, CPU).measured())
        for adapter in (project.adapter, None)
    )
    first = "blk.0.attn_q.weight"  # before any adapted matrix
    assert torch.equal(with_it[0][first], without[0][first])
    assert not torch.allclose(with_it[1]["blk.1.ffn_down.weight"], without[1]["blk.1.ffn_down.weight"])


def test_asked_in_any_order_it_answers_the_same(project: Project, monkeypatch) -> None:
    rows = encoded(project)[:4]
    plain = Calibration(of(project), project.adapter, rows, torch.float32, CPU)
    names = ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "blk.1.attn_k.weight", "blk.1.ffn_up.weight"]
    wanted = {name: plain.of(name) for name in names}
    assert plain.of("token_embd.weight") is None and plain.of("blk.0.attn_norm.weight") is None
    assert plain.of("blk.0.attn_v.weight") is wanted["blk.0.attn_q.weight"]
    monkeypatch.setattr("appliance.calibration.LEAST", 1)
    forgetful = Calibration(of(project), project.adapter, rows, torch.float32, CPU, kept=1)
    walks = 0
    real = forgetful._inputs.walk

    def walk() -> Iterator[Moments]:
        nonlocal walks
        walks += 1
        return real()

    monkeypatch.setattr(forgetful._inputs, "walk", walk)
    for name in [*names, *reversed(names)]:
        found = forgetful.of(name)
        assert found is not None and wanted[name] is not None
        assert np.array_equal(found.order, wanted[name].order)
        assert np.allclose(found.taken, wanted[name].taken, atol=1e-5)
    assert walks == 3  # forward, and again for the second layer and for the first


def test_layers_that_are_kept_are_not_run_again(project: Project) -> None:
    rows = encoded(project)[:4]
    kept = Calibration(of(project), project.adapter, rows, torch.float32, CPU)
    names = ["blk.0.attn_q.weight", "blk.1.ffn_up.weight"]
    first = [kept.of(name) for name in names]
    kept._inputs.walk = None  # type: ignore[method-assign]
    assert [kept.of(name) for name in reversed(names)] == first[::-1]


def test_as_many_rows_as_the_matrices_need(project: Project, monkeypatch) -> None:
    rows = read_rows(project.dataset / "train.jsonl")
    monkeypatch.setattr("appliance.calibration.ROWS", 8)
    monkeypatch.setattr("appliance.calibration.PER_COLUMN", 0)
    few = chosen(rows, of(project))
    assert [row.row_id for row in few] == [row.id for row in spread(rows, 8)]
    columns = json.loads((of(project) / "config.json").read_text())["intermediate_size"]
    tokens = sum(len(row.ids) for row in few)
    monkeypatch.setattr("appliance.calibration.PER_COLUMN", 2 * tokens / columns)
    assert len(chosen(rows, of(project))) == 16  # twice the tokens
    monkeypatch.setattr("appliance.calibration.PER_COLUMN", 10**6)
    assert len(chosen(rows, of(project))) == len(rows)


def test_without_rows_it_is_the_nearest_and_says_so(project: Project) -> None:
    (project.dataset / "train.jsonl").unlink()
    heard: list[Event] = []
    convert_project(project, emit=heard.append)
    assert record(project)["Q4_0"]["rounding"] == "nearest"
    (warning,) = [event.text for event in heard if event.kind == "warning"]
    assert "rounded to the nearest" in warning and "anchorhold dataset" in warning


@pytest.mark.parametrize(
    ("training", "convert", "grid_start", "compensates", "parts"),
    [
        ("", "", 1.0, True, MORE),
        ("grid_start = 0.5", "", 0.5, False, FEW),
        ("grid_start = 0.5", 'rounding = "gptq"', 0.5, True, MORE),
        ("", 'rounding = "nearest"', 0.5, False, FEW),
        ("grid_start = 1.0", 'rounding = "nearest"', 1.0, False, FEW),
        ("", 'type = "IQ4_NL"', 1.0, True, MORE),
        ("", 'type = "Q4_K"', 0.5, False, FEW),
        ("", 'type = "Q5_0"', 1.0, True, {}),
        ("", "overrides = {}", 1.0, True, {}),
        ("", 'type = "auto"', 1.0, True, {}),
    ],
)
def test_what_rounding_grid_and_mix_are_where_nothing_is_said(
    make_project, training, convert, grid_start, compensates, parts
):
    folder = make_project(training=training + "\n")
    with (folder / "anchorhold.toml").open("a") as stream:
        stream.write(f"\n[convert]\n{convert}\n")
    config = Project.open(folder).config
    assert (config.training.grid_start, config.compensates) == (grid_start, compensates)
    assert config.parts_of(config.convert.type) == parts
    assert config.grid is None or dict(config.grid["overrides"]) == parts


def test_rows_are_taken_evenly() -> None:
    assert spread(list(range(10)), 20) == list(range(10))
    assert spread(list(range(1000)), 4) == [0, 250, 500, 750]
    assert len(spread(list(range(129)), 128)) == 128
