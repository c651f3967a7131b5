"""Does training on the INT4 grid keep what the model learnt? `python -m benchmarks.int4 [--sets A,B] [--seeds 7,8,9]`.

Each set is trained twice with each seed: in 16 bits throughout, as others do, which gives a merged 16-bit model and its
INT4 file quantized afterwards; and, from that training's half-way checkpoint, with the second half of the steps on the
grid that ships. One JSON line a set and
seed: `ours` is what the INT4 file of the second scores, `peer` what the merged 16-bit model of the first scores; so
`ratio` says what of it survives (bar: 0.99). What quantizing afterwards gives, and the times, stand in `how`. A last
line has the mean ratio of all. Finished runs are kept in .bench/int4 and not walked again.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import offline
from appliance.base_model import resolve
from appliance.dataset import read_rows
from appliance.evaluation.one_file import measure_file
from appliance.evaluation.systems import System, plain_prompt, tuned_file
from appliance.events import Emit, Event
from appliance.pipeline import Journey, walk
from appliance.pipeline.road import code_digest
from appliance.progress import terminal_progress
from appliance.training import resolve_plan
from appliance.training.checkpoints import FILE_NAME
from benchmarks.forked import Keeper, continue_from
from benchmarks.open_data import ROOT, SETS, SHARED, project_of

INT4, FULL = "Q4_0", "F16"


@dataclass(frozen=True)
class _Trained:
    """One training of a set.

    Attributes:
        scores: share of the dev rows answered exactly right, by type of the file.
        seconds: of the training.
        bits_per_weight: of the Q4_0 file.
        counts: training rows, steps, dev rows.
    """

    scores: dict[str, float]
    seconds: float
    bits_per_weight: float
    counts: tuple[int, int, int]


def _trained(journey: Journey, *kinds: str) -> _Trained:
    """Train and convert what isn't yet, and ask the files of these types every dev row."""
    project, checkpoint, emit = journey.project, journey.checkpoint, journey.emit
    walk(journey, until="convert")
    rows = sorted(read_rows(project.dataset / "test.jsonl"), key=lambda row: row.id)
    scores, bits = {}, 0.0
    for kind in kinds:
        file = tuned_file(project, kind)
        bits = file.bits_per_weight
        system = System(kind, f"Tuned, {kind}", file, plain_prompt)
        done = itertools.count(1)
        emit(Event("evaluate", "started", system.title))  # or its ETA counts from the former file's

        def tell(more: int, system: System = system, done: Iterator[int] = done) -> None:
            if more:
                emit(Event("evaluate", "progress", system.title, next(done), len(rows), "answers"))

        scores[kind] = measure_file(
            project, checkpoint, system, rows, project.build / "asked" / kind, tell
        ).exact.share
    training = json.loads((project.training / "training.json").read_text(encoding="utf-8"))
    return _Trained(scores, training["seconds"], bits, (training["rows"], training["steps"], len(rows)))


def _pair(name: str, data: Path, seed: int, emit: Emit, **training: Any) -> tuple[_Trained, _Trained]:
    """The training on the grid and the one in 16 bits; both have the same steps before the grid."""
    folders = [ROOT / ".bench" / "int4" / f"{name}-{seed}-{kind}" for kind in ("grid", "plain")]
    grid = project_of(name, data, folders[0], baselines=False, seed=seed, **training)
    plain = project_of(name, data, folders[1], baselines=False, seed=seed, **{**training, "grid_start": 1.0})
    kept = plain.build / "fork"
    checkpoint = resolve(plain.config.base.path, plain.root, emit)
    on_grid = Journey(grid, checkpoint, emit, checkpoint_seconds=math.inf)
    walk(on_grid, until="dataset")
    recipe = grid.config.training
    steps = resolve_plan(recipe, len(read_rows(grid.dataset / "train.jsonl"))).steps
    keeper = Keeper(plain, {round(steps * recipe.grid_start): kept}, emit)
    in_16_bits = _trained(Journey(plain, checkpoint, keeper, checkpoint_seconds=math.inf), INT4, FULL)
    if recipe.grid_start > 0 and not (grid.training / FILE_NAME).exists():
        continue_from(kept, grid, checkpoint, code_digest(("appliance/training",)))
    return _trained(on_grid, INT4), in_16_bits


def one(name: str, data: Path, seed: int, emit: Emit, **training: Any) -> dict[str, Any]:
    """The line of one set and seed."""
    grid, plain = _pair(name, data, seed, emit, **training)
    ours, peer, after = grid.scores[INT4], plain.scores[FULL], plain.scores[INT4]
    rows, steps, asked = grid.counts
    return {
        "name": f"{name}, seed {seed}: INT4 trained on its grid, against 16 bits",
        "ours": round(100 * ours, 1),
        "peer": round(100 * peer, 1),
        "ratio": round(ours / peer, 4) if peer else None,
        "unit": "% exactly right",
        "how": f"{rows} rows, {steps} steps, {asked} dev rows; quantized afterwards {100 * after:.1f} % "
        f"(ratio {after / peer if peer else 0:.3f}); training {grid.seconds:.0f} s on the grid, "
        f"{plain.seconds:.0f} s in 16 bits; {grid.bits_per_weight:.2f} bits per weight",
    }


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    options = parser.parse_args()
    lines = []
    offline.seal()
    with terminal_progress() as emit:
        for seed in map(int, options.seeds.split(",")):
            for name in options.sets.split(","):
                lines.append(one(name, options.data, seed, emit))
                print(json.dumps(lines[-1]), flush=True)
    ratios = [line["ratio"] for line in lines if line["ratio"] is not None]
    if len(ratios) > 1:
        print(
            json.dumps(
                {
                    "name": "INT4 trained on its grid, against 16 bits: mean of all",
                    "ours": round(fmean(line["ours"] for line in lines), 1),
                    "peer": round(fmean(line["peer"] for line in lines), 1),
                    "ratio": round(fmean(ratios), 4),
                    "unit": "% exactly right",
                    "how": f"{len(lines)} pairs of trainings; lowest ratio {min(ratios):.3f}, "
                    f"highest {max(ratios):.3f}",
                }
            )
        )


if __name__ == "__main__":
    main()
