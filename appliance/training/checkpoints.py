"""What a training needs to go on exactly where it stopped, and the best adapter so far."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from appliance import storage
from appliance.errors import TrainingError
from appliance.training.trainable import Trainable

FILE_NAME = "checkpoint.pt"
ADAPTER_FILE = "adapter_model.safetensors"


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        step: optimizer steps done.
        best_loss, best_step: the lowest validation loss and when it was.
        stale: evaluations since then.
        tokens: row tokens seen so far.
        seconds: time spent in all sessions.
        adapter_sha256: of the best adapter's weights file; empty before the first evaluation.
    """

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    stale: int = 0
    tokens: int = 0
    seconds: float = 0.0
    adapter_sha256: str = ""

    @property
    def fresh(self) -> Progress:
        """The same place, with nothing evaluated yet: losses on and off the grid don't compare."""
        return Progress(step=self.step, tokens=self.tokens, seconds=self.seconds)


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
    buffer = io.BytesIO()
    torch.save(
        {
            "fingerprint": fingerprint,
            "progress": vars(progress),
            "masters": [master.detach() for master in trainable.masters],
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "best": best,
            "rounded": rounded,
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
            for master, value in zip(trainable.masters, saved["masters"], strict=True):
                master.copy_(value)
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        rounded = list(saved["rounded"])
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
