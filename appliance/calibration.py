"""What each matrix of a trained model is multiplied with, so that rounding can make up for its own errors.

Rows of the training set go through base and adapter; of every linear layer's inputs X the second moments X'X are kept.
They take more memory than the layers themselves, so they are taken for as many layers at once as a budget holds, in the
order in which a conversion asks, and the rows go through the model once for each such part.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch

from appliance.errors import ConversionError
from appliance.training.encoding import Encoded
from convert.architectures import of_config
from convert.compensated import Compensation
from convert.lora import merge_rows, read_adapter
from convert.pieces import Scratch
from convert.vocabulary import read_json

ROWS = 128
"""Rows that are run; the layers' inputs of a task are alike, and more rows brought nothing measurable."""
TOKENS = 1024
"""Of a row; a longer one is run so far."""
BATCH = 2048
"""Tokens that go through the model together, padding included."""
BUDGET = 1 << 30
"""Bytes of second moments that are held at one time, if more than a layer's fit into them."""

Tell = Callable[[int, int], None]
"""(rows done, rows in all)."""

_Item = TypeVar("_Item")
_LAYER = re.compile(r"^blk\.(\d+)\.")


def spread(rows: Sequence[_Item], count: int = ROWS) -> list[_Item]:
    """At most `count` of the rows, evenly from all of them."""
    step = max(1.0, len(rows) / count)
    return [rows[int(place * step)] for place in range(min(count, len(rows)))]


class Calibration:
    """Compensations for a model's matrices, by their GGUF names."""

    def __init__(
        self,
        checkpoint: Path,
        adapter: Path | None,
        rows: Sequence[Encoded],
        dtype: torch.dtype,
        device: torch.device,
        tell: Tell = lambda _done, _all: None,
        budget: int = BUDGET,
    ) -> None:
        """Load the model, the adapter merged into it.

        Args:
            checkpoint: the base's folder.
            adapter: peft's folder.
            rows: what to run.
            dtype: what to compute in; moments are float32 in any case.
            device: where.
            tell: hears of every row.
            budget: bytes of moments held at one time.

        Raises:
            ConversionError: there is no row.
        """
        from transformers import AutoModelForCausalLM
        from transformers.utils import logging as transformers_logging

        if not rows:
            raise ConversionError("there is no row to measure the layers' inputs with")
        architecture = of_config(read_json(checkpoint / "config.json"))
        transformers_logging.disable_progress_bar()  # the conversion has its own
        model: Any = AutoModelForCausalLM.from_pretrained(str(checkpoint), dtype=dtype, local_files_only=True)
        if adapter is not None:
            _merge(model, adapter)
        self._model = model.to(device).eval()
        self._batches, self._device = _batches([row.ids[:TOKENS] for row in rows]), device
        self._tell, self._lock = tell, threading.Lock()
        self._modules: dict[str, torch.nn.Linear] = {}
        for name, module in model.named_modules():
            known = architecture.to_gguf(f"{name}.weight") if isinstance(module, torch.nn.Linear) else None
            if known is not None and _LAYER.match(known):
                self._modules[known] = module
        self._parts = _parts(self._modules, budget)
        self._moments: dict[str, torch.Tensor] = {}
        self._same: dict[str, str] = {}
        self._made: dict[str, Compensation] = {}
        self._before: dict[str, Compensation] = {}

    def begin(self) -> None:
        """Run the rows for the first part, so that their progress isn't told amid a file's."""
        if self._parts:
            with self._lock:
                self._run(self._parts[0])

    def measured(self) -> dict[str, torch.Tensor]:
        """X'X of the part that was run last, [columns, columns], by each matrix that `of` wasn't asked for yet."""
        return {name: self._moments[first] for name, first in self._same.items() if first in self._moments}

    def of(self, name: str) -> Compensation | None:
        """Of a matrix; None for one that isn't a linear layer of the stack. Several threads may ask."""
        with self._lock:
            if name not in self._modules:
                return None
            if name in self._before:  # asked by a thread that is behind the one that began the next part
                return self._before[name]
            if name not in self._same:
                self._run(next(part for part in self._parts if name in part))
            first = self._same[name]
            if first not in self._made:
                self._made[first] = Compensation.of(self._moments.pop(first).cpu().numpy())
            return self._made[first]

    def _run(self, names: frozenset[str]) -> None:
        self._before = {name: self._made[first] for name, first in self._same.items() if first in self._made}
        self._moments, self._same, self._made = {}, {}, {}
        last: list[tuple[torch.Tensor, str]] = []
        kept = torch.empty(0)

        def taking(name: str) -> Callable[..., None]:
            def take(_module: Any, given: tuple[torch.Tensor, ...]) -> None:
                # Queries, keys and values are given the very same tensor, and so are gate and up.
                if last and last[0][0] is given[0]:
                    self._same[name] = last[0][1]
                    return
                last[:] = [(given[0], name)]
                self._same[name] = name
                x = given[0].reshape(-1, given[0].shape[-1])[kept].float()
                held = self._moments.setdefault(name, x.new_zeros(x.shape[1], x.shape[1]))
                held.addmm_(x.t(), x)

            return take

        hooks = [self._modules[name].register_forward_pre_hook(taking(name)) for name in names]
        try:
            with torch.no_grad():
                done, everything = 0, sum(map(len, self._batches))
                for batch in self._batches:
                    ids, kept = _padded(batch)
                    kept = kept.to(self._device)
                    self._model.base_model(input_ids=ids.to(self._device), use_cache=False)
                    last.clear()
                    done += len(batch)
                    self._tell(done, everything)
        finally:
            for hook in hooks:
                hook.remove()


def _merge(model: Any, folder: Path) -> None:
    """Add an adapter to the model's weights, as a conversion does."""
    adapter = read_adapter(folder)
    for name, module in model.named_modules():
        update = adapter.update(f"{name}.weight") if isinstance(module, torch.nn.Linear) else None
        if update is not None:
            merged = merge_rows(module.weight.detach().float().numpy(), update.b, update.a, Scratch())
            module.weight.data.copy_(torch.from_numpy(merged))


def _batches(rows: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """Rows of like length together, until a batch has `BATCH` tokens: a product of many tokens is quick."""
    found: list[list[tuple[int, ...]]] = []
    for row in sorted(rows, key=len):
        if not found or (len(found[-1]) + 1) * len(row) > BATCH:
            found.append([])
        found[-1].append(row)
    return found


def _padded(rows: Sequence[tuple[int, ...]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids [rows, longest], padded on the right, where attention never looks, and the flat places that are none."""
    longest = max(map(len, rows))
    ids, real = (
        torch.zeros(len(rows), longest, dtype=torch.long),
        torch.zeros(len(rows), longest, dtype=torch.bool),
    )
    for number, row in enumerate(rows):
        ids[number, : len(row)] = torch.tensor(row)
        real[number, : len(row)] = True
    return ids, real.flatten().nonzero().flatten()


def _parts(modules: dict[str, torch.nn.Linear], budget: int) -> list[frozenset[str]]:
    """Layers in order, as many together as their moments fit into `budget` bytes; at least one."""
    layers: dict[int, list[str]] = {}
    for name in modules:
        layers.setdefault(int(_LAYER.match(name)[1]), []).append(name)  # type: ignore[index]
    parts: list[list[str]] = []
    held = 0
    for number in sorted(layers):
        # More than is held: inputs that are shared are counted for each matrix.
        needed = sum(4 * modules[name].in_features ** 2 for name in layers[number])
        if not parts or held + needed > budget:
            parts.append([])
            held = 0
        parts[-1] += layers[number]
        held += needed
    return [frozenset(part) for part in parts]
