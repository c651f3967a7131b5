"""The grid that ships: weights merged, quantized and read back exactly as the GGUF file will hold them.

Trained in 16 bits and quantized afterwards, a small model loses much of what it learnt. In the last part of a training
the forward pass therefore goes through `dequantize(quantize(W + s·B·A))`, and the gradient through that weight to the
input and straight through the rounding to A and B (the straight-through estimator, Bengio et al. 2013). Rounding is not
imitated: convert's own code merges, and libggml quantizes, so every type that ships is exact by construction.

Between two roundings the rounding's error R = dequantize(quantize(W + s·B·A)) - (W + s·B·A) is held, and the steps go
through W + R + s·B·A: at a rounding that is what ships, and after it A and B still feel what they do. Without that,
eight steps run blindly in one direction, and a training was seen to blow up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from convert.architectures import of_config
from convert.libggml import dequantize, float32_to_bfloat16, quantize
from convert.lora import Update, merge_rows
from convert.pieces import Scratch, ranges
from convert.safetensors_file import StoredTensor, read_checkpoint
from convert.type_mix import Mix
from convert.vocabulary import read_json

Floats = npt.NDArray[np.float32]
EMBEDDINGS, PROJECTION = "model.embed_tokens.weight", "lm_head.weight"  # their names in a checkpoint


@dataclass(frozen=True)
class Merged:
    """One matrix to be rounded.

    Attributes:
        name: of the base's tensor in its checkpoint.
        b, a: float32 LoRA factors, [out, rank] and [rank, in].
        out: where W + R goes, [rows, in], in the type that is computed with.
        rows: those of the matrix that are to be rounded; all of them unless it is sharded.
    """

    name: str
    b: torch.Tensor
    a: torch.Tensor
    out: torch.Tensor
    rows: slice = field(default_factory=lambda: slice(None))


class Grid:
    """A checkpoint's weights, and what becomes of them in a quantization type."""

    def __init__(self, checkpoint: Path, mix: Mix, scale: float) -> None:
        """Open the checkpoint.

        Args:
            checkpoint: the base's folder; its weights stay on disk, memory-mapped.
            mix: the types that its matrices ship in.
            scale: alpha / rank.

        Raises:
            ConvertError: the checkpoint is of an architecture that can't be converted.
        """
        self.mix, self.scale = mix, scale
        self._scratch = Scratch()
        self._stored: dict[str, StoredTensor] = read_checkpoint(checkpoint)
        config = read_json(checkpoint / "config.json", required=False)
        self._architecture = of_config(config) if config else None

    def _type(self, name: str, columns: int) -> str:
        known = self._architecture.to_gguf(name) if self._architecture else None
        return self.mix.of(known or name, columns).name

    def _pieces(self, merged: Merged) -> Iterator[tuple[slice, Floats, Floats, Floats]]:
        """(which of `merged`'s rows, W, W + s·B·A, what the file will hold of it); good until the next one."""
        stored, scratch = self._stored[merged.name], self._scratch
        kind = self._type(merged.name, stored.shape[1])
        update = Update.of(merged.b.numpy()[merged.rows], merged.a.numpy(), self.scale)
        first = merged.rows.start or 0
        for begin, end in ranges(len(update.b), stored.shape[1]):
            base = stored.rows(slice(first + begin, first + end), partial(scratch.take, "base"))
            rows = merge_rows(base, update.b[begin:end], update.a, scratch)
            shipped = dequantize(quantize(rows, kind), kind, partial(scratch.take, "shipped"))
            yield slice(begin, end), base, rows, shipped

    def held(self, merged: Merged) -> Floats:
        """What the file will hold of W + s·B·A, [rows, in]."""
        return np.concatenate([shipped.copy() for _, _, _, shipped in self._pieces(merged)])

    def round(self, merged: Merged) -> None:
        """Fill `merged.out` with the base's weight and the rounding's error."""
        for part, base, rows, shipped in self._pieces(merged):
            error = np.subtract(shipped, rows, out=rows)
            error += base
            out = merged.out[part]
            # Not by torch where it can be helped: each of these threads would wake threads of torch's.
            if out.device.type == "cpu" and out.dtype == torch.bfloat16:
                float32_to_bfloat16(error, out.view(torch.uint16).numpy())
            elif out.device.type == "cpu" and out.dtype == torch.float32:
                np.copyto(out.numpy(), error)
            else:
                out.copy_(torch.from_numpy(error))

    def round_all(self, matrices: Iterable[Merged]) -> None:
        """`round` each of them, side by side: libggml runs outside Python's lock."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            list(pool.map(self.round, matrices))

    def fill_table(self, name: str, out: torch.Tensor, rows: slice = slice(None)) -> None:
        """Fill `out`, [rows, width], with rows of the embeddings (EMBEDDINGS) or of the projection as they ship."""
        table = self._stored[name].rows(rows)
        kind = self._type(name, table.shape[1])
        out.copy_(torch.from_numpy(dequantize(quantize(table, kind), kind)))
