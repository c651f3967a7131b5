"""Rounding by data on Q4_0's block grid that the product doesn't use: what else can be done to a finished training.

A weight's importance told to libggml ("importance matrix"), and scales fitted to what the product's own rounding
(convert/compensated.py) made of the levels, by least squares over a row. All of it gives bytes that llama.cpp reads as
they are. What goes into the layers is the product's `Calibration`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from appliance.calibration import Calibration
from appliance.training.encoding import Encoded
from convert import libggml
from convert.compensated import quantize_compensated
from convert.libggml import Bytes, Floats

BLOCK, TYPE = 32, "Q4_0"
DAMPING = 0.01  # of the mean second moment, added to each


class Moments:
    """X^T X of every linear layer's inputs, by the GGUF name of its matrix, float32 [columns, columns]."""

    def __init__(self, checkpoint: Path, adapter: Path, rows: Sequence[Encoded], dtype: torch.dtype) -> None:
        """Run base and adapter, merged, over `rows`."""
        self.calibration = Calibration(checkpoint, adapter, rows, dtype, torch.device("cpu"))
        self.of = {name: held for layer in self.calibration.measured() for name, held in layer.items()}
        self.count = sum(len(row.ids) for row in rows)

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


class Compensating:
    """The product's rounding; with `fit`, scales fitted to the levels afterwards."""

    def __init__(self, moments: Moments, *, fit: bool = False) -> None:
        """Of an adapter."""
        self._moments, self._fit = moments, fit

    def __call__(self, name: str, rows: Floats, kind: str) -> Bytes:
        """A `convert.to_gguf.Quantize`."""
        how = self._moments.calibration.of(name) if kind == TYPE else None
        if how is None:
            return libggml.quantize(rows, kind)
        found = quantize_compensated(rows, TYPE, how)
        if not self._fit:
            return found
        _, levels = unpacked(found)
        return packed(fitted(rows, levels, self._moments.of[name]), levels)


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
