"""Distillation on the INT4 grid: the adapter as it enters the grid, in 16 bits, teaches the one that is rounded.

Used by `benchmarks.int4_ladder` alone. From the first rounding on the loss is (1 - share) of the cross-entropy with the
answers and `share` of the cross-entropy with the teacher's predictions at the same places (whose gradient is that of
the KL divergence).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from appliance.config import TrainingSection
from appliance.training.batches import Batch
from appliance.training.decoder import CHUNK, Decoder, Group
from appliance.training.int4 import Grid
from appliance.training.kernels import load as load_kernels
from appliance.training.llama import LlamaTrainable
from appliance.training.modules import load_modules


def _frozen(group: Group) -> Group:
    return Group(group.weight.clone(), group.down.clone(), group.up.clone())


class _Pupil(Decoder):
    """A decoder that also hears a teacher."""

    def __init__(self, decoder: Decoder, teacher: Decoder, share: float) -> None:
        super().__init__(
            decoder.embeddings, decoder.layers, decoder.norm, decoder.projection, decoder.attention,
            decoder.eps, decoder.kernels,
        )  # fmt: skip
        self._teacher, self._share = teacher, share
        self._said = self.embeddings[:0]

    def total(self, batch: Batch, scale: float) -> torch.Tensor:
        if scale > 0:
            self._said = self._teacher.outlook(batch)
        return super().total(batch, scale)

    def _cross_entropy(
        self, hidden: torch.Tensor, targets: torch.Tensor, grad: torch.Tensor | None, scale: float
    ) -> torch.Tensor:
        if grad is None:
            return super()._cross_entropy(hidden, targets, grad, scale)
        total = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(targets), CHUNK):
            part = slice(start, start + CHUNK)
            mine = hidden[part] @ self.projection.t()
            theirs = self._said[part] @ self._teacher.projection.t()
            total += self.kernels.cross_entropy(mine, targets[part], scale).sum(dtype=torch.float64)
            # (p - y) - share (t - y) = p - ((1 - share) y + share t)
            self.kernels.cross_entropy(theirs, targets[part], self._share * scale)
            torch.mm(mine.sub_(theirs), self.projection, out=grad[part])
        return total


class Taught(LlamaTrainable):
    """LoRA weights that are taught by what they were when they came onto the grid."""

    share = 0.0

    def enter_grid(self, grid: Grid) -> None:
        """As its base, but the first time the teacher is kept before the weights are overwritten."""
        if not isinstance(self.decoder, _Pupil):
            first = self.decoder
            layers = [
                replace(
                    layer,
                    qkv=_frozen(layer.qkv),
                    out=_frozen(layer.out),
                    gate_up=_frozen(layer.gate_up),
                    down=_frozen(layer.down),
                )
                for layer in first.layers
            ]
            teacher = Decoder(
                first.embeddings.clone(), layers, first.norm, first.projection.clone(), first.attention,
                first.eps, first.kernels,
            )  # fmt: skip
            self.decoder = _Pupil(first, teacher, self.share)
        super().enter_grid(grid)


def loader(share: float) -> object:
    """What takes the place of the session's `load`."""

    def load(checkpoint: Path, recipe: TrainingSection, dtype: torch.dtype, cache: Path) -> Taught:
        model = load_modules(checkpoint, recipe, dtype)
        taught = Taught(model, dtype, recipe.alpha / recipe.rank, load_kernels(cache))
        taught.share = share
        return taught

    return load
