"""Whole trainings of a tiny real model: they learn, stop, and go on after `kill -9` on the same course."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance import storage
from appliance.base_model import resolve
from appliance.dataset import prepare
from appliance.errors import TrainingError
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline.road import code_digest
from appliance.training import curve, loop, train
from appliance.training.probe import Probe, probe


def prepared(folder: Path) -> tuple[Project, Path]:
    project = Project.open(folder)
    checkpoint = resolve(project.config.base.path, project.root)
    prepare(project, ignore)
    return project, checkpoint


def test_a_training_learns_and_keeps_its_best_adapter(make_project):
    recipe = 'epochs = 8.0\nbatch_rows = 8\nrank = 8\nlearning_rate = 1e-2\ndtype = "float32"\nthreads = 1\n'
    folder = make_project(training=recipe)
    rows = folder / "data" / "rows.jsonl"
    text = rows.read_text().replace("state", "condition").replace('unit\\"', 'machine\\"')
    rows.write_text(text.replace("down", "wants a fitter"))  # what the tiny base doesn't know
    project, checkpoint = prepared(folder)
    events = []
    result = train(project, checkpoint, events.append)
    points = curve.read(project.training / "curve.jsonl")
    losses = [point["loss"] for point in points if "loss" in point]
    assert losses[-1] < 0.5 * losses[0]
    validation = [point["validation_loss"] for point in points if "validation_loss" in point]
    assert result.best_loss <= min(validation) * (1 + project.config.training.tie)
    assert result.adapter_sha256 == storage.sha256_file(project.adapter / "adapter_model.safetensors")
    assert "lowest" in (project.training / "curve.svg").read_text()
    assert sum("loss" in event.data for event in events) == result.steps


def test_peft_reads_the_adapter(make_project, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from appliance.training.llama import load

    project, checkpoint = prepared(make_project())
    train(project, checkpoint, ignore)
    base = AutoModelForCausalLM.from_pretrained(str(checkpoint), local_files_only=True)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        before = base(ids).logits
        tuned = PeftModel.from_pretrained(base, str(project.adapter))(ids).logits
    assert (tuned - before).abs().max() > 1e-4
    assert str(project.root) not in (project.adapter / "adapter_config.json").read_text()
    assert load(
        checkpoint, project.config.training, torch.float32, tmp_path
    ).names  # the same names that were written


def test_killed_and_resumed_it_takes_the_same_course(make_project, tmp_path):
    recipe = 'epochs = 6.0\nbatch_rows = 4\nrank = 4\ndtype = "float32"\nthreads = 1\nevaluations = 3\n'
    whole, checkpoint = prepared(make_project("whole", training=recipe))
    code = code_digest(("appliance/training",))  # what the verb says of itself
    train(whole, checkpoint, ignore, code=code)
    broken, _ = prepared(make_project("broken", training=recipe))
    command = [
        sys.executable,
        "-m",
        "appliance",
        "train",
        "--project",
        str(broken.root),
        "--checkpoint-seconds",
        "0",
    ]
    path = broken.training / "curve.jsonl"
    for goal in (3, 20):
        process = subprocess.Popen(
            command, env={**os.environ}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while len(curve.read(path)) < goal and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    messages = []
    train(broken, checkpoint, messages.append, code=code)
    assert any("resumed after step" in event.text for event in messages)
    assert curve.read(path) == curve.read(whole.training / "curve.jsonl")
    name = "adapter_model.safetensors"
    assert storage.sha256_file(broken.adapter / name) == storage.sha256_file(whole.adapter / name)


def test_a_changed_recipe_begins_again(make_project):
    folder = make_project()
    project, checkpoint = prepared(folder)
    train(project, checkpoint, ignore)
    text = (folder / "anchorhold.toml").read_text().replace("alpha = 8.0", "alpha = 4.0")
    (folder / "anchorhold.toml").write_text(text)
    events = []
    train(Project.open(folder), checkpoint, events.append)
    assert not any("resumed" in event.text for event in events)


def test_a_loss_that_is_no_number_stops_with_the_reason(make_project):
    recipe = "epochs = 8.0\nbatch_rows = 4\nlearning_rate = 0.99\ngradient_clip = 1e30\nwarmup = 0.0\n"
    folder = make_project(training=recipe + 'alpha = 1e30\ndtype = "float32"\nthreads = 1\nrank = 4\n')
    project, checkpoint = prepared(folder)
    with pytest.raises(TrainingError, match=r"became (nan|inf)|norm (nan|inf)") as caught:
        train(project, checkpoint, ignore)
    assert "learning_rate" in caught.value.hint


def test_patience_ends_a_training_that_gets_no_better(make_project):
    recipe = (
        "epochs = 30.0\nbatch_rows = 8\nrank = 4\nevaluations = 20\npatience = 2\nmin_delta = 100.0\n"
        "grid_start = 1.0\n"
        'dtype = "float32"\nthreads = 1\n'
    )
    project, checkpoint = prepared(make_project(training=recipe))
    result = train(project, checkpoint, ignore)
    assert result.stopped_early
    assert len([p for p in curve.read(project.training / "curve.jsonl") if "validation_loss" in p]) == 3


def test_a_cut_checkpoint_is_named(make_project):
    project, checkpoint = prepared(make_project())
    train(project, checkpoint, ignore)
    path = project.training / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingError, match=r"checkpoint\.pt: can't be read") as caught:
        train(project, checkpoint, ignore)
    assert "--restart" in caught.value.hint


def test_training_json_says_what_was_done(make_project):
    project, checkpoint = prepared(make_project())
    result = train(project, checkpoint, ignore)
    recorded = json.loads((project.training / "training.json").read_text())
    assert recorded["steps"] == result.steps
    assert recorded["dtype"] == "float32"


def test_the_probe_measures_both_types_and_chooses_the_clear_winner():
    import torch

    measured = probe(0.2)
    assert measured.float32 > 0 and measured.bfloat16 > 0
    assert Probe(100.0, 200.0).choice is torch.bfloat16
    assert Probe(100.0, 105.0).choice is torch.float32


@pytest.mark.parametrize("harm", ["lost", "changed"])
def test_a_best_adapter_that_was_harmed_is_put_back_from_the_checkpoint(make_project, harm):
    project, checkpoint = prepared(make_project())
    result = train(project, checkpoint, ignore)
    path = project.adapter / "adapter_model.safetensors"
    if harm == "lost":
        path.unlink()
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    again = train(project, checkpoint, ignore)
    assert again.adapter_sha256 == result.adapter_sha256 == storage.sha256_file(path)


def test_another_program_does_not_go_on_with_a_checkpoint(make_project):
    project, checkpoint = prepared(make_project())
    train(project, checkpoint, ignore)
    events = []
    train(project, checkpoint, events.append, code="another")
    assert not any("resumed" in event.text for event in events)


@pytest.mark.parametrize(("tie", "kept"), [(0.05, 3), (0.0, 2)])
def test_of_losses_that_are_about_equal_the_later_adapter_is_kept(make_project, monkeypatch, tie, kept):
    recipe = (
        f"epochs = 4.0\nbatch_rows = 8\nrank = 4\nevaluations = 4\ntie = {tie}\ngrid_start = 1.0\n"
        'dtype = "float32"\nthreads = 1\n'
    )
    project, checkpoint = prepared(make_project(training=recipe))
    said = iter((1.0, 0.5, 0.52, 0.6))
    monkeypatch.setattr(loop.Loop, "validate", lambda _: next(said))
    events = []
    result = train(project, checkpoint, events.append)
    evaluated = [event for event in events if "validation_loss" in event.data]
    assert [event.text.endswith("(kept)") for event in evaluated] == [True, True, kept == 3, False]
    assert result.best_step == evaluated[kept - 1].done
    assert result.best_loss == (0.52 if kept == 3 else 0.5)
    assert result.adapter_sha256 == storage.sha256_file(project.adapter / "adapter_model.safetensors")
