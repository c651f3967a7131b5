"""One training from start or checkpoint to its best adapter."""

from __future__ import annotations

import math
import os
import time
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
from appliance.training.batches import collate, step_rows
from appliance.training.crew import Crew
from appliance.training.encoding import Encoded, encode_rows
from appliance.training.estimate import estimate, refuse_days, size_of
from appliance.training.int4 import Grid
from appliance.training.llama import load
from appliance.training.precision import pinned_dtype
from appliance.training.recipe import Plan, resolve_plan
from appliance.training.trainable import Trainable
from convert.type_mix import Mix

STAGE = "train"
VALIDATION_BATCH = 32  # rows


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
    rows: int
    adapter_sha256: str


def _encode(rows: Sequence[Row], checkpoint: Path) -> list[Encoded]:
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


class _Session:
    def __init__(
        self,
        project: Project,
        emit: Emit,
        trainable: Trainable,
        rows: list[Encoded],
        validation: list[Encoded],
        plan: Plan,
        fingerprint: str,
        base_name: str,
        checkpoint_seconds: float,
        grid: Grid | None,
        crew: Crew,
    ) -> None:
        recipe = project.config.training
        self.project, self.emit, self.trainable, self.plan = project, emit, trainable, plan
        self.rows, self.validation = rows, validation
        self.fingerprint, self.checkpoint_seconds = fingerprint, checkpoint_seconds
        self.settings = trainable.settings | {"base_model_name_or_path": base_name}
        self.recipe, self.crew = recipe, crew
        self.grid, self.grid_after = grid, round(plan.steps * recipe.grid_start)
        self.rounded: list[torch.Tensor] = []
        self.optimizer = torch.optim.AdamW(
            trainable.masters, lr=plan.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.progress = checkpoints.Progress()
        self.best: dict[str, torch.Tensor] = {}
        self.curve_path = project.training / "curve.jsonl"

    def resume(self) -> None:
        loaded = checkpoints.load_checkpoint(
            self.project.training, self.fingerprint, self.trainable, self.optimizer
        )
        self.crew.wait()  # nobody writes before all have read
        if loaded is None:
            if self.crew.leads:
                # What an earlier recipe left must never pass for this one's.
                self.curve_path.unlink(missing_ok=True)
                (self.project.adapter / checkpoints.ADAPTER_FILE).unlink(missing_ok=True)
            return
        found, self.best, rounded = loaded
        self.progress = found
        if rounded:
            self._round_as(rounded)
        if not self.crew.leads:
            return
        if self.best and not checkpoints.adapter_is(self.project.adapter, found.adapter_sha256):
            # Lost, changed, or one evaluation ahead because of a kill: the checkpoint holds the one it means.
            checkpoints.save_adapter(self.project.adapter, self.best, self.settings)
        curve.truncate(self.curve_path, found.step)
        self.emit(Event(STAGE, "message", f"resumed after step {found.step} of {self.plan.steps}"))

    def save(self) -> None:
        if not self.crew.leads:
            return
        checkpoints.save_checkpoint(
            self.project.training,
            self.fingerprint,
            self.trainable,
            self.optimizer,
            self.progress,
            self.best,
            self.rounded,
        )

    def on_grid(self, step: int) -> bool:
        """Whether `step` is computed with the weights as they ship."""
        return self.grid is not None and step > self.grid_after

    def round_weights(self) -> None:
        """Make the weights that ship from the masters as they are."""
        assert self.grid is not None
        self.rounded = [master.detach().clone() for master in self.trainable.masters]
        self.trainable.enter_grid(self.grid)

    def _round_as(self, masters: list[torch.Tensor]) -> None:
        """The grid of a run that was stopped between two roundings, in whose steps the masters had moved on."""
        now = [master.detach().clone() for master in self.trainable.masters]
        with torch.no_grad():
            for master, value in zip(self.trainable.masters, masters, strict=True):
                master.copy_(value)
            self.round_weights()
            for master, value in zip(self.trainable.masters, now, strict=True):
                master.copy_(value)

    def prepare(self, step: int) -> None:
        """Round the weights where `step` is due for it."""
        since = step - self.grid_after - 1
        if self.grid is None or not self.on_grid(step) or since % self.recipe.grid_every:
            return
        if since == 0:
            # Losses off the grid say nothing about what ships: from here the best adapter is chosen anew.
            self.progress, self.best = self.progress.fresh, {}
            self.report(f"from step {step} on with the weights as they ship ({self.grid.mix.matrices.name})")
        self.round_weights()

    def step(self, numbers: list[int]) -> float:
        mine = [self.rows[number] for number in self.crew.part(numbers)]
        self.prepare(self.progress.step + 1)
        rate = self.plan.rate(self.progress.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        value, learnt, tokens = 0.0, 0, 0
        if mine:
            batch = collate(mine, share=self.trainable.shares_prefix)
            value, learnt, tokens = self.trainable.learn(batch), batch.learnt, batch.tokens
        value = self.crew.combine(value, learnt, self.trainable.masters)
        norm = float(torch.nn.utils.clip_grad_norm_(self.trainable.masters, self.recipe.gradient_clip))
        if not (math.isfinite(value) and math.isfinite(norm)):
            raise TrainingError(
                f"step {self.progress.step + 1}: the loss became {value}, the gradient's norm {norm}",
                f"lower training.learning_rate (now {self.recipe.learning_rate:g}) or set training.dtype = 'float32'",
            )
        self.optimizer.step()
        self.trainable.push_weights()
        self.progress.step += 1
        self.progress.tokens += round(self.crew.sums(tokens)[0])
        return value

    def validate(self) -> float:
        order = sorted(range(len(self.validation)), key=lambda number: len(self.validation[number].ids))
        total, targets = 0.0, 0.0
        for start in range(0, len(order), VALIDATION_BATCH):
            numbers = self.crew.part(order[start : start + VALIDATION_BATCH])
            if numbers:
                rows = [self.validation[number] for number in numbers]
                batch = collate(rows, share=self.trainable.shares_prefix)
                total += self.trainable.loss(batch) * batch.learnt
                targets += batch.learnt
            self.report("validating")
        total, targets = self.crew.sums(total, targets)
        return total / targets

    def report(self, text: str, **data: Any) -> None:
        self.emit(
            Event(
                STAGE,
                "metric" if data else "progress",
                text,
                done=self.progress.step,
                total=self.plan.steps,
                unit="steps",
                data=data,
            )
        )

    def evaluate(self, writer: curve.Writer) -> bool:
        """Take the validation loss, keep the adapter if it is the best; True when patience has run out."""
        on_grid = self.on_grid(self.progress.step)
        if on_grid:
            self.round_weights()
        loss = self.validate()
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {self.progress.step}: the validation loss became {loss}",
                f"lower training.learning_rate (now {self.recipe.learning_rate:g}) or set training.dtype = 'float32'",
            )
        writer.add(step=self.progress.step, validation_loss=loss)
        better = loss < self.progress.best_loss - self.recipe.min_delta
        if better:
            self.best = self.trainable.adapter()
            if self.crew.leads:
                self.progress.adapter_sha256 = checkpoints.save_adapter(
                    self.project.adapter, self.best, self.settings
                )
            self.progress.best_loss, self.progress.best_step, self.progress.stale = (
                loss,
                self.progress.step,
                0,
            )
        else:
            self.progress.stale += 1
        self.report(f"validation loss {loss:.4f}{' (best)' if better else ''}", validation_loss=loss)
        return self.progress.stale >= self.recipe.patience and (on_grid or self.grid is None)

    def run(self) -> bool:
        """Walk the steps; True when stopped early."""
        ended = self.grid is None or self.on_grid(self.progress.step)
        if ended and self.progress.stale >= self.recipe.patience:  # killed after the decision to stop
            return self.progress.step < self.plan.steps
        writer = curve.Writer(self.curve_path if self.crew.leads else Path(os.devnull))
        lengths = [len(row.ids) for row in self.rows]
        before, began, last_save = self.progress.seconds, time.monotonic(), time.monotonic()
        try:
            for numbers in step_rows(
                lengths, self.recipe.batch_rows, self.recipe.seed, self.progress.step + 1, self.plan.steps
            ):
                tokens = self.progress.tokens
                start = time.monotonic()
                loss = self.step(numbers)
                speed = (self.progress.tokens - tokens) / (time.monotonic() - start)
                writer.add(step=self.progress.step, loss=loss)
                self.report("", loss=loss, tokens_per_second=speed)
                stop = self.progress.step in self.plan.evaluate_at and self.evaluate(writer)
                self.progress.seconds = before + time.monotonic() - began
                evaluated = self.progress.step in self.plan.evaluate_at
                if evaluated or time.monotonic() - last_save >= self.checkpoint_seconds:
                    self.save()
                    last_save = time.monotonic()
                if stop:
                    return self.progress.step < self.plan.steps
        finally:
            writer.close()
        return False


def _grid(project: Project, checkpoint: Path) -> Grid | None:
    """The grid to train on, if there is one to train on."""
    recipe, wanted = project.config.training, project.config.grid
    if wanted is None:
        return None
    mix = Mix.named(wanted["type"], wanted["embeddings"], dict(wanted["overrides"]))
    with reported_errors():
        return Grid(checkpoint, mix, recipe.alpha / recipe.rank)


def _discard(folder: Path, reason: str, emit: Emit) -> None:
    if (folder / checkpoints.FILE_NAME).exists():
        (folder / checkpoints.FILE_NAME).unlink()
        emit(Event(STAGE, "message", f"begins again: {reason}"))


def fingerprint_of(project: Project, base: dict[str, Any], dtype: torch.dtype, code: str) -> str:
    """Digest of all that a training's course depends on."""
    return storage.sha256_json(
        {
            "recipe": project.config.training.model_dump(),
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
        TrainingError: nothing to learn, more than a day's work, or the loss is no number any more.
        ConversionError: a base that can't be converted, and so has no grid.
    """
    recipe, crew = project.config.training, Crew()
    if not crew.leads:
        emit = ignore
    project.training.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    torch.set_num_threads(recipe.threads or max(1, len(os.sched_getaffinity(0)) // crew.local))
    emit(Event(STAGE, "started", "reading rows"))
    rows = _encode(read_rows(project.dataset / "train.jsonl"), checkpoint)
    validation = _encode(read_rows(project.dataset / "valid.jsonl")[: recipe.validation_rows], checkpoint)
    plan = resolve_plan(recipe, len(rows))
    if not validation:
        raise TrainingError("there is no validation row", "run `anchorhold dataset` and read its card")
    dtype, speed = crew.told(pinned_dtype(project, emit, restart) if crew.leads else (torch.float32, 0.0))
    on_grid = plan.steps - round(plan.steps * recipe.grid_start) if project.config.grid else 0
    speed *= crew.size
    cost = estimate(size_of(checkpoint), rows, plan, on_grid, recipe.grid_every, speed, dtype.itemsize)
    grid = _grid(project, checkpoint)
    base = identity(checkpoint)
    fingerprint = fingerprint_of(project, base, dtype, code)
    if crew.leads:
        storage.remove_leftovers(project.training)
        goes_on = not restart and checkpoints.is_of(project.training, fingerprint)
        if not (accept_days or goes_on):
            refuse_days(cost, crew.local)
        if restart:
            _discard(project.training, "asked for", emit)
    crew.wait()
    emit(Event(STAGE, "message", str(cost), data={"seconds": round(cost.seconds)}))
    emit(
        Event(STAGE, "message", f"{len(rows)} rows, {plan.steps} steps, rank {recipe.rank}; loading the base")
    )
    trainable = load(checkpoint, recipe, dtype, cache_folder())
    session = _Session(
        project, emit, trainable, rows, validation, plan, fingerprint, str(base["name"]), checkpoint_seconds,
        grid, crew,
    )  # fmt: skip
    session.resume()
    session.report("training")
    stopped = session.run()
    progress = session.progress
    if crew.leads:
        curve.draw(curve.read(session.curve_path), project.training / "curve.svg")
    crew.wait()  # the adapter is on the disk for all
    result = TrainingResult(
        steps=progress.step,
        best_step=progress.best_step,
        best_loss=progress.best_loss,
        tokens=progress.tokens,
        seconds=round(progress.seconds, 1),
        tokens_per_second=round(progress.tokens / max(progress.seconds, 1e-9), 1),
        stopped_early=stopped,
        dtype=str(dtype).removeprefix("torch."),
        rows=len(rows),
        adapter_sha256=storage.sha256_file(project.adapter / "adapter_model.safetensors"),
    )
    if crew.leads:
        storage.write_json(project.training / "training.json", asdict(result))
    emit(Event(STAGE, "finished", f"best validation loss {result.best_loss:.4f} at step {result.best_step}"))
    return result
