"""What each linear layer of a model is given, layer after layer, with one layer of the model in memory.

Every row's state goes from layer to layer; a layer's weights are read from the checkpoint, the adapter merged into them
as a conversion does it, and are let go of when the states have passed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from appliance.training.batches import Batch, collate
from appliance.training.device import CPU
from appliance.training.encoding import Encoded
from convert.architectures import of_config
from convert.lora import merge_rows, read_adapter
from convert.pieces import Scratch
from convert.safetensors_file import read_checkpoint
from convert.vocabulary import read_json

BATCH = 2048
"""Tokens that go through a layer together, those that rows share counted once."""
LAYER = "model.layers.{}."

Moments = dict[str, torch.Tensor]
"""X'X of the inputs X of matrices, float32 [columns, columns], by GGUF name; one and the same for a common input."""


class LayerInputs(ABC):
    """Second moments of the inputs of every linear layer."""

    shares = False
    """Whether the tokens that a batch's rows begin with go through once."""

    def __init__(
        self,
        checkpoint: Path,
        adapter: Path | None,
        rows: Sequence[Encoded],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Nothing is run yet.

        Args:
            checkpoint: the base's folder.
            adapter: peft's folder.
            rows: what to run.
            dtype: what to compute in; moments are float32 in any case.
            device: where.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        self._stored = read_checkpoint(checkpoint)
        self._adapter = read_adapter(adapter) if adapter is not None else None
        self._dtype, self._device = dtype, device
        parts = _cut(rows, self.shares)
        collated = [(collate(part, share=self.shares), part) for part in parts]
        self._batches = [(batch, Counted.of(batch, part)) for batch, part in collated]
        self.config: Any = AutoConfig.from_pretrained(str(checkpoint), local_files_only=True)
        with torch.device("meta"):  # shapes alone
            model: Any = AutoModelForCausalLM.from_config(self.config, dtype=dtype).base_model
        self._layers = model.layers
        self._rotary = type(model.rotary_emb)(config=self.config).to(device)
        to_gguf = of_config(read_json(checkpoint / "config.json")).to_gguf
        self.places: list[dict[str, str]] = []
        """Of each layer, the names of its matrices in the checkpoint, after `LAYER`, and in a GGUF file."""
        for number, layer in enumerate(self._layers):
            linear = [name for name, module in layer.named_modules() if isinstance(module, torch.nn.Linear)]
            named = {name: to_gguf(f"{LAYER.format(number)}{name}.weight") for name in linear}
            self.places.append({name: known for name, known in named.items() if known is not None})

    def walk(self) -> Iterator[Moments]:
        """Run the rows; the moments of one layer after another."""
        states = [self._embedded(batch) for batch, _ in self._batches]
        for number in range(len(self._layers)):
            yield self._pass(number, states)

    @abstractmethod
    def _pass(self, number: int, states: list[torch.Tensor]) -> Moments:
        """All states through a layer, in place; the moments on the way."""

    def _embedded(self, batch: Batch) -> torch.Tensor:
        """Of the kept tokens, [kept, width]."""
        ids = batch.flat[batch.kept].numpy().astype(np.intp)
        table = self._stored["model.embed_tokens.weight"]
        return torch.from_numpy(np.array(table.rows(ids))).to(self._device, self._dtype)

    def _weights(self, number: int) -> dict[str, torch.Tensor]:
        """A layer's weights, by their names after `LAYER`."""
        prefix = LAYER.format(number)
        found = {}
        for name in self._layers[number].state_dict():
            stored = self._stored[prefix + name]
            rows = stored.rows(slice(None))
            update = self._adapter.update(prefix + name) if self._adapter is not None else None
            if update is not None:
                rows = merge_rows(rows, update.b, update.a, Scratch())
            weights = torch.from_numpy(np.array(rows)).view(stored.shape)
            found[name] = weights.to(self._device, self._dtype)
            stored.release()
        return found


class Sums:
    """X'X of what one batch after another gives, where a token may stand for several."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.found: Moments = {}

    def add(self, name: str, given: torch.Tensor, counted: Counted) -> None:
        """Inputs [tokens, columns], and what each counts for."""
        x = given.float() if given.dtype != torch.float32 else given.clone()
        x[: counted.shared] *= counted.rows**0.5
        x[counted.padding] = 0
        if x.device == CPU:  # numpy sees that the product is symmetric, and computes half of it
            plain = x.numpy()
            product = torch.from_numpy(plain.T @ plain)
        else:
            product = x.t() @ x
        if name in self.found:
            self.found[name] += product
        else:
            self.found[name] = product


@dataclass(frozen=True)
class Counted:
    """What the kept tokens of a batch count for: the `shared` first ones for all `rows`, `padding` for nothing."""

    shared: int
    rows: int
    padding: torch.Tensor

    @classmethod
    def of(cls, batch: Batch, rows: Sequence[Encoded]) -> Counted:
        """Of a batch of these rows."""
        length, width = len(batch.prefix), batch.ids.shape[1]
        real = torch.zeros(batch.padded, dtype=torch.bool)
        real[:length] = True
        for number, row in enumerate(rows):
            real[length + number * width :][: len(row.ids) - length] = True
        return cls(length, len(rows), (~real[batch.kept]).nonzero().flatten())


def _cut(rows: Sequence[Encoded], shares: bool) -> list[list[Encoded]]:
    """Rows that begin alike together, or those of like length, until a batch has `BATCH` tokens."""
    found: list[list[Encoded]] = []
    tokens = 0
    for row in sorted(rows, key=lambda row: row.ids if shares else (len(row.ids), *row.ids)):
        more = len(row.ids) - (_alike(found[-1][-1].ids, row.ids) if found and shares else 0)
        if not found or tokens + more > BATCH:
            found.append([])
            tokens, more = 0, len(row.ids)
        found[-1].append(row)
        tokens += more
    return found


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two rows begin with in common."""
    pairs = zip(one, other, strict=False)
    return next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
