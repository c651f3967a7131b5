"""How each matrix of a trained model is rounded so that its errors make up for each other.

Rows of the training set go through base and adapter, a layer at a time (layer_inputs.py), in the order in which a
conversion asks; of what its matrices are given follows how their errors spread (convert/compensated.py).
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from appliance.dataset.rows import Row
from appliance.errors import ConversionError
from appliance.layer_inputs import LAYER, Moments
from appliance.layer_inputs_of import layer_inputs
from appliance.training.encoding import Encoded
from appliance.training.session import encode_with
from convert.compensated import Compensation
from convert.safetensors_file import read_checkpoint

ROWS = 64
"""Rows that are run at least; those of a task are much alike to the layers."""
TOKENS = 1024
"""Of a row; a longer one is run so far."""
PER_COLUMN = 4
"""Tokens that are run for each column of the widest matrix, if there are as many: fewer leave directions out."""
KEPT = 1 << 29
"""Bytes of compensations that are kept for who asks again: a thread that is behind, or the next file."""
LEAST = 4
"""Inputs whose compensations are kept, however large: as many as a layer has."""

_Item = TypeVar("_Item")
_MATRIX = re.compile(r"model\.layers\.\d+\..+_proj\.weight")


def spread(rows: Sequence[_Item], count: int) -> list[_Item]:
    """At most `count` of the rows, evenly from all of them."""
    step = max(1.0, len(rows) / count)
    return [rows[int(place * step)] for place in range(min(count, len(rows)))]


def chosen(rows: Sequence[Row], checkpoint: Path) -> list[Encoded]:
    """As many rows of the training set, evenly from all of it, as the model's matrices need."""
    stored = read_checkpoint(checkpoint)
    widest = max(each.shape[1] for name, each in stored.items() if _MATRIX.fullmatch(name))
    found = encode_with(spread(rows, ROWS), checkpoint)
    tokens = sum(min(len(row.ids), TOKENS) for row in found)
    needed = math.ceil(PER_COLUMN * widest * len(found) / max(tokens, 1))
    return found if needed <= len(found) else encode_with(spread(rows, needed), checkpoint)


def _as_text(row: Encoded) -> Encoded:
    """A row as far as it is run. What is learnt of it matters not: the last token stands for it, where batches ask."""
    ids = row.ids[:TOKENS]
    return replace(row, ids=ids, learnt=(False,) * (len(ids) - 1) + (True,))


def memory_needed(checkpoint: Path, rows: Sequence[Encoded], dtype: torch.dtype) -> int:
    """Bytes that a calibration takes at its peak, from the base's header: an estimate from above.

    A layer's weights with a float32 copy of its largest; every row's state, twice; the moments of a layer's inputs;
    what is made of them, kept for `LEAST` inputs; and four matrices more while one is made.
    """
    stored = read_checkpoint(checkpoint)
    first = {name: each.shape for name, each in stored.items() if name.startswith(LAYER.format(0))}
    weights = [math.prod(shape) for shape in first.values()]
    widest = max(shape[1] for shape in first.values() if len(shape) == 2)
    width = stored["model.embed_tokens.weight"].shape[1]
    tokens = sum(min(len(row.ids), TOKENS) for row in rows)
    squares = 4 * (3 * width**2 + widest**2)
    return (
        dtype.itemsize * sum(weights)
        + 4 * max(weights)
        + 2 * dtype.itemsize * tokens * width
        + 2 * squares
        + 4 * 4 * widest**2
    )


class Calibration:
    """Compensations for a model's matrices, by their GGUF names."""

    def __init__(
        self,
        checkpoint: Path,
        adapter: Path | None,
        rows: Sequence[Encoded],
        dtype: torch.dtype,
        device: torch.device,
        kept: int = KEPT,
    ) -> None:
        """Nothing is run yet.

        Args:
            checkpoint: the base's folder.
            adapter: peft's folder.
            rows: what to run.
            dtype: what to compute in; moments are float32 in any case.
            device: where.
            kept: bytes of compensations that are kept.

        Raises:
            ConversionError: there is no row.
        """
        if not rows:
            raise ConversionError("there is no row to measure the layers' inputs with")
        self._inputs = layer_inputs(checkpoint, adapter, [_as_text(row) for row in rows], dtype, device)
        self._layer_of = {
            name: number for number, places in enumerate(self._inputs.places) for name in places.values()
        }
        self._kept, self._lock = kept, threading.Lock()
        self._walk: Iterator[Moments] = iter(())
        self._reached = -1
        self._moments: Moments = {}
        self._made: dict[str, Compensation] = {}

    def measured(self) -> Iterator[Moments]:
        """The moments of one layer after another, of a walk of its own."""
        return self._inputs.walk()

    def of(self, name: str) -> Compensation | None:
        """Of a matrix; None for one that isn't a linear layer of the stack. Several threads may ask."""
        number = self._layer_of.get(name)
        if number is None:
            return None
        with self._lock:
            if name not in self._made:
                self._reach(number, name)
                self._make(name)
            return self._made[name]

    def _reach(self, number: int, name: str) -> None:
        """Walk to a layer whose moments are at hand; from the first one again where it lies behind."""
        if self._reached > number or (self._reached == number and name not in self._moments):
            self._reached = -1
        if self._reached < 0:
            self._walk = self._inputs.walk()
        while self._reached < number:
            self._moments = {}  # before the next ones take as much
            self._moments = next(self._walk)
            self._reached += 1

    def _make(self, name: str) -> None:
        """The compensation of a matrix and of those with the same inputs, in place of their moments."""
        held = self._moments[name]
        same = [other for other, each in self._moments.items() if each is held]
        for other in same:
            del self._moments[other]
        made = Compensation.of(held.cpu().numpy())
        self._made |= dict.fromkeys(same, made)
        while (
            len(kept := _inputs(self._made)) > LEAST and sum(each.taken.nbytes for each in kept) > self._kept
        ):
            self._made = {other: each for other, each in self._made.items() if each is not kept[0]}


def _inputs(made: dict[str, Compensation]) -> list[Compensation]:
    """Each input's once, the oldest first."""
    return list({id(each): each for each in made.values()}.values())
