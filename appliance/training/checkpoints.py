"""What a training needs to go on exactly where it stopped, and the best adapter so far."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from appliance import storage
from appliance.errors import TrainingError
from appliance.training.model import Trainable, adapter_settings

FILE_NAME = "checkpoint.pt"


@dataclass
class Progress:
    """Where a training stands.

    Attributes:
        step: optimizer steps done.
        best_loss, best_step: the lowest validation loss and when it was.
        stale: evaluations since then.
        tokens: row tokens seen so far.
        seconds: time spent in all sessions.
    """

    step: int = 0
    best_loss: float = float("inf")
    best_step: int = 0
    stale: int = 0
    tokens: int = 0
    seconds: float = 0.0


def save_checkpoint(
    folder: Path, fingerprint: str, trainable: Trainable, optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the checkpoint durably over the former one."""
    buffer = io.BytesIO()
    torch.save(
        {
            "fingerprint": fingerprint,
            "progress": vars(progress),
            "masters": [master.detach() for master in trainable.masters],
            "optimizer": optimizer.state_dict(),
            "random": torch.get_rng_state(),
        },
        buffer,
    )
    storage.write_bytes(folder / FILE_NAME, buffer.getvalue())


def load_checkpoint(
    folder: Path, fingerprint: str, trainable: Trainable, optimizer: torch.optim.Optimizer
) -> Progress | None:
    """Restore from `folder`; None when there is no checkpoint of this very training.

    Raises:
        TrainingError: there is one, and it can't be read.
    """
    path = folder / FILE_NAME
    storage.remove_leftovers(folder)
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
    except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise TrainingError(f"{path}: can't be read: {error}", "delete it, or run with --restart") from error
    trainable.push_weights()
    return Progress(**saved["progress"])


def save_adapter(folder: Path, trainable: Trainable, base_name: str) -> None:
    """Write the adapter in peft's format (adapter_config.json, adapter_model.safetensors), weights last."""
    storage.write_json(folder / "adapter_config.json", adapter_settings(trainable, base_name))
    tensors = {name: value.contiguous() for name, value in trainable.adapter().items()}
    storage.write_bytes(folder / "adapter_model.safetensors", save(tensors, metadata={"format": "pt"}))
