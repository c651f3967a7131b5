"""A trained adapter to the INT4 file that ships, its rounding chosen by the project's rows, against llama.cpp's way.

`python -m benchmarks.convert_calibrated --project FOLDER [--rounds N] [--scratch DIR]` prints three JSON lines:
seconds, peak memory, and the mean Kullback-Leibler divergence of the next-token distributions from the float32 model's,
over rows of the test split (`ratio` above 1: ours is nearer). Ours is the stage `convert` for the shipped type: the
training rows through base and adapter, and GPTQ on the blocks. The peer's road is peft merge -> save -> llama.cpp's
converter -> llama-imatrix over the text of the same rows -> llama-quantize with that importance matrix, to the same
types. Each step is a process whose start counts; rounds alternate, the median counts. A second line of each kind has
the peer's road without the importance matrix (each weight to the nearest).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from appliance import base_model
from appliance.calibration import chosen
from appliance.dataset import read_rows
from appliance.paths import Project
from benchmarks.convert import MERGE, _run, divergences, peer_tools

OURS = """
import sys
from pathlib import Path
from appliance import base_model, conversion
from appliance.paths import Project
from appliance.rounding import Rounding
project = Project.open(Path(sys.argv[1]))
base = base_model.resolve(project.config.base.path, project.root, lambda event: None)
ships = conversion.ships(project)
rounding = Rounding(project, base, lambda event: None)
rounding.prepare(ships.type, dict(ships.overrides))
conversion.write_gguf(base, Path(sys.argv[2]), **conversion.file_settings(project), quantization=ships.type,
                      overrides=dict(ships.overrides), quantize=rounding)
assert rounding.name == "gptq"
"""
ASKED = 60  # test rows whose every position is compared


def peer_road(
    project: Project, base: Path, folder: Path, scratch: Path, *, measured: bool
) -> tuple[float, float]:
    """Seconds and peak memory; with an importance matrix or without."""
    source, tool = peer_tools(scratch)
    _, imatrix = peer_tools(scratch, "llama-imatrix")
    environment = os.environ | {
        "PYTHONPATH": f"{source / 'gguf-py'}:{scratch / 'python'}",
        "HF_HUB_OFFLINE": "1",
    }
    merged, wide, log, found = (
        folder / "merged",
        folder / "wide.gguf",
        folder / "peer.log",
        folder / "imatrix.gguf",
    )
    threads = str(len(os.sched_getaffinity(0)))
    parts = [f"{name}={kind.lower()}" for name, kind in project.config.parts_of("Q4_0").items()]
    types = [word for part in parts for word in ("--tensor-type", part)]
    types += ["--token-embedding-type", project.config.convert.embeddings.lower()]
    convert: list[str | Path] = [
        sys.executable,
        source / "convert_hf_to_gguf.py",
        merged,
        "--outtype",
        "f16",
        "--outfile",
        wide,
    ]
    measure: list[str | Path] = [
        imatrix,
        "-m",
        wide,
        "-f",
        folder / "rows.txt",
        "-o",
        found,
        "-t",
        threads,
        "--parse-special",
        "-c",
        "512",
    ]
    begun = time.perf_counter()
    memory = [
        _run([sys.executable, "-c", MERGE, base, project.adapter, merged], log, environment),
        _run(convert, log, environment),
    ]
    if measured:
        memory.append(_run(measure, log))
        types += ["--imatrix", str(found)]
    memory.append(_run([tool, *types, wide, folder / f"peer-{measured}.gguf", "Q4_0", threads], log))
    return time.perf_counter() - begun, max(memory)


def text_of(project: Project, base: Path, count: int, split: str) -> list[list[dict[str, Any]]]:
    """Conversations of a split, evenly; all that `chosen` takes for the training's."""
    rows = read_rows(project.dataset / f"{split}.jsonl")
    if split == "train":
        wanted = {row.row_id for row in chosen(rows, base)}
        return [row.messages for row in rows if row.id in wanted]
    return [row.messages for row in sorted(rows, key=lambda row: row.id)[:count]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--project", type=Path, required=True, help="trained, for Q4_0")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--scratch", type=Path, default=Path(tempfile.gettempdir()) / "anchorhold-llama-tools"
    )
    given = parser.parse_args()
    given.scratch.mkdir(parents=True, exist_ok=True)
    project = Project.open(given.project)
    base = base_model.resolve(project.config.base.path, project.root)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(base), local_files_only=True)
    taught = text_of(project, base, 0, "train")
    with tempfile.TemporaryDirectory(prefix="anchorhold-bench-", dir=given.scratch) as name:
        folder = Path(name)
        rendered = [tokenizer.apply_chat_template(row, tokenize=False) for row in taught]
        (folder / "rows.txt").write_text("".join(rendered), encoding="utf-8")
        peer_road(project, base, folder, given.scratch, measured=False)  # tools made, pages read
        taken: dict[str, list[tuple[float, float]]] = {"ours": [], "matrix": [], "plain": []}
        for _ in range(given.rounds):
            begun = time.perf_counter()
            command: list[str | Path] = [sys.executable, "-c", OURS, project.root, folder / "ours.gguf"]
            taken["ours"].append((0.0, _run(command, folder / "ours.log")))
            taken["ours"][-1] = (time.perf_counter() - begun, taken["ours"][-1][1])
            taken["matrix"].append(peer_road(project, base, folder, given.scratch, measured=True))
            taken["plain"].append(peer_road(project, base, folder, given.scratch, measured=False))
        files = [folder / "ours.gguf", folder / "peer-True.gguf", folder / "peer-False.gguf"]
        asked = text_of(project, base, ASKED, "test")
        (ours_kl, *peer_kls), positions = divergences(base, project.adapter, files, asked)
    for peer, kl, what in (
        ("matrix", peer_kls[0], "llama-imatrix"),
        ("plain", peer_kls[1], "no importance matrix"),
    ):
        how = (
            f"{project.config.project.name}: base, trained adapter and {len(taught)} training rows to Q4_0 with "
            f"{project.config.parts_of('Q4_0')}, {len(os.sched_getaffinity(0))} cores, process "
            f"starts included, median of {given.rounds}; peer: peft merge, save, "
            f"convert_hf_to_gguf f16, {what}, llama-quantize"
        )
        figures = [("time", "s", 1, 0), ("peak memory", "MB", 0, 1)]
        for label, unit, digits, index in figures:
            ours, theirs = (statistics.median(each[index] for each in taken[key]) for key in ("ours", peer))
            line = {"name": f"convert by rows, {label}, {what}", "ours": round(ours, digits)}
            line |= {
                "peer": round(theirs, digits),
                "ratio": round(theirs / ours, 2),
                "unit": unit,
                "how": how,
            }
            print(json.dumps(line, ensure_ascii=False), flush=True)
        line = {"name": f"convert by rows, KL to the float32 model, {what}", "ours": round(ours_kl, 5)}
        line |= {"peer": round(kl, 5), "ratio": round(kl / ours_kl, 3), "unit": "nats"}
        print(
            json.dumps(
                line | {"how": f"{positions} positions of {len(asked)} test rows; {how}"}, ensure_ascii=False
            )
        )


if __name__ == "__main__":
    main()
