"""Which number type a training computes in: the configured one, or what the probe found when it began."""

from __future__ import annotations

import json
from dataclasses import asdict

import torch

from appliance import storage
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.training.device import CPU
from appliance.training.probe import probe, speed_of

_STAGE = "train"


def _dtype(choice: str, emit: Emit, device: torch.device) -> tuple[torch.dtype, float]:
    if choice != "auto" or device != CPU:  # whatever GPU torch still knows is quicker in bfloat16
        dtype = torch.float32 if choice == "float32" else torch.bfloat16
        return dtype, speed_of(dtype, device=device)
    measured = probe()
    name = str(measured.choice).removeprefix("torch.")
    emit(
        Event(
            _STAGE,
            "message",
            f"{name}: this CPU multiplies at {measured.bfloat16:.0f} GFLOP/s in bfloat16, "
            f"{measured.float32:.0f} in float32",
            data=asdict(measured),
        )
    )
    return measured.choice, max(measured.bfloat16, measured.float32)


def kept_dtype(project: Project) -> torch.dtype:
    """What the project's training computed in; float32 where it isn't known."""
    try:
        name = json.loads((project.training / "dtype.json").read_text(encoding="utf-8"))["dtype"]
    except (OSError, ValueError, KeyError, TypeError):
        return torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def pinned_dtype(
    project: Project, emit: Emit, restart: bool, device: torch.device = CPU
) -> tuple[torch.dtype, float]:
    """The number type of a training and its GFLOP/s on the device.

    The probed type is kept for the life of the training: a resumed one must not change it half-way.

    Args:
        project: whose `training.dtype` decides, unless it is `auto`.
        emit: hears what was measured.
        restart: choose anew.
        device: what it is computed on.
    """
    choice: str = project.config.training.dtype
    path = project.training / "dtype.json"
    if choice == "auto" and path.exists() and not restart:
        choice = str(json.loads(path.read_text(encoding="utf-8"))["dtype"])
    dtype, speed = _dtype(choice, emit, device)
    storage.write_json(path, {"dtype": str(dtype).removeprefix("torch.")})
    return dtype, speed
