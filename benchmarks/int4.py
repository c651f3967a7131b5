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
import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

from appliance.base_model import resolve
from appliance.dataset import read_rows
from appliance.pipeline import Journey, walk
from appliance.pipeline.road import code_digest
from appliance.progress import terminal_progress
from appliance.training import resolve_plan
from appliance.training.checkpoints import FILE_NAME
from benchmarks.forked import Keeper, continue_from
from benchmarks.open_data import ROOT, SETS, SHARED, measured, project_of


def _pair(name: str, data: Path, seed: int, **training: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the training on the grid and the one in 16 bits gave; both have the same steps before the grid."""
    folders = [ROOT / ".bench" / "int4" / f"{name}-{seed}-{kind}" for kind in ("grid", "plain")]
    grid = project_of(name, data, folders[0], baselines=False, seed=seed, **training)
    plain = project_of(name, data, folders[1], baselines=False, seed=seed, **{**training, "grid_start": 1.0})
    kept = plain.build / "fork"
    with terminal_progress() as emit:
        checkpoint = resolve(plain.config.base.path, plain.root, emit)
        journey = Journey(grid, checkpoint, emit, checkpoint_seconds=math.inf)
        walk(journey, until="dataset")
        recipe = grid.config.training
        steps = resolve_plan(recipe, len(read_rows(grid.dataset / "train.jsonl"))).steps
        keeper = Keeper(plain, {round(steps * recipe.grid_start): kept}, emit)
        in_16_bits = measured(plain, keeper)
        if not (grid.training / FILE_NAME).exists():
            continue_from(kept, grid, checkpoint, code_digest(("appliance/training",)))
        return measured(grid, emit), in_16_bits


def _exact(found: dict[str, Any], key: str) -> float:
    return float(found["systems"][key]["exact"]["share"])


def one(name: str, data: Path, seed: int, **training: Any) -> dict[str, Any]:
    """The line of one set and seed."""
    grid, plain = _pair(name, data, seed, **training)
    ours, peer = _exact(grid, "shipped"), _exact(plain, "tuned_f16")
    after = _exact(plain, "shipped")
    shipped = grid["systems"]["shipped"]
    return {
        "name": f"{name}, seed {seed}: INT4 trained on its grid, against 16 bits",
        "ours": round(100 * ours, 1),
        "peer": round(100 * peer, 1),
        "ratio": round(ours / peer, 4) if peer else None,
        "unit": "% exactly right",
        "how": f"{grid['training']['rows']} rows, {grid['training']['steps']} steps, {shipped['rows']} dev rows; "
        f"quantized afterwards {100 * after:.1f} % (ratio {after / peer if peer else 0:.3f}); 16-bit file of the "
        f"training on the grid {100 * _exact(grid, 'tuned_f16'):.1f} %; training "
        f"{grid['training']['seconds']:.0f} s on the grid, {plain['training']['seconds']:.0f} s in 16 bits; "
        f"{shipped['file']['bits_per_weight']:.2f} bits per weight",
    }


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--sets", default=",".join(SETS), help="comma-separated")
    parser.add_argument("--seeds", default="7,8,9", help="comma-separated")
    options = parser.parse_args()
    lines = []
    for seed in map(int, options.seeds.split(",")):
        for name in options.sets.split(","):
            lines.append(one(name, options.data, seed))
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
