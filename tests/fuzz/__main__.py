"""Fuzzes what comes from outside: `python -m tests.fuzz [--minutes 60] [--targets stick,receipts] [--keep FOLDER]`.

The minutes are shared among the targets (tests/fuzz/inputs.py), which atheris leads by the code that an input reaches,
and the GGUF header's (gguf_headers.py), which has mutations of its own and ggml's reader beside. Each begins with the
inputs that are kept in tests/fuzz/corpus, and with --update leaves there the shortest that reach something of their
own. atheris is installed once into .bench/atheris; it is no dependency of the product. A target fails on anything but
an error of ours, on an input that takes a second of processor time, and beyond a gibibyte of memory. A JSON line a
target: executions, peak memory, what was found; exit status 1 with a finding, whose input lies in the kept folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.training import prepare_peer
from tests.fuzz import choices
from tests.fuzz.inputs import TARGETS

HEADERS = "gguf"
MEMORY = 1024  # MiB


def _number(name: str, text: str) -> int:
    found = re.search(rf"stat::{name}:\s+(\d+)", text)
    return int(found[1]) if found else 0


def fuzz(python: Path, name: str, seconds: int, folder: Path) -> bool:
    """Run a target for some seconds and print what came of it; whether nothing was found."""
    if name == HEADERS:
        program = ["-m", "tests.fuzz.gguf_headers", "--minutes", str(seconds / 60), "--keep", str(folder)]
        return subprocess.run([sys.executable, *program]).returncode == 0
    corpus = folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(choices.kept(name)):
        (corpus / f"kept-{number}").write_bytes(data)
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={MEMORY}", "-timeout=10", "-print_final_stats=1"]
    options += [f"-max_len={choices.LONGEST}", f"-artifact_prefix={folder / name}-"]
    done = subprocess.run(
        [str(python), "-m", "tests.fuzz.with_atheris", name, str(corpus), *options],
        capture_output=True, text=True, errors="replace", env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    said = done.stdout + done.stderr
    line = {
        "target": name,
        "executions": _number("number_of_executed_units", said),
        "memory_mib": _number("peak_rss_mb", said),
        "inputs_kept": len(list(corpus.iterdir())),
        "seconds": seconds,
        "found": done.returncode != 0,
    }
    print(json.dumps(line), flush=True)
    if done.returncode:
        print(said[-3000:], file=sys.stderr)
    return done.returncode == 0


def main() -> int:
    """Run them one after another."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--targets", default=",".join([*TARGETS, HEADERS]))
    parser.add_argument("--keep", type=Path, help="where inputs and findings are kept")
    parser.add_argument("--update", action="store_true", help="renew tests/fuzz/corpus")
    given = parser.parse_args()
    python = prepare_peer("atheris", ("atheris==3.0.0",))
    names = given.targets.split(",")
    folder = given.keep or Path(tempfile.mkdtemp(prefix="anchorhold-fuzz-"))
    seconds = round(60 * given.minutes / len(names))
    fine = [fuzz(python, name, seconds, folder) for name in names]
    for name in names if given.update else ():
        if name != HEADERS:
            choices.keep(name, folder / name)
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
