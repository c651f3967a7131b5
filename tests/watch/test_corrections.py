"""Verdicts on answers: kept whole, read whatever became of the file, exported as rows that the dataset reads."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.commands.corrections import command
from appliance.config import DatasetSection
from appliance.dataset.reading import RawRow, read_file
from appliance.errors import DataError, UsageError
from appliance.paths import Device
from appliance.watch import corrections
from appliance.watch.corrections import Correction
from tests.house.sources import ROOT

ASKED = ({"role": "user", "content": "code?"},)
GOOD = Correction("2026-01-01T00:00:00Z", "m-1", "good", ASKED, "4711")
WRONG = replace(GOOD, verdict="wrong", better="4712")


def test_the_last_verdict_counts(tmp_path: Path) -> None:
    path = tmp_path / "watch" / "corrections.jsonl"
    for each in (GOOD, replace(WRONG, answer="other\nline ü"), WRONG):
        assert corrections.add(path, each)
    found, faults = corrections.read(path)
    assert (len(found), faults) == (3, [])
    assert path.stat().st_mode & 0o077 == 0
    assert corrections.newest(found) == [WRONG, found[1]]
    assert [row.get("chosen") for row in corrections.rows([GOOD])] == [None]
    assert not list(corrections.rows([GOOD, replace(GOOD, verdict="wrong")])), (
        "wrong, and nobody says what is right"
    )


def test_torn_and_foreign_lines_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    corrections.add(path, GOOD)
    with path.open("ab") as stream:
        stream.write(b'{"time": "torn')
    corrections.add(path, WRONG)
    with path.open("ab") as stream:
        stream.write(
            b'[]\n{}\n{"time":1,"release":"","verdict":"good","messages":[],"answer":"","better":""}\n\xff\n'
            + b"[" * 100_000
        )
    found, faults = corrections.read(path)
    assert found == [GOOD, WRONG]
    assert [fault.split(":")[1] for fault in faults] == ["2", "4", "5", "6", "7", "8"]


def test_two_that_keep_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"

    def keep(who: int) -> None:
        for number in range(50):
            corrections.add(path, replace(GOOD, answer=f"{who}-{number} " + "x" * 3000))

    threads = [threading.Thread(target=keep, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found, faults = corrections.read(path)
    assert not faults
    assert len({each.answer for each in found}) == 200


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    program = (
        "import resource, signal\n"
        "from tests.watch.test_corrections import GOOD, corrections, Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "kept = 0\n"
        "try:\n"
        "    while True:\n"
        f"        corrections.add(Path({str(path)!r}), GOOD); kept += 1\n"
        "except OSError as error:\n"
        "    print(kept, error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    kept, number = map(int, done.stdout.split())
    assert number == errno.EFBIG and kept > 1
    found, faults = corrections.read(path)
    assert (len(found), faults) == (kept, [])
    assert path.read_bytes().endswith(b"\n")


def test_a_full_file_takes_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "MAX_BYTES", 400)
    path = tmp_path / "c.jsonl"
    kept = [corrections.add(path, GOOD) for _ in range(5)]
    assert kept[0] and not kept[-1]
    assert path.stat().st_size <= 400


def test_they_are_listed_exported_and_cleared(tmp_path: Path) -> None:
    path = Device(tmp_path).corrections
    run = CliRunner().invoke
    root = ["--root", str(tmp_path)]
    assert isinstance(run(command, ["export", str(tmp_path / "x.jsonl"), *root]).exception, DataError)
    corrections.add(path, WRONG)
    corrections.add(path, replace(GOOD, answer="fine\x1b[2J"))
    listed = run(command, ["list", *root])
    assert "better    4712" in listed.output and "\x1b" not in listed.output
    output = tmp_path / "x.jsonl"
    done = run(command, ["export", str(output), *root])
    assert done.exit_code == 0 and "2 rows" in done.output
    assert output.stat().st_mode & 0o077 == 0
    assert isinstance(run(command, ["export", str(output), *root]).exception, UsageError)
    read = list(read_file(output, output.name, DatasetSection(), lambda _: None))
    assert [type(thing) for thing in read] == [RawRow, RawRow]
    assert {thing.rejected for thing in read if isinstance(thing, RawRow)} == {"", "4711"}
    assert isinstance(run(command, ["clear", *root]).exception, UsageError) and path.exists()
    assert run(command, ["clear", "--yes", *root]).exit_code == 0
    assert not path.exists()
    assert [json.loads(line)["group"][:10] for line in output.read_text().splitlines()] == ["correction"] * 2
