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
from convert.compensated import choose_levels, quantize_compensated, reciprocals
from convert.libggml import Bytes, Floats

BLOCK, TYPE = 32, "Q4_0"
_LEVELS = np.arange(-8, 8, dtype=np.float32)
_FACTORS = np.linspace(0.75, 1.05, 13)  # of libggml's scale, which lets no weight be cut off
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
    """The product's rounding; with `fit`, scales fitted to the levels afterwards; with `search`, chosen before."""

    def __init__(self, moments: Moments, *, fit: bool = False, search: bool = False) -> None:
        """Of an adapter."""
        self._moments, self._fit, self._search = moments, fit, search

    def __call__(self, name: str, rows: Floats, kind: str) -> Bytes:
        """A `convert.to_gguf.Quantize`."""
        how = self._moments.calibration.of(name) if kind == TYPE else None
        if how is None:
            return libggml.quantize(rows, kind)
        if self._search:
            scales = searched(rows, self._moments.of[name].diagonal().numpy())
            chosen = choose_levels(rows, scales, np.zeros_like(scales), _LEVELS, how)
            return packed(scales, chosen.astype(np.float32) - 8)
        found = quantize_compensated(rows, TYPE, how)
        if not self._fit:
            return found
        _, levels = unpacked(found)
        return packed(fitted(rows, levels, self._moments.of[name]), levels)


def searched(rows: Floats, importance: Floats) -> Floats:
    """Scales [rows, blocks] whose nearest levels are best by the inputs' mean squares [columns]; float16 in float32."""
    scales, _ = unpacked(libggml.quantize(rows, TYPE))
    w, h = rows.reshape(*scales.shape, BLOCK), importance.reshape(-1, BLOCK)
    best, least = scales.copy(), np.full(scales.shape, np.inf, dtype=np.float32)
    for factor in _FACTORS:
        tried = (scales * np.float32(factor)).astype(np.float16).astype(np.float32)
        inverse = reciprocals(tried)
        levels = np.rint(w * inverse[:, :, None]).clip(-8, 7)
        off = (np.square(w - levels * tried[:, :, None]) * h).sum(axis=2)
        better = off < least
        best[better], least[better] = tried[better], off[better]
    return best


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
