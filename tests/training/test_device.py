"""Where it is computed: what is asked for and what is there, and the way that a GPU takes, walked on the CPU."""

from __future__ import annotations

import json

import pytest
import torch

from appliance.errors import TrainingError
from appliance.events import ignore
from appliance.training import curve, modules, session, train
from appliance.training.batches import Batch, collate
from appliance.training.checkpoints import MOMENTS
from appliance.training.device import CPU, device_of
from appliance.training.llama import LlamaTrainable, load
from appliance.training.modules import ModuleTrainable, load_on
from appliance.training.objective import TargetLoss
from tests.training.test_decoder import RECIPE, gradients, rows_of
from tests.training.test_session import prepared

CUDA = RECIPE.model_copy(update={"device": "cuda"})


def test_without_a_gpu_auto_is_the_cpu_and_asking_for_one_is_an_error(make_project, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(RECIPE) == CPU
    with pytest.raises(TrainingError, match="torch finds 0") as caught:
        device_of(CUDA)
    assert "built for CUDA" in caught.value.hint
    project, checkpoint = prepared(make_project(training='device = "cuda"\nepochs = 1.0\n'))
    with pytest.raises(TrainingError, match="'cuda'"):
        train(project, checkpoint, ignore)
    assert not project.adapter.exists()


def test_each_process_wants_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device_of(RECIPE) == device_of(CUDA) == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert device_of(RECIPE) == CPU
    with pytest.raises(TrainingError, match="3 needed, one a process, and torch finds 2"):
        device_of(CUDA)
    monkeypatch.delenv("LOCAL_WORLD_SIZE")
    assert device_of(CUDA) == torch.device("cuda", 0)
    assert device_of(CUDA.model_copy(update={"device": "cpu"})) == CPU
    assert chosen == [torch.device("cuda", 1)] * 2 + [torch.device("cuda", 0)]


@pytest.mark.parametrize("base", ["tiny_checkpoint", "tiny_qwen2"])
@pytest.mark.parametrize("limit", [modules.DENSE_LIMIT, 0])  # 0: torch's own attention, as on a GPU
def test_the_way_of_devices_computes_what_the_cpu_s_own_way_does(request, tmp_path, monkeypatch, base, limit):
    checkpoint = request.getfixturevalue(base)
    ours, theirs = (
        load(checkpoint, RECIPE, torch.float32, tmp_path),
        load_on(CPU, checkpoint, RECIPE, torch.float32),
    )
    assert isinstance(theirs, ModuleTrainable)
    assert isinstance(ours, LlamaTrainable) == (base == "tiny_checkpoint")
    assert ours.names == theirs.names
    for left, right in zip(ours.tensors(), theirs.tensors(), strict=True):
        assert torch.equal(left, right)  # the same fresh LoRA weights
    rows = rows_of([20, 31])
    value = ours.learn(collate(rows, share=ours.shares_prefix))
    monkeypatch.setattr(modules, "DENSE_LIMIT", limit)
    assert theirs.learn(collate(rows, share=False)) == pytest.approx(value, rel=1e-5)
    found = gradients(theirs)
    assert sum(bool(gradient.abs().max() > 0) for gradient in found.values()) == len(found) / 2  # those of B
    for name, gradient in gradients(ours).items():
        assert torch.allclose(found[name], gradient, atol=1e-4 * gradient.abs().max().item(), rtol=0), name


def test_the_loss_mixes_no_devices():
    """On a device that computes nothing a tensor left on the CPU would be refused."""
    hidden = torch.empty(300, 16, device="meta", requires_grad=True)
    batch = collate(rows_of([20, 31])).to(torch.device("meta"))
    assert {batch.prefix.device, batch.ids.device, batch.positions.device, batch.targets.device} == {
        torch.device("meta")
    }
    targets = torch.empty(300, dtype=torch.long, device="meta")
    loss = TargetLoss.apply(hidden, torch.empty(40, 16, device="meta"), targets)
    assert loss.device.type == "meta"
    loss.backward()
    assert hidden.grad.device.type == "meta"


class Stopped(Exception):
    """Ends a training from within."""


@pytest.mark.parametrize("grid_start", [1.0, 0.25])
def test_stopped_on_one_device_it_goes_on_on_another(make_project, monkeypatch, grid_start):
    recipe = (
        "epochs = 2.0\nbatch_rows = 8\nrank = 4\nlearning_rate = 5e-3\nevaluations = 2\nthreads = 1\n"
        f'dtype = "float32"\ngrid_start = {grid_start}\n'
    )
    whole, checkpoint = prepared(make_project("whole", training=recipe))
    steps = train(whole, checkpoint, ignore).steps
    broken, _ = prepared(make_project("broken", training=recipe))

    def stop(event):
        if event.data.get("loss") and event.done == steps // 2 + 1:
            raise Stopped

    with pytest.raises(Stopped):
        train(broken, checkpoint, stop, checkpoint_seconds=0.0)
    saved = torch.load(broken.training / "checkpoint.pt", weights_only=True)
    assert len(saved["masters"]) == len(saved["optimizer"][MOMENTS[0]]) == 2 * 7 * 2
    assert bool(saved["rounded"]) == (grid_start < 1)

    config = broken.root / "anchorhold.toml"
    config.write_text(config.read_text().replace("threads = 1\n", 'threads = 1\ndevice = "cpu"\n', 1))
    monkeypatch.setattr(session, "load", lambda base, recipe, dtype, _: load_on(CPU, base, recipe, dtype))
    events = []
    train(type(broken).open(broken.root), checkpoint, events.append)
    assert any(event.text.startswith("resumed after step") for event in events)
    one, two = (curve.read(project.training / "curve.jsonl") for project in (whole, broken))
    assert len(one) == len(two)
    for left, right in zip(one, two, strict=True):
        assert left == pytest.approx(right, rel=2e-4)
    assert json.loads((broken.training / "training.json").read_text())["device"] == "cpu"


def test_a_card_without_memory_is_told(make_project, monkeypatch) -> None:
    project, checkpoint = prepared(make_project(training='dtype = "float32"\nepochs = 1.0\n'))

    def full(_self: LlamaTrainable, _batch: Batch) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore of it")

    monkeypatch.setattr(LlamaTrainable, "learn", full)
    with pytest.raises(
        TrainingError, match=r"no memory left: CUDA out of memory\. Tried to allocate 2\.00 GiB\.$"
    ):
        train(project, checkpoint, ignore)
