"""Where a training computes: the CPU, or a GPU where torch has one for each process of this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import torch

from appliance.config import TrainingSection
from appliance.errors import TrainingError

CPU = torch.device("cpu")


def device_of(recipe: TrainingSection) -> torch.device:
    """The device of this process.

    Args:
        recipe: its `device`; `auto` is a GPU where every process of this machine gets one of its own.

    Raises:
        TrainingError: a GPU is asked for, and there is none for this process.
    """
    if recipe.device == "cpu":
        return CPU
    wanted = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ.get("WORLD_SIZE", "1")))
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found < wanted:
        if recipe.device == "auto":
            return CPU
        raise TrainingError(
            f"training.device is 'cuda': {wanted} needed, one a process, and torch finds {found}",
            "install a torch built for CUDA and its driver, start fewer processes, or set training.device = 'auto'",
        )
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) if wanted > 1 else 0)
    torch.cuda.set_device(device)
    return device


def free_memory_of(device: torch.device) -> int | None:
    """Free bytes of a GPU; None for the CPU, whose memory is the machine's."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


@contextlib.contextmanager
def enough_memory() -> Iterator[None]:
    """Say what to do where a GPU has none left.

    Raises:
        TrainingError: it hasn't.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the GPU has no memory left: {str(error).splitlines()[0]}",
            "lower training.batch_rows, or set training.device = 'cpu'; run again, it goes on from its last checkpoint",
        ) from error


def wait_for(device: torch.device) -> None:
    """Return when the device has done what it was given; the CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def random_state(device: torch.device) -> torch.Tensor | None:
    """The state of a GPU's own random numbers; None for the CPU, whose are the process's."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def set_random_state(device: torch.device, state: torch.Tensor | None) -> None:
    """Put it back, where it was taken from a device of this kind."""
    if device.type == "cuda" and state is not None:
        torch.cuda.set_rng_state(state, device)
