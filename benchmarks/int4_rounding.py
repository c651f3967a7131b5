"""Rounding chosen by data, on Q4_0's own block grid: what can be done to a finished training instead of another one.

`Moments` holds what each matrix is multiplied with on some rows (second moments of its inputs). With them a weight's
importance can be told to libggml ("importance matrix"), its rounding chosen so that later weights of the row make up
for its error (GPTQ: Frantar et al. 2022, with the scales fixed beforehand and the most active inputs first), and the
scales fitted to what was rounded (least squares over a row). All of it gives bytes that llama.cpp reads as they are.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from appliance.training.encoding import Encoded
from convert import libggml
from convert.architectures import of_config
from convert.libggml import Bytes, Floats
from convert.vocabulary import read_json

BLOCK, TYPE = 32, "Q4_0"
DAMPING = 0.01  # of the mean second moment, added to each


class Moments:
    """X^T X of every linear layer's inputs, by the GGUF name of its matrix, float32 [columns, columns]."""

    def __init__(self, checkpoint: Path, adapter: Path, rows: Sequence[Encoded]) -> None:
        """Run base and adapter, merged, in float32 over `rows`."""
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        architecture = of_config(read_json(checkpoint / "config.json"))
        base = AutoModelForCausalLM.from_pretrained(
            str(checkpoint), dtype=torch.float32, local_files_only=True
        )
        model = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
        self.of: dict[str, torch.Tensor] = {}
        self.count = sum(len(row.ids) for row in rows)

        def hook(name: str) -> Any:
            def add(_module: Any, given: tuple[torch.Tensor, ...]) -> None:
                x = given[0].reshape(-1, given[0].shape[-1])
                self.of[name] = self.of.get(name, torch.zeros(x.shape[1], x.shape[1])).addmm_(x.t(), x)

            return add

        for name, module in model.named_modules():
            known = architecture.to_gguf(f"{name}.weight") if isinstance(module, torch.nn.Linear) else None
            if known and known != "output.weight":
                module.register_forward_pre_hook(hook(known))
        with torch.no_grad():
            for row in rows:
                model.model(input_ids=torch.tensor([row.ids]), use_cache=False)

    def importance(self, name: str) -> Floats | None:
        """Mean square of each input, [columns]; None for a matrix that was not run."""
        found = self.of.get(name)
        return None if found is None else (found.diagonal() / self.count).numpy().copy()


def with_importance(rows: Floats, importance: Floats) -> Bytes:
    """libggml's own Q4_0 with an importance matrix, which also searches each block's scale."""
    kind = libggml.TYPES[TYPE]
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    importance = np.ascontiguousarray(importance, dtype=np.float32)
    out = np.empty((len(rows), kind.row_bytes(rows.shape[1])), dtype=np.uint8)
    libggml.library().ggml_quantize_chunk(
        kind.number,
        rows.ctypes.data,
        out.ctypes.data,
        0,
        *rows.shape,
        ctypes.c_void_p(importance.ctypes.data),
    )
    return out


def unpacked(data: Bytes) -> tuple[Floats, Floats]:
    """Q4_0 bytes [rows, bytes] -> scales [rows, blocks] and levels -8..7 [rows, columns]."""
    blocks = data.reshape(len(data), -1, libggml.TYPES[TYPE].size)
    scales = np.ascontiguousarray(blocks[:, :, :2]).view(np.float16)[:, :, 0].astype(np.float32)
    nibbles = np.concatenate([blocks[:, :, 2:] & 15, blocks[:, :, 2:] >> 4], axis=2)
    return scales, (nibbles.astype(np.float32) - 8).reshape(len(data), -1)


def packed(scales: Floats, levels: Floats) -> Bytes:
    """The reverse of `unpacked`; scales are rounded to float16."""
    rows, blocks = scales.shape
    nibbles = (levels + 8).astype(np.uint8).reshape(rows, blocks, BLOCK)
    half = scales.astype(np.float16)[:, :, None].view(np.uint8)
    both = nibbles[:, :, : BLOCK // 2] | (nibbles[:, :, BLOCK // 2 :] << 4)
    return np.concatenate([half, both], axis=2).reshape(rows, -1)


def _inverse_factor(moments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The order of the columns, most active first, and the upper Cholesky factor of the inverse in that order."""
    order = torch.argsort(moments.diagonal(), descending=True)
    sorted_ = moments[order][:, order].double()
    sorted_ += DAMPING * sorted_.diagonal().mean() * torch.eye(len(sorted_), dtype=torch.float64)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(sorted_))
    return order, torch.linalg.cholesky(inverse, upper=True).float()


class Compensating:
    """GPTQ over the blocks of Q4_0, with libggml's scales or those of its importance matrix."""

    def __init__(self, moments: Moments, *, searched: bool = False, fit: bool = False) -> None:
        """Choose scales by search (`searched`), and fit them to the rounded weights afterwards (`fit`)."""
        self._moments, self._searched, self._fit = moments, searched, fit
        self._factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def __call__(self, name: str, rows: Floats, kind: str) -> Bytes:
        """A `convert.to_gguf.Quantize`."""
        importance = self._moments.importance(name)
        if kind != TYPE or importance is None:
            return libggml.quantize(rows, kind)
        first = with_importance(rows, importance) if self._searched else libggml.quantize(rows, kind)
        scales, _ = unpacked(first)
        if name not in self._factors:
            self._factors[name] = _inverse_factor(self._moments.of[name])
        levels = self._rounded(torch.from_numpy(rows), torch.from_numpy(scales), *self._factors[name])
        if self._fit:
            scales = fitted(rows, levels, self._moments.of[name])
        return packed(scales, levels)

    @staticmethod
    def _rounded(
        rows: torch.Tensor, scales: torch.Tensor, order: torch.Tensor, factor: torch.Tensor
    ) -> Floats:
        wide = scales.repeat_interleave(BLOCK, dim=1)[:, order].t().contiguous()
        left = rows[:, order].t().contiguous()  # [columns, rows]: a column's weights lie together
        levels = torch.zeros_like(left)
        reciprocal = torch.where(wide == 0, 0.0, 1.0 / wide)
        for at in range(len(left)):
            level = (left[at] * reciprocal[at]).round_().clamp_(-8, 7)
            levels[at] = level
            error = (left[at] - level * wide[at]) / factor[at, at]
            left[at + 1 :].addr_(factor[at, at + 1 :], error, alpha=-1)
        out = torch.empty_like(levels)
        out[order] = levels
        return out.t().contiguous().numpy()


def fitted(rows: Floats, levels: Floats, moments: torch.Tensor) -> Floats:
    """Scales [rows, blocks] that are nearest to `rows` in what comes out of the layer, for given levels."""
    w, q = torch.from_numpy(rows), torch.from_numpy(levels)
    count, columns = w.shape
    blocks = columns // BLOCK
    h = moments + DAMPING * moments.diagonal().mean() * torch.eye(columns)
    found = np.empty((count, blocks), dtype=np.float32)
    for row in range(count):
        by_block = torch.zeros(blocks, columns)
        by_block.view(blocks, blocks, BLOCK)[range(blocks), range(blocks)] = q[row].view(blocks, BLOCK)
        seen = by_block @ h
        normal = seen @ by_block.t()
        normal += 1e-6 * normal.diagonal().mean() * torch.eye(blocks)
        found[row] = torch.linalg.solve(normal, seen @ w[row]).numpy()
    return found
