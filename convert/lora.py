"""peft's LoRA adapters: what is added to which matrix.

The merged weight is W + scale · B·A, rounded to float32, where peft's `merge_and_unload` takes the model's type.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.libggml import Floats
from convert.pieces import Scratch
from convert.safetensors_file import StoredTensor, read_file
from convert.vocabulary import read_json

Doubles = npt.NDArray[np.float64]

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_PREFIX = "base_model.model."
# Settings that change how an adapter is trained or found, not what it adds. Every other setting must be
# unset.
_HARMLESS = {
    "task_type", "peft_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "r", "target_modules", "exclude_modules", "lora_alpha", "lora_dropout", "use_rslora",
    "init_lora_weights", "layers_to_transform", "layers_pattern", "megatron_core", "qalora_group_size",
    "runtime_config", "eva_config", "ensure_weight_tying",
}  # fmt: skip
# These leave the base as it is; PiSSA, OLoRA, LoftQ and others change it, so that base + B·A would be another
# model.
_PLAIN_STARTS = {"true", "false", "gaussian", "eva", "orthogonal", "none"}


@dataclass(frozen=True)
class Update:
    """What an adapter adds to one matrix: b·a.

    Attributes:
        a: float64, rank x columns of the matrix.
        b: float64, rows of the matrix x rank; the scale is in it.
    """

    a: Doubles
    b: Doubles

    @classmethod
    def of(cls, b: Floats, a: Floats, scale: float) -> Update:
        """From the factors as they are stored, and alpha/r or alpha/sqrt(r)."""
        return cls(a.astype(np.float64), b.astype(np.float64) * scale)


@dataclass(frozen=True)
class Adapter:
    """An adapter, mapped.

    Attributes:
        pairs: the base's tensor name -> (A, B).
    """

    folder: Path
    scale: float
    pairs: Mapping[str, tuple[StoredTensor, StoredTensor]]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that each pair fits a matrix of the base.

        Args:
            shapes: of the base's tensors, by the checkpoint's names.

        Raises:
            ConvertError: one doesn't.
        """
        for name, (a, b) in self.pairs.items():
            shape = shapes.get(name)
            if shape is None:
                raise ConvertError(
                    f"{self.folder}: changes {name}, which the base doesn't have", _ANOTHER_BASE
                )
            if shape != (b.shape[0], a.shape[1]):
                reason = f"changes {name} as {[b.shape[0], a.shape[1]]}, in the base it is {list(shape)}"
                raise ConvertError(f"{self.folder}: {reason}", _ANOTHER_BASE)

    def update(self, name: str) -> Update | None:
        """What is added to the base's tensor `name`; None if nothing."""
        pair = self.pairs.get(name)
        if pair is None:
            return None
        return Update.of(pair[1].rows(slice(None)), pair[0].rows(slice(None)), self.scale)


_ANOTHER_BASE = "the adapter was trained on another base: give that one"


# OpenBLAS, which numpy's wheels carry, starts threads of its own above 2^18 multiplications. Our threads have all
# cores already.
_PRODUCTS = 1 << 18


def merge_rows(weights: Floats, b: Doubles, a: Doubles, scratch: Scratch | None = None) -> Floats:
    """W + b·a for some rows of W, summed in float64 and rounded once.

    In float32 the last bits depend on how a library blocks the product, so on which rows come together; the training
    that rounds whole matrices and the converter that permutes them must get equal weights.

    Args:
        weights: float32, rows x columns; not changed.
        b: the same rows of an update's b, rows x rank.
        a: an update's a, rank x columns.
        scratch: gives the memory of the result (its use "merged"); fresh memory otherwise.

    Returns:
        float32, rows x columns.
    """
    scratch = scratch or Scratch()
    product = scratch.take("product", weights.shape, np.float64)
    step = max(1, _PRODUCTS // a.size)
    for begin in range(0, len(weights), step):
        part = slice(begin, begin + step)
        np.matmul(b[part], a, out=product[part])
    merged: Floats = scratch.take("merged", weights.shape)
    np.add(product, weights, out=merged, casting="same_kind")
    return merged


def _scale(path: Path, config: Mapping[str, Any]) -> float:
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if not isinstance(rank, int) or isinstance(rank, bool) or rank <= 0:
        raise ConvertError(f"{path}: r is {rank!r}", "it must be a positive whole number")
    if not isinstance(alpha, (int, float)) or isinstance(alpha, bool) or not math.isfinite(alpha):
        raise ConvertError(f"{path}: lora_alpha is {alpha!r}", "it must be a number")
    return alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank


def _refuse_variants(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ConvertError(f"{path}: an adapter of type {kind!r} is not known", "LORA is")
    for key, value in config.items():
        if key not in _HARMLESS and value and value != "none":
            hint = (
                "plain LoRA on linear layers is merged; merge this one with peft and give the merged folder"
            )
            raise ConvertError(f"{path}: {key} is {value!r}, which can't be merged here", hint)
    start = str(config.get("init_lora_weights")).lower()
    if start not in _PLAIN_STARTS:
        hint = "convert it with peft (`path_initial_model_for_weight_conversion`) first"
        raise ConvertError(f"{path}: init_lora_weights is {start!r}, which changes the base itself", hint)


def read_adapter(folder: Path) -> Adapter:
    """Read the adapter in `folder`.

    Raises:
        ConvertError: not there, not plain LoRA, or incomplete.
    """
    path = folder / CONFIG
    config = read_json(path)
    _refuse_variants(path, config)
    scale = _scale(path, config)
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise ConvertError(
            f"{folder}: adapter_model.bin is not read", "it can hold code: save it as safetensors"
        )
    halves: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in read_file(folder / WEIGHTS).items():
        module, separator, half = name.removeprefix(_PREFIX).rpartition(".lora_")
        half = half.removesuffix(".weight")
        if not separator or not name.startswith(_PREFIX) or half not in {"A", "B"} or len(tensor.shape) != 2:
            hint = (
                "plain LoRA on linear layers is merged; merge this one with peft and give the merged folder"
            )
            raise ConvertError(f"{folder / WEIGHTS}: {name} can't be merged here", hint)
        halves.setdefault(f"{module}.weight", {})[half] = tensor
    pairs: dict[str, tuple[StoredTensor, StoredTensor]] = {}
    for name, both in halves.items():
        if set(both) != {"A", "B"}:
            raise ConvertError(f"{folder / WEIGHTS}: {name} has only one of A and B")
        a, b = both["A"], both["B"]
        if a.shape[0] != config["r"] or b.shape[1] != config["r"]:
            raise ConvertError(
                f"{folder / WEIGHTS}: {name} has rank {a.shape[0]}, {CONFIG} says {config['r']}"
            )
        pairs[name] = (a, b)
    if not pairs:
        raise ConvertError(f"{folder / WEIGHTS}: holds no LoRA matrices")
    return Adapter(folder, scale, pairs)
