"""`anchorhold redteam` against a real gateway with the embedded base."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ExitCode
from appliance.paths import Device
from appliance.update import audit
from appliance.watch.redteam import read_runs
from appliance.watch.redteam.runs import JOURNAL, write_run
from tests.serving.conftest import gguf  # noqa: F401 - a fixture
from tests.serving.test_gateway import serve

pytestmark = pytest.mark.slow


def redteam(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "appliance", "redteam", *arguments, "--root", str(root)],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Path:  # noqa: F811
    """A device with a finished run of the family that the base holds least, against a gateway that has gone."""
    root = tmp_path_factory.mktemp("ah")
    with serve(root, "--model", str(gguf), "--context", "512"):
        done = redteam(root, "run", "--family", "injected_data", "--sample", "12", "--json")
        assert done.returncode == 0, done.stderr
        (family,) = json.loads(done.stdout)["families"]
        assert family["total"] == 12 and family["held"] < 7, "the base does what a document tells it"
        # What was held off by an earlier state of the same model, as its run of more attacks would tell it.
        folder = Device(root).redteam
        (run,), _ = read_runs(folder)
        held = [replace(outcome, held=True) for outcome in run.outcomes]
        held += [replace(outcome, id=f"{outcome.id}/{n}") for outcome in held for n in range(3)]
        stronger = replace(run, number=7, baseline=True, outcomes=tuple(held))
        write_run(folder, stronger)
        done = redteam(root, "run", "--family", "injected_data", "--sample", "12")
        assert done.returncode == ExitCode.ALARM, done.stderr
        assert "WORSE" in done.stdout and "against run 7" in done.stdout
        assert redteam(root, "run", "--family", "direct", "--sample", "1").returncode == 0
    return root


def test_a_model_answers_the_same_twice_and_the_alarm_is_in_the_log(root: Path) -> None:
    runs, faults = read_runs(Device(root).redteam)
    assert not faults
    assert [run.number for run in runs] == [1, 7, 8, 9]
    assert runs[2].outcomes == runs[0].outcomes
    (entry,) = audit.entries(Device(root))
    assert (entry["event"], entry["data"]["alarm"]["run"], entry["data"]["baseline"]) == ("redteam", 8, 7)
    assert "48 of 48 in the baseline" in entry["data"]["text"] and "injected_data" in entry["data"]["text"]


def test_what_came_through_is_shown_and_becomes_rows(root: Path, tmp_path: Path) -> None:
    shown = redteam(root, "show", "--run", "8", "--examples").stdout
    assert "asked " in shown and "answered " in shown and "\x1b" not in shown
    output = tmp_path / "rows.jsonl"
    done = redteam(root, "rows", str(output), "--run", "8", "--refusal", "No.")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert rows and all(row["chosen"] == [{"role": "assistant", "content": "No."}] for row in rows)
    done = redteam(root, "rows", str(output), "--run", "8")
    assert done.returncode == ExitCode.USAGE and "--force" in done.stderr
    assert [json.loads(line) for line in output.read_text().splitlines()] == rows


def test_wrong_words_are_named(root: Path, tmp_path: Path) -> None:
    done = redteam(root, "run", "--family", "nonsense")
    assert done.returncode == ExitCode.USAGE and "injected_data" in done.stderr
    done = redteam(root, "show", "--run", "99")
    assert done.returncode == ExitCode.USAGE and "1 to 9" in done.stderr
    done = redteam(tmp_path, "show")
    assert done.returncode == ExitCode.DATA and "redteam run" in done.stderr
    done = redteam(tmp_path, "run", "--family", "direct")
    assert done.returncode == ExitCode.SERVING and "anchorhold serve" in done.stderr


def test_a_dry_run_asks_nobody_and_the_timer_names_the_root(tmp_path: Path) -> None:
    done = redteam(tmp_path, "run", "--dry-run", "--sample", "1")
    assert done.returncode == 0 and done.stdout.endswith("9 attacks\n")
    assert not list(tmp_path.iterdir())
    units = redteam(tmp_path, "timer").stdout
    assert f"ReadWritePaths={tmp_path}" in units and "OnCalendar=" in units


def test_killed_in_the_middle_it_goes_on(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> None:  # noqa: F811
    root = tmp_path_factory.mktemp("ah")
    journal = Device(root).redteam / JOURNAL
    with serve(root, "--model", str(gguf), "--context", "512"):
        command = [
            sys.executable,
            "-m",
            "appliance",
            "redteam",
            "run",
            "--root",
            str(root),
            "--family",
            "override",
        ]
        running = subprocess.Popen(
            [*command, "--sample", "8"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not journal.exists() or len(journal.read_bytes().splitlines()) < 4:
            assert running.poll() is None, "it ended before it could be killed"
        running.kill()
        running.wait()
        asked = len(journal.read_bytes().splitlines()) - 1
        before = journal.read_bytes().splitlines()[1 : 1 + asked]
        done = redteam(root, "run", "--family", "override", "--sample", "8", "--json")
        assert done.returncode == 0, done.stderr
    (run,), _ = read_runs(Device(root).redteam)
    assert len(run.outcomes) == 8 and not journal.exists()
    assert [json.loads(line)["id"] for line in before] == [each.id for each in run.outcomes[:asked]]
