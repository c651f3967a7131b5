"""Preparing a large dataset: rows a second beside a plain `datasets` pipeline, and the memory that it takes.

Documents have a comparison of their own, benchmarks.document_scale: here they are in the last run alone.

`python -m benchmarks.dataset_scale [--megabytes 1000] [--rounds 1] [--data FOLDER]` makes its input once in
.bench/scale-N (see scale_data: nine tenths are chats and a table, which are timed, one tenth documents), then prints a
JSON line a figure, all of the same run:

- *ours* is `appliance.dataset.prepare` as it comes: reading by content, cleaning, exact and near duplicates, conflicts,
  token counts by the chat template, the split by cluster, the card with its digests. *like for like* is the same with
  `duplicates.near = "ignore"`.
- *peer* is the least that does the same job with `datasets`: `load_dataset` of the same two files, `map` to clean
  chat messages (NFC, white space), a filter that leaves out equal rows, a batched `map` that counts tokens by the chat
  template, a filter by length, `train_test_split` twice, `to_json`. No near-duplicates, no split by group, no reasons.
  At its defaults (one process, batches tokenized by the tokenizer's own threads) and with `num_proc` = cores.

Each is a process of its own, timed from its start to its end; the rate is rows of the input by that. `cpu` is the
processor time of it and its children, which another load on the machine disturbs less. The last line is a run with the
documents too, where each of our processes is refused more than --limit GiB of data (RLIMIT_DATA): peak of the whole
tree's anonymous memory, of its PSS (mapped files, which the kernel may drop, count there), and the longest time without
a word of progress.
`datasets` comes from the environment that benchmarks.training prepares for TRL.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.base_model import resolve
from benchmarks import scale_data
from benchmarks.open_data import SHARED
from benchmarks.training import prepare_peer

ROOT = Path(__file__).resolve().parents[1]
_SAMPLED_SECONDS = 0.25

OUR_PROGRAM = """
import json, resource, sys, time
from pathlib import Path
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
from appliance.dataset import prepare
from appliance.paths import Project
last, silent, where = time.monotonic(), 0.0, ""
def emit(event):
    global last, silent, where
    now = time.monotonic()
    if now - last > silent:
        silent, where = now - last, event.text
    last = now
card = prepare(Project.open(Path(sys.argv[1])), emit)
print("DONE", json.dumps({"rows": card.rows, "silent": round(silent, 1), "before": where[:60]}))
"""

PEER_END = """\
def count(batch):
    texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in batch["messages"]]
    return {"tokens": [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]}
rows = rows.map(count, batched=True, num_proc=workers)
rows = rows.filter(lambda tokens: [number <= 1024 for number in tokens], batched=True, input_columns="tokens",
                   num_proc=workers)
first = rows.train_test_split(test_size=0.2, seed=1)
second = first["test"].train_test_split(test_size=0.5, seed=1)
sizes = {}
for name, split in (("train", first["train"]), ("valid", second["train"]), ("test", second["test"])):
    split.to_json(str(output / (name + ".jsonl")), num_proc=workers)
    sizes[name] = len(split)
print("DONE", json.dumps({"rows": sizes}))
"""
"""How a peer's program goes on once it has its `rows` of messages: tokens, splits, files."""
_PEER_PROGRAM = """
import hashlib, json, sys, unicodedata
from pathlib import Path
import datasets
from transformers import AutoTokenizer
folder, output, checkpoint, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]) or None
datasets.disable_progress_bars()
tokenizer = AutoTokenizer.from_pretrained(checkpoint, local_files_only=True)
def clean(text):
    return " ".join(unicodedata.normalize("NFC", text).split(" ")).strip()
def chat(row):
    return {"messages": [{"role": turn["role"], "content": clean(turn["content"])} for turn in row["messages"]]}
def table(row):
    return {"messages": [{"role": "user", "content": clean(row["question"] or "")},
                         {"role": "assistant", "content": clean(row["answer"] or "")}]}
def load(kind, name, mapper):
    rows = datasets.load_dataset(kind, data_files=str(folder / name), split="train", cache_dir=str(output / "cache"))
    return rows.map(mapper, num_proc=workers, remove_columns=[c for c in rows.column_names if c != "messages"])
rows = datasets.concatenate_datasets([load("json", "JSONL", chat), load("csv", "TABLE", table)])
seen = set()
def new(row):
    digest = hashlib.sha256(json.dumps(row["messages"], sort_keys=True).encode()).digest()[:8]
    if digest in seen:
        return False
    seen.add(digest)
    return True
rows = rows.filter(new)
""".replace('"JSONL"', repr(scale_data.JSONL)).replace('"TABLE"', repr(scale_data.TABLE))


@dataclass
class Run:
    """One process and its children, from start to end.

    Attributes:
        seconds: of the clock.
        cpu: of processor time.
        anonymous, pss: bytes, the highest sums seen.
        told: what it printed.
    """

    seconds: float = 0.0
    cpu: float = 0.0
    anonymous: int = 0
    pss: int = 0
    told: dict[str, Any] = field(default_factory=dict)


def _tree(process: int) -> list[int]:
    """A process and all below it."""
    found = [process]
    for number in found:
        for thread in Path(f"/proc/{number}/task").glob("*/children"):
            found += map(int, thread.read_text().split())
    return found


def _kilobytes(file: Path, name: str) -> int:
    """A figure of one of the kernel's files on a process; 0 where it isn't there."""
    lines = file.read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def measured(command: list[str], folder: Path) -> Run:
    """Run a program that prints a line `DONE {...}`, and watch it."""
    run = Run()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with (folder / "out.txt").open("w+") as out, (folder / "err.txt").open("w+") as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, env=environment)
        while process.poll() is None:
            with contextlib.suppress(OSError):  # one that has just ended
                folders = [Path(f"/proc/{number}") for number in _tree(process.pid)]
                anonymous = sum(_kilobytes(folder / "status", "RssAnon:") for folder in folders)
                run.anonymous = max(run.anonymous, anonymous * 1024)
                pss = sum(_kilobytes(folder / "smaps_rollup", "Pss:") for folder in folders)
                run.pss = max(run.pss, pss * 1024)
            time.sleep(_SAMPLED_SECONDS)
        run.seconds = time.perf_counter() - begun
        out.seek(0)
        err.seek(0)
        lines = [line for line in out.read().splitlines() if line.startswith("DONE ")]
        if process.returncode or not lines:
            raise SystemExit(f"{command[1]} failed with {process.returncode}:\n{err.read()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    run.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    run.told = json.loads(lines[-1].removeprefix("DONE "))
    return run


def our_run(source: Path, near: str, documents: bool, limit: int) -> Run:
    """Prepare the input in a project of its own."""
    files = [scale_data.JSONL, scale_data.TABLE, *([scale_data.DOCUMENTS] if documents else [])]
    return project_run([source / file for file in files], f'duplicates = {{ near = "{near}" }}\n', limit)


def project_run(sources: list[Path], dataset: str, limit: int = 0) -> Run:
    """Prepare files in a project of its own, beside the first of them.

    Args:
        sources: files and folders.
        dataset: further lines of `[dataset]` and what is below it.
        limit: bytes of data that a process may have; 0: as many as it likes.
    """
    with tempfile.TemporaryDirectory(prefix=".scale-", dir=sources[0].parent.parent) as name:
        folder = Path(name)
        named = json.dumps([str(source) for source in sources])
        (folder / "anchorhold.toml").write_text(
            f'[project]\nname = "scale"\n[dataset]\nsources = {named}\n{dataset}'
        )
        program = folder / "ours.py"
        program.write_text(OUR_PROGRAM)
        return measured([sys.executable, str(program), str(folder), str(limit)], folder)


def peer_run(python: Path, source: Path, checkpoint: Path, workers: int) -> Run:
    """The pipeline of `datasets` on the same files; 0 workers: as it comes."""
    with tempfile.TemporaryDirectory(prefix=".scale-", dir=source.parent) as name:
        folder = Path(name)
        program = folder / "peer.py"
        program.write_text(_PEER_PROGRAM + PEER_END)
        return measured(
            [str(python), str(program), str(source), str(folder), str(checkpoint), str(workers)], folder
        )


def _told(run: Run, count: int) -> dict[str, Any]:
    return {
        "rows_per_second": round(count / run.seconds),
        "cpu_seconds": round(run.cpu, 1),
        "anonymous_mib": run.anonymous >> 20,
        "rows": run.told["rows"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--megabytes", type=int, default=1000, help="size of the input, a tenth of it documents"
    )
    parser.add_argument("--words", type=int, default=0, help="words an answer, for short rows; 0: sentences")
    parser.add_argument("--rounds", type=int, default=1, help="of all runs; the fastest of each counts")
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of memory for ours in the last run")
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--no-peer", action="store_true", help="ours alone")
    options = parser.parse_args()
    source = ROOT / ".bench" / f"scale-{options.megabytes}-{options.words}"
    count = scale_data.write(source, options.megabytes * 1_000_000, options.data, options.words)
    checkpoint = resolve("embedded", ROOT)
    cores = len(os.sched_getaffinity(0))
    python = None if options.no_peer else prepare_peer()
    runs: dict[str, list[Run]] = {}
    for _ in range(options.rounds):
        runs.setdefault("ours", []).append(our_run(source, "group", False, 0))
        runs.setdefault("like for like", []).append(our_run(source, "ignore", False, 0))
        if python is not None:
            runs.setdefault("defaults", []).append(peer_run(python, source, checkpoint, 0))
            runs.setdefault("num_proc", []).append(peer_run(python, source, checkpoint, cores))
    best = {name: min(several, key=lambda run: run.seconds) for name, several in runs.items()}
    size = sum((source / name).stat().st_size for name in (scale_data.JSONL, scale_data.TABLE)) // 1_000_000
    how = f"{size} MB of chats and a table, {count} rows, {cores} cores, the fastest of {options.rounds}"
    for ours in ("ours", "like for like"):
        print(
            json.dumps({"name": f"dataset, {ours}", "unit": "rows/s", **_told(best[ours], count), "how": how})
        )
        for peer, words in (("defaults", "as it comes"), ("num_proc", f"num_proc={cores}")):
            if peer not in best:
                continue
            line = {
                "name": f"dataset, {ours}, against datasets {words}",
                "ours": round(count / best[ours].seconds),
                "peer": round(count / best[peer].seconds),
                "ratio": round(best[peer].seconds / best[ours].seconds, 2),
                "cpu_ratio": round(best[peer].cpu / best[ours].cpu, 2),
                "unit": "rows/s",
                "how": {"peer": _told(best[peer], count), "input": how},
            }
            print(json.dumps(line))
    whole = our_run(source, "group", True, int(options.limit * 2**30))
    peak = max(whole.anonymous, *(run.anonymous for run in runs["ours"]))
    line = {
        "name": "dataset, memory",
        "ours": round(peak / 2**30, 2),
        "limit": options.limit,
        "within": peak <= options.limit * 2**30,
        "unit": "GiB of anonymous memory, the whole process tree",
        "pss_gib": round(whole.pss / 2**30, 2),
        "silent_seconds": whole.told["silent"],
        "silent_before": whole.told["before"],
        "seconds": round(whole.seconds, 1),
        "how": how + ", with its documents",
    }
    print(json.dumps(line))
    for left in source.parent.glob(".scale-*"):
        shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    main()
