"""The steps of a training, from the first or a checkpoint's to the best adapter."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import torch

from appliance.errors import TrainingError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.training import checkpoints, curve
from appliance.training.batches import Batch, collate, step_rows
from appliance.training.crew import Crew
from appliance.training.encoding import Encoded
from appliance.training.int4 import Grid
from appliance.training.recipe import Plan
from appliance.training.trainable import Trainable

STAGE = "train"
VALIDATION_BATCH = 32  # rows


class Loop:
    """A training that is set up: `resume` it, then `run` it."""

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
        """Begin at step 0.

        Args:
            project: where files go.
            emit: hears of every step.
            trainable: the base with fresh LoRA weights.
            rows, validation: what is learnt, and what it is judged by.
            plan: how many steps, at which rates.
            fingerprint: of all that the course depends on.
            base_name: what the adapter's file calls the base.
            checkpoint_seconds: time between checkpoints.
            grid: the weights as they ship; None to stay off it.
            crew: this process among those that train together.
        """
        recipe = project.config.training
        self.project, self.emit, self.trainable, self.plan = project, emit, trainable, plan
        self.rows, self.validation = rows, validation
        self.fingerprint, self.checkpoint_seconds = fingerprint, checkpoint_seconds
        self.settings = trainable.settings | {"base_model_name_or_path": base_name}
        self.recipe, self.crew = recipe, crew
        self.grid, self.grid_after = grid, round(plan.steps * recipe.grid_from)
        self.rounded: list[torch.Tensor] = []
        self.optimizer = torch.optim.AdamW(
            trainable.masters, lr=plan.learning_rate, weight_decay=recipe.weight_decay, fused=True
        )
        self.progress = checkpoints.Progress()
        self.best: dict[str, torch.Tensor] = {}
        self.curve_path = project.training / "curve.jsonl"

    def resume(self) -> None:
        """Stand where the checkpoint stood, if it is one of this very training."""
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
        """Write the checkpoint."""
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

    def _batch(self, numbers: list[int], rows: list[Encoded]) -> Batch:
        chosen, trainable = [rows[number] for number in numbers], self.trainable
        return collate(chosen, share=trainable.shares_prefix, coarse=trainable.coarse)

    def step(self, numbers: list[int]) -> float:
        """Learn from the rows of these numbers; their mean loss."""
        mine = self.crew.part(numbers)
        self.prepare(self.progress.step + 1)
        rate = self.plan.rate(self.progress.step + 1)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        value, learnt, tokens = 0.0, 0, 0
        if mine or self.trainable.in_step:
            batch = self._batch(mine or numbers[:1], self.rows)
            value = self.trainable.learn(batch)
            learnt, tokens = (batch.learnt, batch.tokens) if mine else (0, 0)
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
        """The mean loss over all targets of the validation rows."""
        order = sorted(range(len(self.validation)), key=lambda number: len(self.validation[number].ids))
        total, targets = 0.0, 0.0
        for start in range(0, len(order), VALIDATION_BATCH):
            numbers = order[start : start + VALIDATION_BATCH]
            mine = self.crew.part(numbers)
            if mine or self.trainable.in_step:
                batch = self._batch(mine or numbers[:1], self.validation)
                loss = self.trainable.loss(batch)
                if mine:
                    total, targets = total + loss * batch.learnt, targets + batch.learnt
            self.report("validating")
        total, targets = self.crew.sums(total, targets)
        return total / targets

    def report(self, text: str, **data: Any) -> None:
        """Tell where the training stands; with `data`, what was measured."""
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
        """Take the validation loss, keep the adapter if none was better; True when patience has run out."""
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
        progress = self.progress
        improved = loss < progress.lowest - self.recipe.min_delta
        progress.stale = 0 if improved else progress.stale + 1
        progress.lowest = loss if improved else progress.lowest
        # Some dozens of rows don't tell such losses apart, and what was learnt at the lowest rates answers better.
        kept = loss <= progress.lowest * (1.0 + self.recipe.tie)
        if kept:
            self.best = self.trainable.adapter()
            if self.crew.leads:
                progress.adapter_sha256 = checkpoints.save_adapter(
                    self.project.adapter, self.best, self.settings
                )
            progress.best_loss, progress.best_step = loss, progress.step
        self.report(f"validation loss {loss:.4f}{' (kept)' if kept else ''}", validation_loss=loss)
        return progress.stale >= self.recipe.patience and (on_grid or self.grid is None)

    def run(self) -> bool:
        """Walk the steps; True when stopped early."""
        ended = self.grid is None or self.on_grid(self.progress.step)
        if ended and self.progress.stale >= self.recipe.patience:  # killed after the decision to stop
            return self.progress.step < self.plan.steps
        writer = curve.Writer(self.curve_path if self.crew.leads else Path(os.devnull))
        before, began, last_save = self.progress.seconds, time.monotonic(), time.monotonic()
        try:
            for numbers in step_rows(
                len(self.rows),
                self.recipe.batch_rows,
                self.recipe.seed,
                self.progress.step + 1,
                self.plan.steps,
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
