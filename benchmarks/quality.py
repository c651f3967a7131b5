"""What the product reaches on open data: `python -m benchmarks.quality [--data FOLDER] [--set NAME] [--rows N]`.

Walks the road to the report on a public set (training rows limited to N, the set's own dev rows as the test
split) and prints one JSON line a system: the untuned base plainly and with three examples, the tuned F16 file,
and the INT4 file that ships.
`ratio` is the exact rate over that of the base with examples, the best that can be had without training.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from appliance import offline, storage
from appliance.base_model import resolve
from appliance.paths import Project
from appliance.pipeline import Journey, walk
from appliance.progress import terminal_progress

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("ANCHORHOLD_SHARED", ROOT.parent / "shared")) / "data"

CONFIGURATION = """\
[project]
name = "{name}"

[dataset]
sources = ["{data}/{set}.train.jsonl"]
test_sources = ["{data}/{set}.dev.jsonl"]
limit = {rows}

[training]
epochs = {epochs}
batch_rows = 4
learning_rate = 1.5e-3

[evaluation]
max_tokens = 128
"""


def main() -> None:
    """Build, and print what the report found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--set", default="coffee_order_json")
    parser.add_argument("--rows", type=int, default=600)
    parser.add_argument("--epochs", type=float, default=2.5)
    options = parser.parse_args()
    if not (options.data / f"{options.set}.train.jsonl").is_file():
        raise SystemExit(f"{options.data}: no {options.set}.train.jsonl there; give --data FOLDER")
    folder = ROOT / ".bench" / "quality" / options.set
    text = CONFIGURATION.format(
        name=options.set.replace("_", "-"),
        data=options.data.resolve(),
        set=options.set,
        rows=options.rows,
        epochs=options.epochs,
    )
    storage.write_text(folder / "anchorhold.toml", text)
    offline.seal()
    project = Project.open(folder)
    with terminal_progress() as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        walk(Journey(project, checkpoint, emit), until="evaluate")
    systems = json.loads((project.evaluation / "results.json").read_text(encoding="utf-8"))["systems"]
    best_untrained = max(each["exact"]["share"] for each in systems if each["key"].startswith("base"))
    for each in systems:
        exact = each["exact"]["share"]
        print(
            json.dumps(
                {
                    "name": f"{options.set}: {each['title']}",
                    "ours": round(100 * exact, 1),
                    "peer": round(100 * best_untrained, 1),
                    "ratio": round(exact / best_untrained, 2) if best_untrained else None,
                    "unit": "% exactly right",
                    "how": f"{options.rows} rows, {options.epochs:g} epochs, {each['rows']} dev rows; F1 "
                    f"{100 * each['f1']:.1f} %, JSON {100 * each['parses']['share']:.1f} %",
                }
            )
        )


if __name__ == "__main__":
    main()
