"""The open sets that the figures are taken on, each as a project of its own (`--data` says where they lie).

A set is `NAME.train.jsonl` (or `.csv`) and `NAME.dev.jsonl`; the dev rows are the test split, the training rows are
limited to a number, chosen by hash.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import offline, storage
from appliance.base_model import resolve
from appliance.events import Emit
from appliance.paths import Project
from appliance.pipeline import Journey, walk

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ANCHORHOLD_SHARED", ROOT.parent / "shared")) / "data"


@dataclass(frozen=True)
class OpenSet:
    """How one set is read and learnt.

    Attributes:
        rows, epochs, batch_rows, learning_rate: the recipe; rows counts those that are trained on.
        scorer: `json` or `exact`.
        suffix: of the training file.
        dataset: further lines of `[dataset]`.
    """

    rows: int
    epochs: float
    batch_rows: int
    learning_rate: float
    scorer: str = "json"
    suffix: str = "jsonl"
    dataset: str = ""


_BANKING = """\
prompt_column = "text"
answer_column = "category"
prompt_template = '''Classify this bank customer message into one intent label. Answer with the label only.

Message: {text}'''
"""
SETS = {
    "coffee_order_json": OpenSet(600, 2.5, 4, 1.5e-3),
    "snips_json": OpenSet(600, 2.5, 4, 1.5e-3),
    "banking77": OpenSet(2000, 1.0, 4, 1.5e-3, "exact", "csv", _BANKING),
}


def _toml(value: Any) -> str:
    return json.dumps(value)  # strings, numbers and booleans look the same in both


def project_of(
    name: str,
    data: Path,
    folder: Path,
    *,
    rows: int = 0,
    epochs: float = 0,
    baselines: bool = True,
    **training: Any,
) -> Project:
    """Write the project of a set into `folder` and open it.

    Args:
        name: of the set.
        data: where the sets lie.
        folder: gets `anchorhold.toml`; what was built there before and still holds is used again.
        rows, epochs: other than the set's own; 0 for those.
        baselines: also measure the untuned base.
        training: further keys of `[training]`.
    """
    chosen = SETS[name]
    train, dev = data.resolve() / f"{name}.train.{chosen.suffix}", data.resolve() / f"{name}.dev.jsonl"
    if not (train.is_file() and dev.is_file()):
        raise SystemExit(f"{data}: no {train.name} and {dev.name} there; give --data FOLDER")
    recipe = {
        "epochs": epochs or chosen.epochs,
        "batch_rows": chosen.batch_rows,
        "learning_rate": chosen.learning_rate,
        **training,
    }
    lines = [
        "[project]",
        f"name = {_toml(name.replace('_', '-'))}",
        "[dataset]",
        f"sources = [{_toml(str(train))}]",
        f"test_sources = [{_toml(str(dev))}]",
        f"limit = {rows or chosen.rows}",
        chosen.dataset,
        "[training]",
        *(f"{key} = {_toml(value)}" for key, value in recipe.items()),
        "[evaluation]",
        f"scorer = {_toml(chosen.scorer)}",
        "max_tokens = 160",
        f"baselines = {_toml(baselines)}",
    ]
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)  # a mistake here should be told apart from one of the configuration
    storage.write_text(folder / "anchorhold.toml", text)
    return Project.open(folder)


def measured(project: Project, emit: Emit) -> dict[str, Any]:
    """Walk the road to the report; what results.json and training.json hold, by the names `systems` and `training`."""
    offline.seal()
    checkpoint = resolve(project.config.base.path, project.root, emit)
    walk(Journey(project, checkpoint, emit, checkpoint_seconds=math.inf), until="evaluate")
    results = json.loads((project.evaluation / "results.json").read_text(encoding="utf-8"))
    training = json.loads((project.training / "training.json").read_text(encoding="utf-8"))
    return {"systems": {system["key"]: system for system in results["systems"]}, "training": training}
