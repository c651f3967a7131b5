"""What a project's weights are rounded by: its own training rows through its own model, or to the nearest, and told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.base_model import resolve
from appliance.calibration import Calibration, spread
from appliance.conversion import convert_project
from appliance.dataset import prepare, read_rows
from appliance.events import Event, ignore
from appliance.paths import Project
from appliance.training import train
from appliance.training.session import encode_with
from convert.compensated import Compensation
from convert.gguf_file import read
from convert.libggml import dequantize

CPU = torch.device("cpu")
RUN = 'epochs = 1.0\nbatch_rows = 8\nrank = 4\nlearning_rate = 1e-2\nevaluations = 1\nthreads = 1\ndtype = "float32"\n'


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
    moments = Calibration(of(project), project.adapter, rows, torch.float32, CPU)
    moments.begin()
    seen = 0
    for name, held in moments.measured().items():
        if ours[name].type.name != "Q4_0":
            continue
        wanted = dequantize(full[name].data, "F16")
        off = [dequantize(each[name].data, "Q4_0") - wanted for each in (ours, plain)]
        better, worse = (float(np.einsum("ij,jk,ik->", o, held.numpy(), o)) for o in off)
        assert better < worse, name
        seen += 1
    assert seen == 2 * 5  # queries, attention's output, gate, up, down; keys and values ship in eight bits
    assert ours["token_embd.weight"].data.tobytes() == plain["token_embd.weight"].data.tobytes()


def test_parts_and_padding_change_nothing(project: Project) -> None:
    rows = encoded(project)[:12]
    whole = Calibration(of(project), project.adapter, rows, torch.float32, CPU)
    parts = Calibration(of(project), project.adapter, rows, torch.float32, CPU, budget=1)
    assert len(whole._parts) == 1 and len(parts._parts) == 2
    alone = [Calibration(of(project), project.adapter, [row], torch.float32, CPU) for row in rows]
    for each in (whole, *alone):
        each.begin()
    for name, held in whole.measured().items():
        summed = sum(each.measured()[name] for each in alone)  # one row a time has no padding
        assert torch.allclose(held, summed, rtol=1e-3, atol=1e-4 * float(held.diagonal().mean()))
    for name in sorted(whole._modules, reverse=True):  # the wrong way round: layers are measured anew
        one, other = whole.of(name), parts.of(name)
        assert isinstance(one, Compensation) and isinstance(other, Compensation)
        assert np.array_equal(one.order, other.order) and np.allclose(one.spread, other.spread, atol=1e-3)
    assert whole.of("token_embd.weight") is None and whole.of("blk.0.attn_norm.weight") is None
    assert whole.of("blk.0.attn_q.weight") is whole.of("blk.0.attn_v.weight")


def test_a_thread_that_is_behind_starts_nothing_anew(project: Project) -> None:
    rows, told = encoded(project)[:4], []
    parts = Calibration(
        of(project),
        project.adapter,
        rows,
        torch.float32,
        CPU,
        lambda done, total: told.append((done, total)),
        budget=1,
    )
    first, second = "blk.0.ffn_down.weight", "blk.1.attn_q.weight"
    before = parts.of(first)
    assert told[-1] == (4, 4)
    runs = len(told)
    assert parts.of(second) is not before and len(told) == 2 * runs
    assert parts.of(first) is before and len(told) == 2 * runs
    assert parts.of("blk.0.attn_q.weight") is not None and len(told) == 3 * runs  # not asked before


def test_the_adapter_counts(project: Project) -> None:
    rows = encoded(project)[:4]
    with_it = Calibration(of(project), project.adapter, rows, torch.float32, CPU)
    without = Calibration(of(project), None, rows, torch.float32, CPU)
    for each in (with_it, without):
        each.begin()
    first = "blk.0.attn_q.weight"  # before any adapted matrix
    assert torch.equal(with_it.measured()[first], without.measured()[first])
    assert not torch.allclose(
        with_it.measured()["blk.1.ffn_down.weight"], without.measured()["blk.1.ffn_down.weight"]
    )


def test_without_rows_it_is_the_nearest_and_says_so(project: Project) -> None:
    (project.dataset / "train.jsonl").unlink()
    heard: list[Event] = []
    convert_project(project, emit=heard.append)
    assert record(project)["Q4_0"]["rounding"] == "nearest"
    (warning,) = [event.text for event in heard if event.kind == "warning"]
    assert "rounded to the nearest" in warning and "anchorhold dataset" in warning


@pytest.mark.parametrize(
    ("training", "convert", "grid_start", "compensates"),
    [
        ("", "", 1.0, True),
        ("grid_start = 0.5", "", 0.5, False),
        ("grid_start = 0.5", 'rounding = "gptq"', 0.5, True),
        ("", 'rounding = "nearest"', 0.5, False),
        ("grid_start = 1.0", 'rounding = "nearest"', 1.0, False),
        ("", 'type = "Q4_K"', 0.5, False),
        ("", 'type = "auto"', 1.0, True),
    ],
)
def test_what_rounding_and_grid_are_where_nothing_is_said(
    make_project, training, convert, grid_start, compensates
):
    folder = make_project(training=training + "\n")
    with (folder / "anchorhold.toml").open("a") as stream:
        stream.write(f"\n[convert]\n{convert}\n")
    config = Project.open(folder).config
    assert (config.training.grid_start, config.compensates) == (grid_start, compensates)


def test_rows_are_taken_evenly() -> None:
    assert spread(list(range(10)), 20) == list(range(10))
    assert spread(list(range(1000)), 4) == [0, 250, 500, 750]
    assert len(spread(list(range(129)))) == 128
