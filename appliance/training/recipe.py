"""The recipe made concrete for a set of rows: how many steps, which rates, when to evaluate. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance.config import TrainingSection
from appliance.errors import TrainingError


@dataclass(frozen=True)
class Plan:
    """What a training will do.

    Attributes:
        steps: optimizer steps in all.
        steps_per_epoch: batches of one pass over the rows.
        warmup_steps: steps in which the learning rate rises.
        learning_rate: its highest value.
        evaluate_at: steps (1-based) after which the validation loss is taken; the last step is among them.
    """

    steps: int
    steps_per_epoch: int
    warmup_steps: int
    learning_rate: float
    evaluate_at: frozenset[int]

    def rate(self, step: int) -> float:
        """Learning rate of `step` (1-based): linear warm-up, then a cosine down to a tenth of the top."""
        if step <= self.warmup_steps:
            return self.learning_rate * step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.1 + 0.9 * 0.5 * (1.0 + math.cos(math.pi * progress)))


def resolve_plan(recipe: TrainingSection, rows: int) -> Plan:
    """The plan for `rows` training rows.

    Raises:
        TrainingError: there are no rows.
    """
    if rows < 1:
        raise TrainingError("there is no row to train on", "run `anchorhold dataset` and read its card")
    per_epoch = math.ceil(rows / recipe.batch_rows)
    steps = max(1, round(per_epoch * recipe.epochs))
    warmup = min(steps - 1, math.ceil(steps * recipe.warmup)) if recipe.warmup else 0
    times = min(recipe.evaluations, steps)
    marks = frozenset(round(steps * (index + 1) / times) for index in range(times))
    return Plan(steps, per_epoch, warmup, recipe.learning_rate, marks)
