"""Does the INT4 file keep what the model learnt? `python -m benchmarks.int4 [--sets A,B] [--seeds 7,8,9] [--grid]`.

Each set is trained with each seed, in 16 bits, and the adapter becomes three files: the merged 16-bit one, the INT4
file that ships (its rounding makes up for its own errors on training rows), and the INT4 file of others, each weight
rounded to the nearest. All are asked the set's dev rows. One JSON line a set and seed: `ours` is what the shipped file
scores, `peer` what the 16-bit one scores; so `ratio` says what of it survives (bar: 0.99). What rounding to the nearest
gives, and the times, stand in `how`. A last line has the mean ratio of all. With --grid there is a second training too,
from the first one's half-way checkpoint on, with the second half of the steps on the grid that ships, and its file.
Finished runs are kept in .bench/int4 and not walked again.
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
from appliance.conversion import Choice, convert_project, file_settings, ships, write_gguf
from appliance.dataset import Row, read_rows
from appliance.evaluation.one_file import measure_file
from appliance.evaluation.systems import ModelFile, System, plain_prompt, tuned_file
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.pipeline import Journey, walk
from appliance.pipeline.road import code_digest
from appliance.progress import terminal_progress
from appliance.training import resolve_plan
from appliance.training.checkpoints import FILE_NAME
from benchmarks.forked import Keeper, continue_from
from benchmarks.open_data import ROOT, SETS, SHARED, project_of

INT4, FULL, NEAREST = "Q4_0", "F16", "nearest"
GRID_START = 0.5


@dataclass(frozen=True)
class _Trained:
    """One training of a set.

    Attributes:
        scores: share of the dev rows answered exactly right, by file.
        seconds: of the training.
        bits_per_weight: of the Q4_0 file.
        counts: training rows, steps, dev rows.
    """

    scores: dict[str, float]
    seconds: float
    bits_per_weight: float
    counts: tuple[int, int, int]


def _ask(journey: Journey, key: str, file: ModelFile, rows: list[Row]) -> float:
    """Share of the rows that a file answers exactly right."""
    project, emit = journey.project, journey.emit
    system = System(key, f"Tuned, {key}", file, plain_prompt)
    done = itertools.count(1)
    emit(Event("evaluate", "started", system.title))  # or its ETA counts from the former file's

    def tell(more: int, done: Iterator[int] = done) -> None:
        if more:
            emit(Event("evaluate", "progress", system.title, next(done), len(rows), "answers"))

    folder = project.build / "asked" / key
    return measure_file(project, journey.checkpoint, system, rows, folder, tell).exact.share


def _to_the_nearest(project: Project, checkpoint: Path) -> ModelFile:
    """The INT4 file of the same types, each weight rounded by itself."""
    path, choice = project.build / "nearest.gguf", ships(project)
    assert choice == Choice(INT4, choice.overrides)
    written = write_gguf(
        checkpoint, path, **file_settings(project), quantization=INT4, overrides=dict(choice.overrides)
    )
    return ModelFile(path, written.sha256, written.bytes, written.bits_per_weight)


def _trained(journey: Journey, *keys: str, again: bool = False) -> _Trained:
    """Train and convert what isn't yet, and ask these files every dev row; `again`: take the training that is there."""
    project = journey.project
    if again:
        convert_project(project, emit=journey.emit)
    else:
        walk(journey, until="convert")
    rows = sorted(read_rows(project.dataset / "test.jsonl"), key=lambda row: row.id)
    scores = {}
    for key in keys:
        plainly = key == NEAREST
        file = _to_the_nearest(project, journey.checkpoint) if plainly else tuned_file(project, key)
        scores[key] = _ask(journey, key, file, rows)
        if plainly:
            file.path.unlink()
    training = json.loads((project.training / "training.json").read_text(encoding="utf-8"))
    counts = (training["rows"], training["steps"], len(rows))
    return _Trained(scores, training["seconds"], tuned_file(project, INT4).bits_per_weight, counts)


def _plain(
    name: str, data: Path, seed: int, emit: Emit, again: bool = False, **training: Any
) -> tuple[_Trained, Path]:
    """The training in 16 bits, and where its half-way checkpoint is."""
    folder = ROOT / ".bench" / "int4" / f"{name}-{seed}-plain"
    project = project_of(name, data, folder, baselines=False, seed=seed, **training)
    kept = project.build / "fork"
    checkpoint = resolve(project.config.base.path, project.root, emit)
    walk(Journey(project, checkpoint, emit), until="dataset")
    steps = resolve_plan(project.config.training, len(read_rows(project.dataset / "train.jsonl"))).steps
    keeper = Keeper(project, {round(steps * GRID_START): kept}, emit)
    journey = Journey(project, checkpoint, keeper, checkpoint_seconds=math.inf)
    return _trained(journey, INT4, FULL, NEAREST, again=again), kept


def _on_grid(name: str, data: Path, seed: int, kept: Path, emit: Emit, **training: Any) -> _Trained:
    """The training whose steps after `kept` are on the grid."""
    folder = ROOT / ".bench" / "int4" / f"{name}-{seed}-grid"
    recipe = {**training, "grid_start": GRID_START}
    project = project_of(name, data, folder, baselines=False, seed=seed, **recipe)
    checkpoint = resolve(project.config.base.path, project.root, emit)
    journey = Journey(project, checkpoint, emit, checkpoint_seconds=math.inf)
    walk(journey, until="dataset")
    if not (project.training / FILE_NAME).exists():
        continue_from(kept, project, checkpoint, code_digest(("appliance/training",)))
    return _trained(journey, INT4)


def one(
    name: str, data: Path, seed: int, emit: Emit, grid: bool = False, again: bool = False, **training: Any
) -> dict[str, Any]:
    """The line of one set and seed."""
    plain, kept = _plain(name, data, seed, emit, again, **training)
    ours, peer, nearest = plain.scores[INT4], plain.scores[FULL], plain.scores[NEAREST]
    rows, steps, asked = plain.counts
    also = ""
    if grid:
        other = _on_grid(name, data, seed, kept, emit, **training)
        score = other.scores[INT4]
        also = f"; trained on the grid {100 * score:.1f} % (ratio {score / peer if peer else 0:.3f})"
        also += f", {other.seconds:.0f} s"
    return {
        "name": f"{name}, seed {seed}: INT4 as it ships, against 16 bits",
        "ours": round(100 * ours, 1),
        "peer": round(100 * peer, 1),
        "ratio": round(ours / peer, 4) if peer else None,
        "unit": "% exactly right",
        "how": f"{rows} rows, {steps} steps, {asked} dev rows; rounded to the nearest {100 * nearest:.1f} % "
        f"(ratio {nearest / peer if peer else 0:.3f}); training {plain.seconds:.0f} s; "
        f"{plain.bits_per_weight:.2f} bits per weight{also}",
    }


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    parser.add_argument("--grid", action="store_true", help="train on the INT4 grid, too")
    parser.add_argument(
        "--again",
        action="store_true",
        help="take the trainings that are there, and only convert and ask anew",
    )
    options = parser.parse_args()
    lines = []
    offline.seal()
    with terminal_progress() as emit:
        for seed in map(int, options.seeds.split(",")):
            for name in options.sets.split(","):
                lines.append(one(name, options.data, seed, emit, options.grid, options.again))
                print(json.dumps(lines[-1]), flush=True)
    ratios = [line["ratio"] for line in lines if line["ratio"] is not None]
    if len(ratios) > 1:
        print(
            json.dumps(
                {
                    "name": "INT4 as it ships, against 16 bits: mean of all",
                    "ours": round(fmean(line["ours"] for line in lines), 1),
                    "peer": round(fmean(line["peer"] for line in lines), 1),
                    "ratio": round(fmean(ratios), 4),
                    "unit": "% exactly right",
                    "how": f"{len(lines)} trainings; lowest ratio {min(ratios):.3f}, highest {max(ratios):.3f}",
                }
            )
        )


if __name__ == "__main__":
    main()
