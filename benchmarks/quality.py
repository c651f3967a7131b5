"""What the product reaches on open data: `python -m benchmarks.quality [--data FOLDER] [--set NAME] [--rows N]`.

Walks the road to the report on a public set (training rows limited to N, the set's own dev rows as the test
split) and prints one JSON line a system: the untuned base plainly and with three examples, the tuned F16 file,
and the INT4 file that ships.
`ratio` is the exact rate over that of the base with examples, the best that can be had without training.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from appliance.progress import terminal_progress
from benchmarks.open_data import ROOT, SETS, SHARED, measured, project_of


def main() -> None:
    """Build, and print what the report found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--set", default="coffee_order_json", choices=SETS)
    parser.add_argument("--rows", type=int, default=0, help="training rows (default: the set's)")
    parser.add_argument("--epochs", type=float, default=0.0, help="default: the set's")
    options = parser.parse_args()
    folder = ROOT / ".bench" / "quality" / options.set
    project = project_of(options.set, options.data, folder, rows=options.rows, epochs=options.epochs)
    with terminal_progress() as emit:
        found = measured(project, emit)
    systems, training = found["systems"].values(), found["training"]
    best_untrained = max(each["exact"]["share"] for each in systems if each["key"].startswith("base"))
    for each in systems:
        exact = each["exact"]["share"]
        as_json = (
            f"; F1 {100 * each['f1']:.1f} %, JSON {100 * each['parses']['share']:.1f} %"
            if each["parses"]
            else ""
        )
        print(
            json.dumps(
                {
                    "name": f"{options.set}: {each['title']}",
                    "ours": round(100 * exact, 1),
                    "peer": round(100 * best_untrained, 1),
                    "ratio": round(exact / best_untrained, 2) if best_untrained else None,
                    "unit": "% exactly right",
                    "how": f"{training['rows']} rows, {training['steps']} steps, {each['rows']} dev rows{as_json}",
                }
            )
        )


if __name__ == "__main__":
    main()
