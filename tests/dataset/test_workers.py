"""Rows made in worker processes: the same bytes as without, a dead worker told, Ctrl-C leaving nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.dataset import feeding, prepare
from appliance.errors import ConfigError, DataError, StorageError
from appliance.events import Event, ignore
from tests.dataset.conftest import Bench
from tests.dataset.test_arranging import sentences
from tests.dataset.test_prepare import line

ROOT = Path(__file__).resolve().parents[2]


def fill(bench: Bench, rows: int = 240) -> None:
    """Files of every sort of portion, with rows that are bad, too long, equal, near and conflicting, in all of them."""
    chance = random.Random(7)
    texts = sentences(3, rows)
    lines = [
        line(text, f"answer {number % 50}", group=f"g{number // 3}") for number, text in enumerate(texts)
    ]
    lines += [line(chance.choice(texts), "answer 1") for _ in range(rows // 4)]
    lines += [line(f"{text} now", "answer 2") for text in texts[: rows // 4]]
    lines += [line(f"long {number} " + "word " * 300) for number in range(4)]
    lines += ["broken\n", '{"messages": []}\n', "\n", line("half \ud800"), line("ask", "")] * 3
    lines += [line("Anna Smith, anna.smith@example.org, asks", "call 0301 2345678")] * 2
    chance.shuffle(lines)
    bench.write("a.jsonl", "".join(lines))
    table = "".join(f'"{text}, again","an\nanswer"\n' for text in texts[::3]) + "only one cell\n"
    bench.write("b.csv", "question,answer\n" + table)
    bench.write(
        "c.json", json.dumps([json.loads(each) for each in lines[:60] if each.startswith('{"messages": [{')])
    )
    bench.write("d.md", "# Pump\n\n" + "\n\n".join(texts[:40]))
    bench.write("e.txt", "[10:00] <anna> is the pump up\n[10:01] <ben> yes it is\n" * 20)
    bench.write("f.bin", b"\0\1\2" * 100)
    (bench.root / "held.jsonl").write_text("".join(line(text, "answer 0") for text in texts[:12]))


def workers_of(process: int) -> list[int]:
    """The worker processes that a process has."""
    found = []
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        for child in map(int, file.read_text().split()):
            if b"appliance.dataset.row_worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                found.append(child)
    return found


def runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


SETTINGS = """
test_sources = ["held.jsonl"]
max_tokens = 128
conflicts = "majority"
canaries = 3
quality = { score = true, drop_share = 0.1 }
redact = { mode = "placeholder" }
"""


def written(bench: Bench) -> dict[str, bytes]:
    folder = bench.project.dataset
    assert not list(folder.glob(".*"))
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def told(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.text) for event in events if event.kind in {"warning", "message"}]


@pytest.mark.parametrize(
    "settings", [SETTINGS, 'duplicates = { near = "ignore" }', 'duplicates = { near = "drop" }']
)
@pytest.mark.parametrize("large", [False, True])
def test_workers_write_the_same_bytes(
    bench: Bench, base_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, settings: str, large: bool
) -> None:
    fill(bench)
    bench.configure(settings)
    (bench.root / "redaction.key").write_text("7" * 64)
    results, events = [], []
    for workers in (0, 3):
        if (
            large and workers
        ):  # many portions; without workers the files are whole, and what comes out is the same
            monkeypatch.setattr(feeding, "SMALL_FILE", 100)
            monkeypatch.setattr(feeding, "_BLOCK_BYTES", 700)
            monkeypatch.setattr(feeding, "_BLOCK_THINGS", 7)
        seen: list[Event] = []
        prepare(bench.project, seen.append, checkpoint=base_checkpoint, workers=workers)
        results.append(written(bench))
        events.append(told(seen))
        (bench.project.dataset / "places.json").unlink()
    assert results[0].keys() == results[1].keys() and len(results[0]["train.jsonl"]) > 10_000
    for name, content in results[0].items():
        assert results[1][name] == content, name
    assert events[0] == events[1]
    kinds = {json.loads(each)["kind"] for each in results[0]["rejected.jsonl"].splitlines()}
    assert {"broken-json", "empty", "encoding", "columns"} <= kinds


def test_pairs_made_of_documents_and_transcripts_are_the_same_with_workers(
    bench: Bench, base_checkpoint: Path
) -> None:
    fill(bench)
    for number in range(12):
        text = f"# Pump {number}\n\nPump {number} is a centrifugal pump of hall {number}. It feeds the boiler there.\n"
        bench.write(
            f"pump-{number}.md", text + f"\n## How is pump {number} stopped?\n\nClose valve {number}.\n"
        )
        turns = "".join(f"Customer: what about {n}?\nAgent: {n} costs {number} euros.\n" for n in range(9))
        bench.write(f"talk-{number}.txt", turns)
    results = []
    for workers in (0, 2):
        prepare(bench.project, ignore, checkpoint=base_checkpoint, workers=workers)
        results.append(written(bench))
    assert results[0] == results[1]
    rows = [json.loads(each) for each in results[0]["train.jsonl"].splitlines()]
    assert {"turns", "continue", None} <= {row.get("kind") for row in rows}


def test_what_a_worker_refuses_is_the_same_error(bench: Bench, base_checkpoint: Path) -> None:
    bench.write("a.csv", "question,answer\n" + "".join(f"ask {n},answer {n}\n" for n in range(50)))
    bench.configure('prompt_template = "{quesion}"')
    errors = []
    for workers in (0, 2):
        with pytest.raises(ConfigError) as caught:
            prepare(bench.project, ignore, checkpoint=base_checkpoint, workers=workers)
        errors.append((caught.value.message, caught.value.hint))
    assert errors[0] == errors[1] and errors[0][1]
    bench.configure("")
    bench.write("b.jsonl", line("fine") + "broken\n")
    with pytest.raises(DataError, match=r"b\.jsonl:2"):
        prepare(bench.project, ignore, checkpoint=base_checkpoint, workers=2, strict=True)
    assert not list(bench.project.dataset.glob(".*")) and not workers_of(os.getpid())


def test_a_worker_that_dies_is_told_and_leaves_nothing(bench: Bench, base_checkpoint: Path) -> None:
    bench.write("a.csv", "question,answer\n" + "".join(f"ask {n},answer {n}\n" for n in range(50)))

    def kill(event: Event) -> None:
        if event.kind == "started":
            for worker in workers_of(os.getpid()):
                os.kill(worker, signal.SIGKILL)

    with pytest.raises(StorageError, match=r"killed by signal 9 while it read data/a\.csv") as caught:
        prepare(bench.project, kill, checkpoint=base_checkpoint, workers=2)
    assert "memory" in caught.value.hint
    assert not (bench.project.dataset / "card.json").exists()
    assert not list(bench.project.dataset.glob(".*")) and not workers_of(os.getpid())


INTERRUPTED = """
import signal, sys, time
from pathlib import Path
from appliance.dataset import feeding, prepare
from appliance.paths import Project

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is born ignoring it
feeding.SMALL_FILE, feeding._BLOCK_BYTES = 100, 2000
told = 0
def tell(event):
    global told
    print(event.kind, event.text, flush=True)
    told += event.kind == "progress" and event.text == "reading"
    if told == 6:  # some portions are accepted, others under way: here it is stopped
        time.sleep(600)

try:
    prepare(Project.open(Path(sys.argv[1])), tell, checkpoint=Path(sys.argv[2]), workers=2)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_preparing_leaves_neither_processes_nor_files(
    bench: Bench, base_checkpoint: Path, how: signal.Signals
) -> None:
    bench.write("a.jsonl", "".join(line(f"question {number}") for number in range(6_000)))
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(bench.root), str(base_checkpoint)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        seen = [process.stdout.readline()]
        assert "2 processes" in seen[0]
        workers = workers_of(process.pid)
        while seen.count("progress reading\n") < 6:
            seen.append(process.stdout.readline())
            assert seen[-1], process.stderr.read()
        if how == signal.SIGINT:
            os.killpg(process.pid, how)  # as a terminal does: everybody in the group gets it
        else:
            process.kill()
        out, err = process.communicate()
    assert len(workers) == 2
    deadline = time.monotonic() + 120
    while left := [worker for worker in workers if runs(worker)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    if how == signal.SIGINT:
        assert out.endswith("interrupted\n") and err == ""
        assert not list(bench.project.dataset.glob(".*"))
    assert not (bench.project.dataset / "card.json").exists()
