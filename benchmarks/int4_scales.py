"""Scales learnt after rounding: levels stay what GPTQ chose, each block's scale goes down a gradient.

Used by `benchmarks.int4_ladder` alone. The 16-bit model teaches: the loss is the KL divergence between its predictions
and the rounded model's where training rows' answers are learnt. A scale is `s0 * exp(t)`, t begins at 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from appliance.training.batches import collate
from appliance.training.encoding import Encoded
from benchmarks.int4_rounding import BLOCK, TYPE, packed, unpacked
from convert import architectures
from convert.gguf_header import open_header
from convert.libggml import Bytes
from convert.vocabulary import read_json

RATE, STEPS, ROWS = 1e-3, 48, 16


@dataclass
class _Matrix:
    """One Q4_0 matrix in the checkpoint's order of rows: scales [rows, blocks], levels [rows, columns], t as scales."""

    weight: torch.nn.Parameter
    scales: torch.Tensor
    levels: torch.Tensor
    t: torch.Tensor
    order: np.ndarray | None

    def push(self) -> None:
        """Bring the scales into the weight that is computed with."""
        now = (self.scales * self.t.exp()).half().float()  # as the file holds them
        wide = self.levels.view(*now.shape, BLOCK).float() * now[:, :, None]
        self.weight.data.copy_(wide.view_as(self.weight))

    def pull(self) -> None:
        """The gradient of t, from that of the weight."""
        assert self.weight.grad is not None
        per_block = self.weight.grad.float().view(*self.scales.shape, BLOCK) * self.levels.view(
            *self.scales.shape, BLOCK
        )
        self.t.grad = per_block.sum(-1) * self.scales * self.t.detach().exp()
        self.weight.grad = None


class Learning:
    """Scales of one rounded file, learnt."""

    def __init__(self, file: Path, rounded: Path, full: Path, rows: Sequence[Encoded]) -> None:
        """Learn them.

        Args:
            file: the rounded model's GGUF.
            rounded, full: checkpoints of the rounded model and of the 16-bit one.
            rows: what to learn from.
        """
        blocks = {name: np.array(data) for name, data in _matrices_in(file, "r")}
        from transformers import AutoModelForCausalLM

        def load(path: Path) -> Any:
            return AutoModelForCausalLM.from_pretrained(
                str(path), dtype=torch.bfloat16, local_files_only=True
            )

        self._model, self._teacher = load(rounded), load(full).eval()
        config = read_json(rounded / "config.json")
        architecture = architectures.of_config(config)
        self._matrices: dict[str, _Matrix] = {}
        for name, weight in self._model.named_parameters():
            known = architecture.to_gguf(name)
            weight.requires_grad_(known in blocks)
            if known in blocks:
                self._matrices[known] = _matrix(weight, blocks[known], architecture.heads_of(known), config)
        optimizer = torch.optim.Adam([matrix.t for matrix in self._matrices.values()], lr=RATE)
        self.losses = [self._step(rows, step, optimizer) for step in range(STEPS)]
        del self._teacher, self._model

    def _step(self, rows: Sequence[Encoded], step: int, optimizer: torch.optim.Optimizer) -> float:
        chance = torch.Generator().manual_seed(step)
        chosen = [rows[int(n)] for n in torch.randint(len(rows), (ROWS,), generator=chance)]
        batch = collate(chosen, share=False)
        at = batch.positions[: batch.learnt]
        head = self._model.lm_head.weight

        def said(model: Any) -> torch.Tensor:
            hidden = model.model(input_ids=batch.ids, use_cache=False).last_hidden_state
            return torch.log_softmax((hidden.flatten(0, 1)[at] @ head.t()).float(), dim=-1)

        with torch.no_grad():
            theirs = said(self._teacher)
        loss = torch.nn.functional.kl_div(said(self._model), theirs, log_target=True, reduction="batchmean")
        loss.backward()  # type: ignore[no-untyped-call]
        for matrix in self._matrices.values():
            matrix.pull()
        optimizer.step()
        for matrix in self._matrices.values():
            matrix.push()
        return float(loss.detach())

    def patch(self, file: Path) -> None:
        """Put the learnt scales into the GGUF that they were learnt for."""
        for name, data in _matrices_in(file, "r+"):
            found = self._matrices[name]
            scales = (found.scales * found.t.detach().exp()).numpy()
            levels = found.levels.float().numpy()
            if found.order is not None:
                scales, levels = scales[found.order], levels[found.order]
            data[:] = packed(scales, levels)


def _matrices_in(file: Path, mode: Literal["r", "r+"]) -> Iterator[tuple[str, Bytes]]:
    """Each Q4_0 matrix of the layers in a GGUF, [rows, bytes], mapped."""
    for name, tensor in open_header(file).tensors.items():
        if tensor.type.name == TYPE and name.startswith("blk."):
            rows = tensor.shape[0]
            yield name, np.memmap(file, np.uint8, mode, tensor.begin, (rows, tensor.bytes // rows))


def _matrix(weight: torch.nn.Parameter, data: Bytes, heads: str | None, config: dict[str, Any]) -> _Matrix:
    scales, levels = unpacked(data)
    order = None
    if heads is not None:
        order = architectures.permutation(len(scales), int(config[heads]))
        back = np.argsort(order)
        scales, levels = scales[back], levels[back]
    start = torch.from_numpy(np.ascontiguousarray(scales))
    kept = torch.from_numpy(np.ascontiguousarray(levels.astype(np.int8)))
    return _Matrix(weight, start, kept, torch.zeros_like(start, requires_grad=True), order)
