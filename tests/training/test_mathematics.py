"""The quick ways compute what the plain ways compute."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from appliance.config import TrainingSection
from appliance.training.batches import collate
from appliance.training.encoding import Encoded
from appliance.training.modules import LoraProduct, ModuleTrainable, load_modules
from appliance.training.objective import TargetLoss


def test_the_fused_lora_product_has_the_plain_one_s_value_and_gradients():
    torch.manual_seed(0)
    x, a, b = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((5, 7), (3, 7), (4, 3))
    )
    weight = torch.randn(4, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda *parts: LoraProduct.apply(parts[0], weight, *parts[1:], 0.5), (x, a, b)
    )
    plain = x @ weight.t() + 0.5 * (x @ a.t()) @ b.t()
    assert torch.allclose(LoraProduct.apply(x, weight, a, b, 0.5), plain)


@pytest.mark.parametrize("targets", [1, 255, 600])
def test_the_chunked_loss_is_cross_entropy(targets):
    torch.manual_seed(0)
    projection = torch.randn(300, 16)
    hidden = torch.randn(targets, 16, requires_grad=True)
    wanted = torch.randint(0, 300, (targets,))
    loss = TargetLoss.apply(hidden, projection, wanted)
    (gradient,) = torch.autograd.grad(loss, hidden)
    plain = torch.nn.functional.cross_entropy(hidden @ projection.t(), wanted)
    (expected,) = torch.autograd.grad(plain, hidden)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-6)
    assert torch.allclose(gradient, expected, atol=1e-7)


def rows_of(lengths):
    chance = torch.Generator().manual_seed(5)
    rows = []
    for number, length in enumerate(lengths):
        ids = torch.randint(10, 49000, (length,), generator=chance).tolist()
        rows.append(Encoded(f"r{number}", tuple(ids), tuple(place >= length // 2 for place in range(length))))
    return rows


def modules(checkpoint: Path) -> ModuleTrainable:
    recipe = TrainingSection(rank=4, alpha=8.0)
    return ModuleTrainable(load_modules(checkpoint, recipe, torch.float32), torch.float32, fused=True)


def test_a_padded_batch_has_the_loss_of_its_rows_by_transformers_own_forward(tiny_checkpoint: Path):
    rows = rows_of([9, 30, 17])
    ours = modules(tiny_checkpoint).loss(collate(rows, share=False))
    plain = AutoModelForCausalLM.from_pretrained(str(tiny_checkpoint), local_files_only=True)
    total, targets = 0.0, 0
    with torch.no_grad():
        for row in rows:
            labels = [token if learnt else -100 for token, learnt in zip(row.ids, row.learnt, strict=True)]
            out = plain(input_ids=torch.tensor([row.ids]), labels=torch.tensor([labels]))
            total, targets = total + out.loss.item() * row.targets, targets + row.targets
    # A fresh LoRA adds nothing, so the base's own loss is expected.
    assert ours == pytest.approx(total / targets, rel=1e-5)


def test_every_linear_layer_learns(tiny_checkpoint: Path):
    trainable = modules(tiny_checkpoint)
    trainable.learn(collate(rows_of([12, 20]), share=False))
    assert len(trainable.names) == 2 * 7 * 2  # layers x linear layers x (A, B)
    moved = [
        name
        for name, master in zip(trainable.names, trainable.masters, strict=True)
        if master.grad.abs().sum()
    ]
    assert sorted(moved) == sorted(
        name for name in trainable.names if ".lora_B." in name
    )  # A's wait for B to move
    assert all(math.isfinite(master.grad.abs().sum().item()) for master in trainable.masters)
