"""What pairs the open documents and chats give, samples of them to be read, and what the language filter would drop.

`python -m benchmarks.pairs --data FOLDER [--samples 20 --seed 1]` prints a JSON line for each collection: pairs by
kind, what was left out by reason, wordings held back, and characters of text a second of processor time; the samples,
where wanted; and for all sets of examples how many prompts and answers are of which language. Each that is of another
than English is printed.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.cleaning import BadConversation, clean_messages
from appliance.dataset.languages import language_of
from appliance.dataset.lengths import plain_counter
from appliance.dataset.pairs import PairMaker
from appliance.dataset.reading import Document, RawRow, Transcript, read_file
from appliance.events import ignore
from appliance.paths import Project
from benchmarks.open_data import SHARED

COLLECTIONS = (
    "docs_survival_manual/*", "docs_nasa_fprime/*", "docs_18f_handbook/*", "raw_irc_ubuntu_*",
    "raw_multidogo_insurance.tsv", "sgd_dialogues.train.jsonl",
)  # fmt: skip
EXAMPLES = {".json", ".jsonl", ".csv", ".tsv", ".txt"}


def pairs_of(data: Path, pattern: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """(figures, pairs that are learnt) of one collection."""
    (folder / "anchorhold.toml").write_text('[project]\nname = "measure"\n')
    words = plain_counter(lambda text: -(-len(text) // 4))  # about four characters a token, as this base has
    maker = PairMaker(Project.open(folder), words, ignore)
    rows = characters = 0
    for path in sorted(data.glob(pattern)):
        for material in read_file(path, path.name, DatasetSection(), lambda _: None):
            if isinstance(material, RawRow):
                rows += 1
            elif isinstance(material, Transcript):
                characters += sum(len(turn.text) for turn in material.turns)
                maker.take(material, test=False)
            elif isinstance(material, Document):
                characters += sum(len(block.text) for block in material.blocks)
                maker.take(material, test=False)
    begin = time.process_time()
    made = list(maker.make())
    seconds = time.process_time() - begin
    maker.close()
    figures = {
        "name": f"pairs, {pattern}",
        "rows_of_its_own": rows,
        **maker.summary(),
        "held_back": maker.held,
        "unpaired": dict(maker.unpaired),
        "kilocharacters_per_cpu_second": round(characters / seconds / 1000) if characters else 0,
    }
    return figures, [pair.row for pair in made if not pair.held]


def languages_of(data: Path) -> None:
    """Print how many prompts and answers are of which language, and those that are of another than English."""
    counts: Counter[str] = Counter()
    for path in sorted(data.iterdir()):
        if path.suffix not in EXAMPLES or ".labels." in path.name:
            continue
        for raw in read_file(path, path.name, DatasetSection(), lambda _: None):
            if not isinstance(raw, RawRow):
                continue
            try:
                messages = clean_messages(raw.messages)
            except BadConversation:
                continue
            for message in messages[-2:]:
                code = language_of(message["content"])
                counts[code or "unknown"] += 1
                if code not in {"", "en"}:
                    print(json.dumps({"file": path.name, "language": code, "text": message["content"][:160]}))
    print(json.dumps({"name": "languages of prompts and answers", **counts}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for pattern in COLLECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            figures, rows = pairs_of(arguments.data, pattern, Path(folder))
        print(json.dumps(figures))
        chance = random.Random(arguments.seed)
        for row in chance.sample(rows, min(arguments.samples, len(rows))):
            print(
                json.dumps({"source": f"{row.file}:{row.line}", "kind": row.kind, "messages": row.messages})
            )
    languages_of(arguments.data)


if __name__ == "__main__":
    main()
