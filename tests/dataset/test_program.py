"""`anchorhold dataset` as a program: the bad input that people have, all of it at once, and kills all along the way."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile

import pytest

from appliance.errors import ExitCode
from tests.dataset.conftest import Bench
from tests.dataset.test_arranging import sentences
from tests.dataset.test_prepare import line, many
from tests.house.sources import ROOT

pytestmark = pytest.mark.slow
PATIENCE = 600  # seconds until a program that doesn't get on fails the test
ESCAPE = "\x1b[31mred\x1b]0;title\x07"


def run(bench: Bench, *arguments: str, seconds: float = PATIENCE) -> tuple[int, str]:
    """Exit code and all that was printed; killed after so many seconds."""
    command = [sys.executable, "-P", "-m", "appliance", *arguments, "--project", str(bench.root)]
    with subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "dumb"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as program:
        try:
            printed, _ = program.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            program.kill()
            printed, _ = program.communicate()
        return program.returncode, printed.decode("utf-8")


def bomb() -> bytes:
    """A DOCX that unpacks to a gigabyte and more."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            for _ in range(1200):
                part.write(b" " * (1 << 20))
    return made.getvalue()


def test_bad_input_is_named_and_the_rest_goes_on(bench: Bench) -> None:
    bench.write("good.jsonl", many(40))
    bench.write("noise.txt", random.Random(7).randbytes(200_000))
    bench.write("long.jsonl", line("before") + line("x" * 100_000_000) + line("after"))
    bench.write("bomb.docx", bomb())
    bench.write("latin.csv", "prompt,completion\nPréparez le café à Besançon,déjà prêt\n".encode("cp1252"))
    bench.write("unlabelled.jsonl", '{"prompt": "which", "answer_a": "this", "answer_b": "that"}\n')
    bench.write("formulas.csv", 'prompt,completion\n"=HYPERLINK(""http://a.example"")",a sum\n@SUM(A1),+1\n')
    bench.write(
        "codes.jsonl", line(f"{ESCAPE} gauge {ESCAPE}") + line(f"other {ESCAPE}") + f"no row {ESCAPE}\n"
    )
    bench.write(f"named{ESCAPE[:5]}.jsonl", "no row at all\n")
    (bench.root / "data" / "again").symlink_to(".")
    code, printed = run(bench, "dataset")
    assert code == ExitCode.OK, printed
    assert "\x1b" not in printed and "\x07" not in printed
    lines = (bench.project.dataset / "rejected.jsonl").read_text().splitlines()
    told = {
        (entry["file"].removeprefix("data/"), entry["line"]): entry["kind"]
        for entry in map(json.loads, lines)
    }
    assert told == {
        ("again", 0): "link-cycle",
        ("bomb.docx", 0): "zip-bomb",
        ("codes.jsonl", 3): "broken-json",
        ("long.jsonl", 2): "long-line",
        ("named\x1b[31m.jsonl", 1): "broken-json",
        ("noise.txt", 0): "binary",
        ("unlabelled.jsonl", 1): "unlabeled-pair",
    }
    assert all(name in printed for name in ("bomb.docx", "noise.txt", "named\\e[31m.jsonl"))
    rows = "".join(
        (bench.project.dataset / f"{split}.jsonl").read_text() for split in ("train", "valid", "test")
    )
    assert "before" in rows and "after" in rows and "déjà prêt" in rows and "a sum" in rows
    assert "red gauge red" in rows and "\\u001b" not in rows and "\x1b" not in rows
    card = json.loads((bench.project.dataset / "card.json").read_text())
    assert sum(card["rows"].values()) == 40 + 2 + 1 + 2 + 2


def test_killed_anywhere_the_earlier_dataset_stays_and_the_next_run_makes_the_same(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 400)))
    assert run(bench, "dataset")[0] == ExitCode.OK
    bench.write("b.jsonl", "".join(line(f"{n} " + "word " * 500) for n in range(4000)))  # workers are started
    begun = time.monotonic()
    code, printed = run(bench, "dataset")
    whole = time.monotonic() - begun
    assert code == ExitCode.OK, printed
    wanted = files(bench)
    (bench.root / "data" / "b.jsonl").rename(bench.root / "b.jsonl")
    assert run(bench, "dataset")[0] == ExitCode.OK
    before = files(bench)
    (bench.root / "b.jsonl").rename(bench.root / "data" / "b.jsonl")
    codes = []
    for tenth in range(2, 11):
        code, _ = run(bench, "dataset", seconds=whole * tenth / 10)
        codes.append(code)
        left = files(bench)
        assert left in (before, wanted) or "card.json" not in left
    assert -signal.SIGKILL in codes and set(codes) <= {0, -signal.SIGKILL}
    assert run(bench, "dataset")[0] == ExitCode.OK
    assert files(bench) == wanted
    assert not list(bench.project.dataset.glob(".*"))


def files(bench: Bench) -> dict[str, bytes]:
    """The dataset's files but what a killed run left beside them."""
    return {path.name: path.read_bytes() for path in bench.project.dataset.iterdir() if path.is_file()}
