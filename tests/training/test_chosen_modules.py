"""Some of the linear layers learn, the rest are as they were: in both ways to compute, in the file, and by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.config import TrainingSection
from appliance.conversion import convert_project
from appliance.errors import TrainingError
from appliance.events import ignore
from appliance.training import train
from appliance.training.batches import collate
from appliance.training.llama import LlamaTrainable, load
from appliance.training.modules import ModuleTrainable, load_modules
from convert.gguf_file import read
from tests.training.test_decoder import gradients, rows_of
from tests.training.test_session import prepared

RECIPE = TrainingSection(rank=4, alpha=8.0, modules=("q_proj", "v_proj"))


def moved(trainable):
    """The same LoRA weights in each, by their names."""
    with torch.no_grad():
        for name, tensor in zip(trainable.names, trainable.tensors(), strict=True):
            chance = torch.Generator().manual_seed(sum(name.encode()))
            tensor.copy_(0.05 * torch.randn(tensor.shape, generator=chance))
    trainable.push_weights()
    return trainable


def test_loss_and_gradients_are_those_of_peft_with_these_modules(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    ours = moved(load(tiny_checkpoint, RECIPE, torch.float32, tmp_path))
    assert isinstance(ours, LlamaTrainable)
    plain = moved(
        ModuleTrainable(load_modules(tiny_checkpoint, RECIPE, torch.float32), torch.float32, fused=False)
    )
    assert ours.names == plain.names and len(ours.names) == 2 * 2 * 2
    assert ours.settings["target_modules"] == plain.settings["target_modules"] == ["q_proj", "v_proj"]
    rows = rows_of([9, 30, 17])
    expected = plain.learn(collate(rows, share=False))
    assert ours.learn(collate(rows)) == pytest.approx(expected, rel=1e-5)
    found = gradients(ours)
    for name, gradient in gradients(plain).items():
        assert torch.allclose(found[name], gradient, atol=1e-4 * gradient.abs().max().item(), rtol=0), name
    (flat,) = ours.masters
    assert flat.grad is not None
    assert int((flat.grad != 0).sum()) <= sum(tensor.numel() for tensor in ours.tensors())


RUN = 'epochs = 1.0\nbatch_rows = 8\nrank = 4\nlearning_rate = 1e-2\nevaluations = 1\nthreads = 1\ndtype = "float32"\n'


@pytest.mark.parametrize(
    "more", ["", "dropout = 0.1\n", "grid_start = 0.5\n", "grid_start = 0.5\ndropout = 0.1\n"]
)
def test_a_file_differs_in_them_alone(make_project, more: str) -> None:
    project, checkpoint = prepared(make_project(training=RUN + 'modules = ["v_proj", "q_proj"]\n' + more))
    train(project, checkpoint, ignore)
    convert_project(project, ["F16"])
    convert_project(project, ["F16"], base_only=True)
    tuned, base = read(project.gguf("F16")).tensors, read(project.model / "base-f16.gguf").tensors
    changed = {name for name, tensor in tuned.items() if not np.array_equal(tensor.data, base[name].data)}
    assert changed == {f"blk.{layer}.attn_{which}.weight" for layer in range(2) for which in "qv"}


@pytest.mark.parametrize("base", ["tiny_checkpoint", "tiny_biased"])
def test_a_slip_is_named(request, base: str, tmp_path: Path) -> None:
    recipe = TrainingSection(modules=("q_proj", "v_prj"))
    with pytest.raises(TrainingError, match="no linear layers called 'v_prj'") as caught:
        load(request.getfixturevalue(base), recipe, torch.float32, tmp_path)
    assert caught.value.hint == "did you mean 'v_proj'?"
