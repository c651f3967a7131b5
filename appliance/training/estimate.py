"""What a training will cost, told before its first step, and the refusal of what would take days.

Arithmetic: with frozen weights a token costs two operations a weight forward and two for the gradient to its input,
the output projection only where something is learnt; a core of the machine gives what the probe measured, of which a
training reaches `EFFICIENCY`. Each rounding to the grid that ships costs its weights once more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import TrainingError
from appliance.progress import duration
from appliance.training.encoding import Encoded
from appliance.training.recipe import Plan
from convert.safetensors_file import read_checkpoint

EFFICIENCY = 0.6  # of the probe's GFLOP/s (docs/measurements.md, "Training speed")
ROUNDING = 6e-9  # seconds a weight and core
LIMIT = 24 * 3600.0  # seconds that are begun without a word from the user
_TABLES = ("embed_tokens.weight", "lm_head.weight")


@dataclass(frozen=True)
class Size:
    """Weights of a base: of the matrices, of its output projection, and of all tables (embeddings, projection)."""

    matrices: int
    projection: int
    tables: int


@dataclass(frozen=True)
class Estimate:
    """The arithmetic of one training.

    Attributes:
        tokens: of all steps.
        gflop: a token, on average.
        speed: GFLOP/s of the probe.
        roundings: to the grid that ships.
        seconds: all of it.
        weights_bytes: memory that the weights alone take.
        free_bytes: memory that is free now.
    """

    tokens: int
    gflop: float
    speed: float
    roundings: int
    seconds: float
    weights_bytes: int
    free_bytes: int

    def __str__(self) -> str:
        roundings = f", and {self.roundings} roundings" if self.roundings else ""
        return (
            f"about {duration(self.seconds)}: {self.tokens:,} tokens of {self.gflop:.2f} GFLOP at "
            f"{100 * EFFICIENCY:.0f} % of this CPU's {self.speed:.0f} GFLOP/s{roundings}"
        )


def size_of(checkpoint: Path) -> Size:
    """Count a base's weights from its file's header."""
    shapes = {name: tensor.shape for name, tensor in read_checkpoint(checkpoint).items()}
    tables = {name: shape[0] * shape[1] for name, shape in shapes.items() if name.endswith(_TABLES)}
    matrices = sum(s[0] * s[1] for name, s in shapes.items() if len(s) == 2 and name not in tables)
    return Size(matrices, max(tables.values(), default=0), sum(tables.values()))


def free_memory() -> int:
    """Bytes that programs may still take (Linux's MemAvailable)."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def estimate(
    size: Size,
    rows: Sequence[Encoded],
    plan: Plan,
    grid_steps: int,
    grid_every: int,
    speed: float,
    width: int,
    free: int | None = None,
) -> Estimate:
    """The cost of `plan` over `rows`.

    Args:
        size: of the base.
        rows: what is learnt.
        plan: how often.
        grid_steps: steps on the grid that ships; 0 for none.
        grid_every: steps between two roundings.
        speed: GFLOP/s as probed.
        width: bytes of a weight.
        free: bytes of the memory that weights go into; by default this machine's.
    """
    passes = plan.steps / plan.steps_per_epoch
    tokens = round(passes * sum(len(row.ids) for row in rows))
    learnt = passes * sum(row.targets for row in rows)
    gflop = 4e-9 * (size.matrices + size.projection * learnt / max(1, tokens))
    roundings = -(-grid_steps // grid_every)
    cores = len(os.sched_getaffinity(0))
    seconds = tokens * gflop / (EFFICIENCY * speed) + roundings * size.matrices * ROUNDING / cores
    weights = (size.matrices + size.tables) * width
    return Estimate(
        tokens, gflop, speed, roundings, seconds, weights, free_memory() if free is None else free
    )


def refuse_days(cost: Estimate, copies: float = 1) -> None:
    """Stop a training that this machine can't finish in a day, or whose weights alone don't fit.

    Args:
        cost: of it.
        copies: of the weights that the processes which share one memory hold together.

    Raises:
        TrainingError: with the arithmetic.
    """
    hint = "take a smaller base, fewer rows or fewer epochs; to begin all the same, run it with --yes"
    needed = copies * cost.weights_bytes
    if needed > cost.free_bytes:
        raise TrainingError(
            f"the base's weights alone take {needed / 1e9:.1f} GB of memory, "
            f"and {cost.free_bytes / 1e9:.1f} GB are free",
            hint,
        )
    if cost.seconds > LIMIT:
        raise TrainingError(f"this training would take {cost}", hint)
