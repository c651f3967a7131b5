"""What a training needs to go on exactly where it stopped, and the best adapter so far."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from appliance import storage
from appliance.errors import TrainingError
from appliance.training.device import random_state, set_random_state
from appliance.training.trainable import Trainable

FILE_NAME = "checkpoint.pt"
ADAPTER_FILE = "adapter_model.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # what AdamW keeps of each weight


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        step: optimizer steps done.
        best_loss, best_step: the validation loss of the adapter that is kept, and when it was.
        lowest: the lowest validation loss.
        stale: evaluations since then.
        tokens: row tokens seen so far.
        seconds: time spent in all sessions.
        adapter_sha256: of the best adapter's weights file; empty before the first evaluation.
    """

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    lowest: float = float("inf")
    stale: int = 0
    tokens: int = 0
    seconds: float = 0.0
    adapter_sha256: str = ""

    @property
    def fresh(self) -> Progress:
        """The same place, with nothing evaluated yet: losses on and off the grid don't compare."""
        return Progress(step=self.step, tokens=self.tokens, seconds=self.seconds)


def _parted(trainable: Trainable, masters: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """One tensor on the CPU a LoRA weight: the same however, and on whatever device, they are computed with."""
    return [part.detach().cpu() for part in trainable.parts(masters)]


def _laid_out(trainable: Trainable, parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """`_parted` undone, for this way to compute and its device."""
    masters = [torch.zeros_like(master, requires_grad=False) for master in trainable.masters]
    for place, part in zip(trainable.parts(masters), parts, strict=True):
        place.copy_(part)
    return masters


def save_checkpoint(
    folder: Path,
    fingerprint: str,
    trainable: Trainable,
    optimizer: torch.optim.Optimizer,
    progress: Progress,
    best: dict[str, torch.Tensor],
    rounded: list[torch.Tensor],
) -> None:
    """Write the checkpoint durably over the former one; `rounded`: the masters that the grid was last made of."""
    kept = [optimizer.state[master] for master in trainable.masters]
    buffer = io.BytesIO()
    torch.save(
        {
            "fingerprint": fingerprint,
            "progress": vars(progress),
            "masters": _parted(trainable, trainable.masters),
            "optimizer": {
                "step": kept[0]["step"].cpu(),
                **{name: _parted(trainable, [each[name] for each in kept]) for name in MOMENTS},
            },
            "random": torch.get_rng_state(),
            "random_of_device": random_state(trainable.masters[0].device),
            "best": best,
            "rounded": _parted(trainable, rounded) if rounded else [],
        },
        buffer,
    )
    storage.write_bytes(folder / FILE_NAME, buffer.getvalue())


_DAMAGED = (OSError, RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError)
"""What torch.load and the reading of its result raise for a file that isn't one of ours, or not whole."""


def is_of(folder: Path, fingerprint: str) -> bool:
    """Whether there is a checkpoint of the training with this fingerprint."""
    try:
        saved: dict[str, Any] = torch.load(folder / FILE_NAME, weights_only=True, mmap=True)
        return bool(saved["fingerprint"] == fingerprint)
    except _DAMAGED:
        return False  # loading it says what is wrong


def load_checkpoint(
    folder: Path, fingerprint: str, trainable: Trainable, optimizer: torch.optim.Optimizer
) -> tuple[Progress, dict[str, torch.Tensor], list[torch.Tensor]] | None:
    """Restore from `folder`.

    Returns:
        Where it stood, the best adapter's tensors and what the grid was last made of; None when there is no
        checkpoint of this very training.

    Raises:
        TrainingError: there is one, and it can't be read.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, weights_only=True)
        if saved["fingerprint"] != fingerprint:
            return None
        with torch.no_grad():
            for master, value in zip(trainable.masters, _laid_out(trainable, saved["masters"]), strict=True):
                master.copy_(value)
        step, moments = (
            saved["optimizer"]["step"],
            [_laid_out(trainable, saved["optimizer"][n]) for n in MOMENTS],
        )
        optimizer.load_state_dict(
            {
                "state": {
                    number: {"step": step.clone(), **dict(zip(MOMENTS, each, strict=True))}
                    for number, each in enumerate(zip(*moments, strict=True))
                },
                "param_groups": optimizer.state_dict()["param_groups"],
            }
        )
        torch.set_rng_state(saved["random"])
        set_random_state(trainable.masters[0].device, saved["random_of_device"])
        rounded = _laid_out(trainable, saved["rounded"]) if saved["rounded"] else []
    except _DAMAGED as error:
        raise TrainingError(f"{path}: can't be read: {error}", "delete it, or run with --restart") from error
    trainable.push_weights()
    return Progress(**saved["progress"]), saved["best"], rounded


def adapter_is(folder: Path, sha256: str) -> bool:
    """Whether the adapter's weights file is there and is the one of that digest; "" asks for none."""
    path = folder / ADAPTER_FILE
    return (storage.sha256_file(path) if path.is_file() else "") == sha256


def save_adapter(folder: Path, tensors: dict[str, torch.Tensor], settings: dict[str, Any]) -> str:
    """Write an adapter in peft's format (adapter_config.json, adapter_model.safetensors), weights last.

    Returns:
        SHA-256 of the weights file.
    """
    storage.write_json(folder / "adapter_config.json", settings)
    data = save({name: value.contiguous() for name, value in tensors.items()}, metadata={"format": "pt"})
    storage.write_bytes(folder / ADAPTER_FILE, data)
    return storage.sha256_bytes(data)
