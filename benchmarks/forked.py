"""Trainings that differ only from some step on share the steps before it: one is trained, others go on from it.

What is compared has then the same first steps to the bit, and they are paid for once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from appliance import storage
from appliance.base_model import identity
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.training import checkpoints
from appliance.training.session import fingerprint_of


class Keeper:
    """An `Emit` that keeps a training's checkpoints of some steps.

    A step's checkpoint is on the disk when the next step is told, if it was evaluated and nothing else writes
    checkpoints (`checkpoint_seconds`).
    """

    def __init__(self, project: Project, at: Mapping[int, Path], emit: Emit) -> None:
        """Keep that of step S in folder `at[S]`."""
        self._project, self._at, self._emit = project, at, emit

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        folder = self._at.get(int(event.done) - 1)
        if "loss" in event.data and folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            for name in (checkpoints.FILE_NAME, "curve.jsonl", "dtype.json"):
                shutil.copy2(self._project.training / name, folder / name)
        self._emit(event)


def continue_from(folder: Path, project: Project, checkpoint: Path, code: str) -> None:
    """Put a kept checkpoint where the training of `project` finds it as its own.

    Args:
        folder: where it was kept.
        project: with the same dataset, and a recipe that differs only in later steps.
        checkpoint: the base's folder.
        code: what `train` will be told.
    """
    project.training.mkdir(parents=True, exist_ok=True)
    for name in ("curve.jsonl", "dtype.json"):
        shutil.copy2(folder / name, project.training / name)
    dtype = getattr(torch, json.loads((folder / "dtype.json").read_text(encoding="utf-8"))["dtype"])
    saved = torch.load(folder / checkpoints.FILE_NAME, weights_only=True)
    saved["fingerprint"] = fingerprint_of(project, identity(checkpoint), dtype, code)
    with storage.atomic_writer(project.training / checkpoints.FILE_NAME) as stream:
        torch.save(saved, stream)
