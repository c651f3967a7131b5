"""Prompt, examples, retrieval or fine-tuning: `python -m benchmarks.advise [--collections A,B] [--epochs 3]`.

For each collection the base is tuned on the rows that the product makes of it, and `anchorhold advise` asks its cases
every way. For documents the cases are, first, the questions held back (other wordings of facts that are trained on),
and, second, the questions of the test split (facts that are not): what retrieval can look up, a tuned model there
can't know. For conversations and labelled sets they are the test split. One JSON line a collection and kind of case:
`ours` is the tuned INT4 file alone, `peer` the base with what was looked up; `how` has all ways with their intervals
and costs. Finished trainings are kept in .bench/advise and not walked again.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import appliance.training  # noqa: F401 - before torch: it sets what torch reads when it is loaded
from appliance import offline, storage
from appliance.base_model import resolve
from appliance.dataset import Row, read_rows
from appliance.evaluation.advising import Advice, advise
from appliance.events import Emit
from appliance.paths import Project
from appliance.pipeline import Journey, walk
from appliance.progress import terminal_progress
from benchmarks.open_data import ROOT, SETS, SHARED, project_of

DOCUMENTS = ("docs_survival_manual", "docs_nasa_fprime")
CONVERSATIONS = {"raw_irc_ubuntu": ["raw_irc_ubuntu_*.txt"], "sgd_dialogues": ["sgd_dialogues.train.jsonl"]}
CASES = 100  # of one kind
_HOLD_BACK = 0.3  # a tenth, as it comes, would leave some thirty questions a collection


def collection_project(name: str, data: Path, folder: Path, epochs: float) -> Project:
    """The project of a collection of documents or conversations."""
    sources = [str(data.resolve() / pattern) for pattern in CONVERSATIONS.get(name, [name])]
    dev = data.resolve() / f"{name}.dev.jsonl"
    lines = [
        "[project]",
        f"name = {json.dumps(name.replace('_', '-'))}",
        "[dataset]",
        f"sources = {json.dumps(sources)}",
        *([f"test_sources = [{json.dumps(str(dev))}]"] if dev.is_file() else []),
        "max_tokens = 1024",
        "[dataset.pairs]",
        f"hold_back = {_HOLD_BACK}",
        "[training]",
        f"epochs = {epochs}",
        "batch_rows = 8",
        "learning_rate = 0.001",
        # The last adapter is kept: the validation split holds other facts, and knows nothing of what was learnt.
        "evaluations = 1",
        "[evaluation]",
        'scorer = "exact"',
        "max_tokens = 96",
        "baselines = false",
    ]
    storage.write_text(folder / "anchorhold.toml", "\n".join(lines) + "\n")
    return Project.open(folder)


def cases_of(project: Project, documents: bool) -> Iterator[tuple[str, list[Row]]]:
    """(kind of case, rows), at most `CASES` of each."""
    named = [("test", project.dataset / "test.jsonl")]
    if documents:
        named.insert(0, ("held back", project.dataset / "held_back.jsonl"))
    for kind, path in named:
        rows = sorted(read_rows(path), key=lambda row: row.id)
        if documents:  # questions alone: a summary or a gap has its passage in the prompt already
            rows = [row for row in rows if row.kind == "qa"]
        if rows:
            yield kind, rows[:CASES]


def line_of(name: str, kind: str, advice: Advice, training: dict[str, Any]) -> dict[str, Any]:
    """The JSON line of one collection and kind of case."""
    ways = {way.key: way for way in advice.ways}
    ours, peer = ways["tuned"].value, ways["retrieval"].value
    told = "; ".join(
        f"{way.title}: {way.value:.3f} ({way.low:.3f} to {way.high:.3f}), {way.against_best}, "
        f"{way.cost.rows_per_second:.2f} rows/s, {way.cost.prompt_tokens:.0f} tokens a prompt, "
        f"{way.cost.memory_bytes / 1e6:.0f} MB"
        for way in advice.ways
    )
    return {
        "name": f"{name}, {kind}: tuned against looked up",
        "ours": round(ours, 4),
        "peer": round(peer, 4),
        "ratio": round(ours / peer, 3) if peer else None,
        "unit": "exactly right" if advice.measure == "exact" else "ROUGE-L",
        "how": f"{advice.rows} cases; {training['rows']} rows learnt in {training['seconds']:.0f} s; {told}",
    }


def main() -> None:
    """Train, ask, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    known = ["coffee_order_json", "banking77", *DOCUMENTS, *CONVERSATIONS]
    parser.add_argument("--collections", default=",".join(known), help="comma-separated")
    parser.add_argument("--epochs", type=float, default=3.0, help="over documents and conversations")
    given = parser.parse_args()
    offline.seal()
    with terminal_progress() as emit:
        for name in given.collections.split(","):
            folder = ROOT / ".bench" / "advise" / name
            if name in SETS:
                project = project_of(name, given.data, folder, baselines=False)
            else:
                project = collection_project(name, given.data, folder, given.epochs)
            _print_all(name, project, emit)


def _print_all(name: str, project: Project, emit: Emit) -> None:
    checkpoint = resolve(project.config.base.path, project.root, emit)
    walk(Journey(project, checkpoint, emit, checkpoint_seconds=math.inf), until="convert")
    training = json.loads((project.training / "training.json").read_text(encoding="utf-8"))
    for kind, rows in cases_of(project, name in DOCUMENTS):
        advice = advise(project, rows, emit, checkpoint=checkpoint)
        print(json.dumps(line_of(name, kind, advice, training)), flush=True)


if __name__ == "__main__":
    main()
