"""Two processes take the steps that one takes: losses, gradients and so the adapter are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from appliance.paths import Project
from appliance.training import curve, train
from appliance.training.crew import Crew
from tests.training.test_session import prepared

ROOT = Path(__file__).resolve().parents[2]
# Three rows a step: the second process has one of them, and none in the last step of an odd epoch.
RECIPE = 'epochs = 3.0\nbatch_rows = 3\nrank = 4\nlearning_rate = 5e-3\ndtype = "float32"\nthreads = 1\n'
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "appliance")


def losses(project: Project) -> list[dict[str, float]]:
    return curve.read(project.training / "curve.jsonl")


@pytest.mark.slow
def test_two_processes_take_the_course_of_one(make_project):
    alone, checkpoint = prepared(make_project("alone", training=RECIPE))
    events = []
    result = train(alone, checkpoint, events.append)
    together, _ = prepared(make_project("together", training=RECIPE))
    done = subprocess.run(
        [sys.executable, *TORCHRUN, "train", "--project", str(together.root)],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two = losses(alone), losses(together)
    assert [sorted(point) for point in one] == [sorted(point) for point in two]
    for left, right in zip(one, two, strict=True):
        # Another order of summation tips a weight to the next level of the grid now and then, and that grows.
        assert left == pytest.approx(right, rel=2e-4 if left["step"] <= result.steps // 2 else 1e-2)
    assert sum("loss" in point for point in two) == result.steps
    mine, theirs = (load_file(p.adapter / "adapter_model.safetensors") for p in (alone, together))
    for name, tensor in mine.items():
        assert torch.allclose(tensor, theirs[name], atol=2e-3), name
    assert done.stdout.count("adapter: ") == 1  # one of them speaks


def test_alone_nothing_is_shared(monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    crew = Crew()
    monkeypatch.setenv("RANK", "3")  # some other program's: it must not make us silent
    assert Crew().leads
    master = torch.ones(3, requires_grad=True)
    master.grad = torch.full((3,), 2.0)
    assert crew.leads
    assert crew.part([4, 5, 6]) == [4, 5, 6]
    assert crew.combine(0.25, 7, [master]) == 0.25
    assert master.grad.tolist() == [2.0] * 3
    assert crew.sums(1.5, 2) == [1.5, 2]
    assert crew.told("word") == "word"
