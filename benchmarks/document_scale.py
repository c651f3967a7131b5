"""Preparing documents: megabytes and rows a second beside a plain `datasets` pipeline that makes rows of passages.

`python -m benchmarks.document_scale [--megabytes 100] [--rounds 1] [--data FOLDER]` makes its input once in
.bench/documents-N (Markdown, see scale_data), then prints a JSON line a figure, all of the same run:

- *like for like* is `appliance.dataset.prepare` that makes one kind of row, `continue` (a passage's first sentence is
  asked with, its rest is the answer), and looks for neither near-duplicates nor boilerplate: reading by content,
  passages under their headings, each prompt once, cleaning, token counts by the chat template, the split by document.
- *ours* is the same as it comes: questions, extracts, summaries and gaps too, boilerplate, near-duplicates, conflicts.
- *peer* is the least that does the first job with `datasets`: `load_dataset("text", sample_by="document")`, a batched
  `map` that goes through the lines, keeps headings and code apart and joins paragraphs to passages of at most as many
  characters (cut at ends of sentences), cleans them (NFC, white space) and makes the same kind of chat of each; a
  filter that leaves out equal prompts; a batched `map` that counts tokens; a filter by length; `train_test_split`
  twice, `to_json`. No other format, no titles that aren't marked, no split by document. At its defaults and with
  `num_proc` = cores.

The two make different numbers of rows of the same text (another idea of what prose is), so megabytes of input a second
stand beside rows a second. Each is a process of its own, timed from its start to its end; `cpu` is processor time with
children's, which another load on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from appliance.base_model import resolve
from benchmarks import scale_data
from benchmarks.dataset_scale import PEER_END, ROOT, Run, measured, project_run
from benchmarks.open_data import SHARED
from benchmarks.training import prepare_peer

_LIKE = 'duplicates = { near = "ignore" }\n[dataset.pairs]\nkinds = ["continue"]\nboilerplate = "keep"\n'
_PEER_PROGRAM = r"""
import json, re, sys, unicodedata
from pathlib import Path
import datasets
from transformers import AutoTokenizer
folder, output, checkpoint, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]) or None
LIMIT = 300 * 4
datasets.disable_progress_bars()
tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
SENTENCE = re.compile(r"(?<=[.!?])\s+")
NO_PROSE = re.compile(r"\s*(?:[-*+>|]|\d+[.)])")
def blocks(text):
    title, place, held, code = "", "", [], False
    for line in [*text.split("\n"), ""]:
        if line.lstrip().startswith("```"):
            code = not code
            held = []
        elif code:
            continue
        elif line.startswith("#"):
            if held:
                yield title, place, held
            held, place = [], line.lstrip("#").strip()
            title = title or place
        elif line.strip():
            held.append(line)
        elif held:
            yield title, place, held
            held = []
def passages(text):
    under, made = None, ""
    for title, place, lines in blocks(unicodedata.normalize("NFC", text)):
        if NO_PROSE.match(lines[0]):
            continue
        block = " ".join(" ".join(lines).split())
        for piece in SENTENCE.split(block) if len(block) > LIMIT else [block]:
            if made and ((title, place) != under or len(made) + len(piece) > LIMIT):
                yield *under, made
                made = ""
            under = (title, place)
            made = f"{made} {piece}" if made else piece
    if made:
        yield *under, made
def chats(batch):
    rows = []
    for text in batch["text"]:
        for title, place, passage in passages(text):
            first, *rest = SENTENCE.split(passage, maxsplit=1)
            if rest and len(first) >= 25 and len(rest[0]) >= 120:
                asked = f'Continue this passage from "{place}" of "{title}":\n\n{first}'
                rows.append([{"role": "user", "content": asked}, {"role": "assistant", "content": rest[0]}])
    return {"messages": rows}
files = sorted(str(path) for path in folder.glob("*.md"))
pages = datasets.load_dataset("text", data_files=files, split="train", sample_by="document",
                              cache_dir=str(output / "cache"))
rows = pages.map(chats, batched=True, num_proc=workers, remove_columns=["text"])
seen = set()
def new(row):
    asked = row["messages"][0]["content"]
    return not (asked in seen or seen.add(asked))
rows = rows.filter(new)
"""


def peer_run(python: Path, source: Path, checkpoint: Path, workers: int) -> Run:
    """The pipeline of `datasets` on the same documents; 0 workers: as it comes."""
    with tempfile.TemporaryDirectory(prefix=".scale-", dir=source.parent) as name:
        folder = Path(name)
        program = folder / "peer.py"
        program.write_text(_PEER_PROGRAM + PEER_END)
        documents = str(source / scale_data.DOCUMENTS)
        return measured(
            [str(python), str(program), documents, str(folder), str(checkpoint), str(workers)], folder
        )


def _told(run: Run, size: int) -> dict[str, Any]:
    rows = sum(run.told["rows"].values())
    return {
        "rows": rows,
        "rows_per_second": round(rows / run.seconds),
        "rows_per_cpu_second": round(rows / run.cpu),
        "megabytes_per_second": round(size / run.seconds / 1e6, 2),
        "megabytes_per_cpu_second": round(size / run.cpu / 1e6, 2),
        "seconds": round(run.seconds, 1),
        "cpu_seconds": round(run.cpu, 1),
        "anonymous_mib": run.anonymous >> 20,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=100, help="size of the input")
    parser.add_argument("--rounds", type=int, default=1, help="of all runs; the least processor time counts")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    options = parser.parse_args()
    source = ROOT / ".bench" / f"documents-{options.megabytes}"
    size = scale_data.write_documents(source, options.megabytes * 1_000_000, options.data)
    checkpoint = resolve("embedded", ROOT)
    cores = len(os.sched_getaffinity(0))
    python = None if options.no_peer else prepare_peer()
    documents = [source / scale_data.DOCUMENTS]
    runs: dict[str, list[Run]] = {}
    for _ in range(options.rounds):
        runs.setdefault("like for like", []).append(project_run(documents, _LIKE))
        if python is not None:
            runs.setdefault("datasets as it comes", []).append(peer_run(python, source, checkpoint, 0))
            runs.setdefault(f"datasets, num_proc={cores}", []).append(
                peer_run(python, source, checkpoint, cores)
            )
        runs.setdefault("ours", []).append(project_run(documents, ""))
    best = {name: min(several, key=lambda run: run.cpu) for name, several in runs.items()}
    how = f"{size / 1e6:.0f} MB of Markdown, {cores} cores, the least processor time of {options.rounds}"
    for name, run in best.items():
        print(json.dumps({"name": f"documents, {name}", **_told(run, size), "how": how}))
    ours = best["like for like"]
    for name, run in best.items():
        if not name.startswith("datasets"):
            continue
        made, others = sum(ours.told["rows"].values()), sum(run.told["rows"].values())
        line = {
            "name": f"documents, like for like against {name}",
            "ratio_of_megabytes": round(run.seconds / ours.seconds, 2),
            "ratio_of_rows": round(made / ours.seconds / (others / run.seconds), 2),
            "cpu_ratio_of_megabytes": round(run.cpu / ours.cpu, 2),
            "cpu_ratio_of_rows": round(made / ours.cpu / (others / run.cpu), 2),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()
