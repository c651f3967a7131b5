"""A training from what the project says to its recorded result; loop.py walks the steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from appliance import __version__, storage
from appliance.base_model import identity
from appliance.conversion import reported_errors
from appliance.dataset import Row, read_rows
from appliance.errors import TrainingError
from appliance.events import Emit, Event, ignore
from appliance.paths import Project, cache_folder
from appliance.training import checkpoints, curve
from appliance.training._process import keep_freed_memory
from appliance.training.crew import Crew
from appliance.training.device import CPU, device_of, enough_memory, free_memory_of
from appliance.training.encoding import Encoded, encode_rows
from appliance.training.estimate import estimate, refuse_days, size_of
from appliance.training.int4 import Grid
from appliance.training.llama import load
from appliance.training.loop import STAGE, Loop
from appliance.training.precision import pinned_dtype
from appliance.training.recipe import resolve_plan
from convert.architectures import of_config
from convert.type_mix import Mix
from convert.vocabulary import read_json


@dataclass(frozen=True)
class TrainingResult:
    """What came out; stored as training.json."""

    steps: int
    best_step: int
    best_loss: float
    tokens: int
    seconds: float
    tokens_per_second: float
    stopped_early: bool
    dtype: str
    device: str
    rows: int
    adapter_sha256: str


def encode_with(rows: Sequence[Row], checkpoint: Path) -> list[Encoded]:
    """Rows as a checkpoint's tokenizer and chat template render them.

    Raises:
        TrainingError: a row has nothing to learn, or the template can't be trained with.
    """
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(str(checkpoint), local_files_only=True)
    ends = {tokenizer.eos_token_id}
    if (checkpoint / "generation_config.json").exists():
        declared = GenerationConfig.from_pretrained(str(checkpoint), local_files_only=True).eos_token_id
        ends |= set(declared if isinstance(declared, list) else [declared])

    def render(messages: list[dict[str, Any]], prompt: bool) -> str:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt))

    def tokenize(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return encode_rows([(row.id, row.messages) for row in rows], render, tokenize, ends - {None})


def _grid(project: Project, checkpoint: Path) -> Grid | None:
    """The grid to train on, if there is one to train on; a base that can't ship is refused in any case."""
    recipe, wanted = project.config.training, project.config.grid
    with reported_errors():
        of_config(read_json(checkpoint / "config.json"))
        if wanted is None:
            return None
        mix = Mix.named(wanted["type"], wanted["embeddings"], dict(wanted["overrides"]))
        return Grid(checkpoint, mix, recipe.alpha / recipe.rank)


def _discard(folder: Path, reason: str, emit: Emit) -> None:
    if (folder / checkpoints.FILE_NAME).exists():
        (folder / checkpoints.FILE_NAME).unlink()
        emit(Event(STAGE, "message", f"begins again: {reason}"))


def fingerprint_of(project: Project, base: dict[str, Any], dtype: torch.dtype, code: str) -> str:
    """Digest of all that a training's course depends on."""
    return storage.sha256_json(
        {
            # Where the weights are held doesn't change what they are: a training may go on elsewhere.
            "recipe": project.config.training.model_dump(exclude={"device", "shard"}),
            "rows": storage.sha256_file(project.dataset / "train.jsonl"),
            "validation": storage.sha256_file(project.dataset / "valid.jsonl"),
            "base": base,
            "dtype": str(dtype),
            "code": code,
            "grid": project.config.grid,
        }
    )


def train(
    project: Project,
    checkpoint: Path,
    emit: Emit,
    *,
    restart: bool = False,
    checkpoint_seconds: float = 60.0,
    code: str = __version__,
    accept_days: bool = False,
) -> TrainingResult:
    """Fine-tune the base at `checkpoint` on the project's dataset, or go on with a training that was stopped.

    Args:
        project: with build/dataset/{train,valid}.jsonl in place.
        checkpoint: the base's folder.
        emit: gets a metric event a step and an evaluation.
        restart: ignore an existing checkpoint.
        checkpoint_seconds: time between checkpoints; each evaluation makes one too.
        code: what the program is; a checkpoint of another one is not gone on with.
        accept_days: begin even what would take more than a day here.

    Returns:
        The result, also written as build/training/training.json.

    Raises:
        TrainingError: nothing to learn, more than a day's work, one process asked to shard, no such device, or
            the loss is no number any more.
        ConversionError: a base that can't be converted, and so has no grid.
    """
    recipe, crew = project.config.training, Crew()
    if not crew.leads:
        emit = ignore
    if recipe.shard and crew.size == 1:
        raise TrainingError(
            "training.shard parts the base's weights among processes, and this is the only one",
            "start it by torchrun (docs/building.md), or set training.shard = false",
        )
    project.training.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(recipe.threads or max(1, len(os.sched_getaffinity(0)) // crew.local))
    emit(Event(STAGE, "started", "reading rows"))
    rows = encode_with(read_rows(project.dataset / "train.jsonl"), checkpoint)
    validation = encode_with(read_rows(project.dataset / "valid.jsonl")[: recipe.validation_rows], checkpoint)
    plan = resolve_plan(recipe, len(rows))
    if not validation:
        raise TrainingError("there is no validation row", "run `anchorhold dataset` and read its card")
    device = device_of(recipe)
    dtype, speed = crew.told(
        pinned_dtype(project, emit, restart, device) if crew.leads else (torch.float32, 0.0)
    )
    on_grid = plan.steps - round(plan.steps * recipe.grid_from) if project.config.grid else 0
    cost = estimate(
        size_of(checkpoint), rows, plan, on_grid, recipe.grid_every, speed * crew.size, dtype.itemsize,
        free_memory_of(device),
    )  # fmt: skip
    grid = _grid(project, checkpoint)
    base = identity(checkpoint)
    fingerprint = fingerprint_of(project, base, dtype, code)
    if crew.leads:
        storage.remove_leftovers(project.training)
        if not (accept_days or (not restart and checkpoints.is_of(project.training, fingerprint))):
            sharing = crew.local if device == CPU else 1  # a GPU's memory is its process's own
            refuse_days(cost, sharing / crew.size if recipe.shard else sharing)
        if restart:
            _discard(project.training, "asked for", emit)
    crew.wait()
    emit(Event(STAGE, "message", str(cost), data={"seconds": round(cost.seconds)}))
    emit(
        Event(STAGE, "message", f"{len(rows)} rows, {plan.steps} steps, rank {recipe.rank}; loading the base")
    )
    with enough_memory():
        trainable = load(checkpoint, recipe, dtype, cache_folder())
        loop = Loop(
            project, emit, trainable, rows, validation, plan, fingerprint, str(base["name"]), checkpoint_seconds,
            grid, crew,
        )  # fmt: skip
        loop.resume()
        loop.report("training")
        stopped = loop.run()
    if crew.leads:
        curve.draw(curve.read(loop.curve_path), project.training / "curve.svg")
    crew.wait()  # the adapter is on the disk for all
    result = _result(loop, stopped, dtype, device)
    if crew.leads:
        storage.write_json(project.training / "training.json", asdict(result))
    emit(Event(STAGE, "finished", f"kept: validation loss {result.best_loss:.4f} at step {result.best_step}"))
    return result


def _result(loop: Loop, stopped: bool, dtype: torch.dtype, device: torch.device) -> TrainingResult:
    progress = loop.progress
    return TrainingResult(
        steps=progress.step,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
        tokens=progress.tokens,
        seconds=round(progress.seconds, 1),
        tokens_per_second=round(progress.tokens / max(progress.seconds, 1e-9), 1),
        stopped_early=stopped,
        dtype=str(dtype).removeprefix("torch."),
        device=device.type,
        rows=len(loop.rows),
        adapter_sha256=storage.sha256_file(loop.project.adapter / checkpoints.ADAPTER_FILE),
    )
