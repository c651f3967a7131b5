"""A base in two processes' hands: the course of one process, about half of the weights in each."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from appliance.errors import TrainingError
from appliance.events import ignore
from appliance.training import curve, train
from appliance.training.llama import load
from tests.training.test_crew import RECIPE, ROOT
from tests.training.test_modules import RECIPE as SMALL
from tests.training.test_modules import based_on
from tests.training.test_session import prepared

SHARDED = RECIPE + "shard = true\n"


def by_two(*command: str) -> str:
    """What two processes that torchrun starts say; they find each other over loopback."""
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny_checkpoint", "tiny_biased"])
def test_sharded_two_processes_take_the_course_of_one(request, make_project, tiny_checkpoint, base):
    base = request.getfixturevalue(base)
    alone, checkpoint = prepared(based_on(make_project("alone", training=RECIPE), tiny_checkpoint, base))
    result = train(alone, checkpoint, ignore)
    together, _ = prepared(based_on(make_project("together", training=SHARDED), tiny_checkpoint, base))
    by_two("-m", "appliance", "train", "--project", str(together.root))
    one, two = (curve.read(project.training / "curve.jsonl") for project in (alone, together))
    assert [sorted(point) for point in one] == [sorted(point) for point in two]
    for left, right in zip(one, two, strict=True):
        # Another order of summation tips a weight to the next level of the grid now and then, and that grows.
        assert left == pytest.approx(right, rel=2e-4 if left["step"] <= result.steps // 2 else 1e-2)
    assert sum("loss" in point for point in two) == result.steps
    mine, theirs = (load_file(p.adapter / "adapter_model.safetensors") for p in (alone, together))
    for name, tensor in mine.items():
        assert torch.allclose(tensor, theirs[name], atol=2e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("base", ["tiny_checkpoint", "tiny_biased"])
def test_each_process_holds_half_of_the_weights_and_the_same_fresh_adapter(request, tmp_path, base):
    checkpoint = request.getfixturevalue(base)
    by_two("-m", "tests.training.holding", str(checkpoint), str(tmp_path))
    frozen = sum(tensor.numel() for tensor in load_file(checkpoint / "model.safetensors").values()) * 4
    whole = load(checkpoint, SMALL, torch.float32, tmp_path).adapter()
    lora = sum(tensor.numel() for tensor in whole.values()) * 4
    for rank in range(2):
        said = json.loads((tmp_path / f"{rank}.json").read_text())
        assert {name: tensor.tolist() for name, tensor in whole.items()} == said["factors"]
        for moment in ("loaded", "learnt"):
            # Beside its share: the LoRA weights twice, rotary angles, and small change.
            assert 0.49 * frozen < said[moment] < 0.51 * frozen + 3 * lora, moment


def test_one_process_alone_has_nothing_to_share_with(make_project, monkeypatch):
    for name in ("WORLD_SIZE", "RANK"):
        monkeypatch.delenv(name, raising=False)
    project, checkpoint = prepared(make_project(training=SHARDED))
    with pytest.raises(TrainingError, match="this is the only one") as caught:
        train(project, checkpoint, ignore)
    assert "torchrun" in caught.value.hint
    assert not project.adapter.exists()
