"""What pairs the open documents and chats give, samples of them to be read, and what the language filter would drop.

`python -m benchmarks.pairs --data FOLDER [--samples 20 --seed 1]` prints a JSON line for each collection: pairs by
kind, what was left out by reason, wordings held back, and characters of text a second of processor time; the samples,
where wanted; and for all sets of examples how many prompts and answers are of which language. Each that is of another
than English is printed.

`--chatter 12` also prints so many of the exchanges that are judged to be off the chats' topics, those least like the
rest first. `--written 30` prints, and nothing else, what the embedded base writes of so many sentences of the survival
manual, one of each passage drawn, each with what the checks say of it. Whether a sample is good is for a reader to say.
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
from appliance.dataset.pairs import CHATTER_FILE, PairMaker
from appliance.dataset.pairs.documents import DocumentPairs
from appliance.dataset.pairs.grounding import fault_of
from appliance.dataset.pairs.pair import Tally
from appliance.dataset.pairs.writing import Writer, sentences_to_ask, writer_model
from appliance.dataset.reading import Document, RawRow, Transcript, read_file
from appliance.events import ignore
from appliance.paths import Project
from benchmarks.open_data import SHARED

COLLECTIONS = (
    "docs_survival_manual/*", "docs_nasa_fprime/*", "docs_18f_handbook/*", "raw_irc_ubuntu_*",
    "raw_multidogo_insurance.tsv", "sgd_dialogues.train.jsonl",
)  # fmt: skip
EXAMPLES = {".json", ".jsonl", ".csv", ".tsv", ".txt"}


MANUAL = COLLECTIONS[0]
_CHARACTERS = 4  # of a token, about, as this base has


def pairs_of(data: Path, pattern: str, folder: Path) -> tuple[dict[str, Any], list[Any]]:
    """(figures, pairs that are learnt) of one collection; exchanges off its topics are in `folder`'s CHATTER_FILE."""
    (folder / "anchorhold.toml").write_text('[project]\nname = "measure"\n')
    words = plain_counter(lambda text: -(-len(text) // _CHARACTERS))
    maker = PairMaker(Project.open(folder), words, ignore, folder)
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


def written_of(data: Path, sentences: int, seed: int, folder: Path) -> None:
    """Print what the embedded base writes of sentences of the manual, and a line with how much of it passes."""
    (folder / "anchorhold.toml").write_text('[project]\nname = "measure"\n[dataset.pairs]\nwriter = "base"\n')
    project = Project.open(folder)
    section, tally = project.config.dataset.pairs, Tally()
    maker = DocumentPairs(section, project.config.dataset.duplicates.threshold, tally)
    passages = [
        passage
        for path in sorted(data.glob(MANUAL))
        for document in read_file(path, path.name, DatasetSection(), lambda _: None)
        if isinstance(document, Document)
        for passage in maker.passages_of(document, section.passage_tokens * _CHARACTERS)
        if sentences_to_ask(passage, 1)
    ]
    chosen = random.Random(seed).sample(passages, min(sentences, len(passages)))
    faults: Counter[str] = Counter()
    with Writer(writer_model(project), folder / "written.jsonl", 1024, folder / "engine.log") as writer:
        for one in writer.write(chosen, 1, lambda _: None):
            text = one.passage.text
            fault = (
                "cut-off" if not one.ended else fault_of(one.question, one.answer, text, section.grounding)
            )
            faults[fault or "passed"] += 1
            (sentence,) = sentences_to_ask(one.passage, 1)
            told = {"sentence": sentence, "question": one.question, "answer": one.answer, "fault": fault}
            print(json.dumps(told))
    print(json.dumps({"name": "written by the embedded base", "sentences": len(chosen), **faults}))


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--samples", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--chatter", type=int, default=0)
    parser.add_argument("--written", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.written:
        with tempfile.TemporaryDirectory() as folder:
            written_of(arguments.data, arguments.written, arguments.seed, Path(folder))
        return
    for pattern in COLLECTIONS:
        with tempfile.TemporaryDirectory() as folder:
            figures, rows = pairs_of(arguments.data, pattern, Path(folder))
            shown = Path(folder) / CHATTER_FILE
            chatter = shown.read_text(encoding="utf-8").splitlines() if shown.exists() else []
        print(json.dumps(figures))
        for line in chatter[: arguments.chatter]:
            print(line)
        chance = random.Random(arguments.seed)
        for row in chance.sample(rows, min(arguments.samples, len(rows))):
            print(
                json.dumps({"source": f"{row.file}:{row.line}", "kind": row.kind, "messages": row.messages})
            )
    languages_of(arguments.data)


if __name__ == "__main__":
    main()
