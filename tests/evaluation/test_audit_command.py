"""`anchorhold audit` as a program: killed it goes on to the same card; what is wrong with a suite is named."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ExitCode
from appliance.paths import Project
from tests.evaluation.planted import prepared, ship

pytestmark = pytest.mark.slow
CARD = ("audit.json", "gates.json", "report-card.html")
PATIENCE = 600  # seconds until a program that doesn't get on fails the test


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANCHORHOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def project(make_project: Callable[..., Path], tiny_checkpoint: Path) -> Project:
    project = prepared(make_project, rows=240, extra='[convert]\ntype = "Q8_0"\n')
    ship(project, tiny_checkpoint)
    project.suites.mkdir()
    return project


def start(project: Project, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "appliance", "audit", "--project", str(project.root)]
    command += ["--no-standard", "--threads", "1", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ}
    )


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def test_killed_at_three_moments_it_goes_on_to_the_same_card(project: Project) -> None:
    desk = [{"suite": "desk", "scorer": "semantic", "max_tokens": 16}]
    desk += [
        {
            "id": str(number),
            "prompt": f"unit P{number} on deck {number} was dead",
            "reference": f'"P{number}"',
        }
        for number in range(20)
    ]
    (project.suites / "desk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in desk))
    # Without the untaught base: its tokens are near ties, which fall otherwise beside other requests.
    alone = "--no-compare"
    told, progress = start(project, alone).communicate(timeout=PATIENCE)
    assert "report card: " in told and "suites, " in progress, progress
    first = {name: (project.audit / name).read_bytes() for name in CARD}
    whole = {
        name: lines_of(project.audit / name)
        for name in ("answers.jsonl", "likelihoods.jsonl", "fidelity.jsonl")
    }
    shutil.rmtree(project.audit)
    for name, count in whole.items():
        moment = count // 2
        program = start(project, alone)
        end = time.monotonic() + PATIENCE
        while lines_of(project.audit / name) < moment and program.poll() is None:
            assert time.monotonic() < end, f"{name} doesn't grow"
            time.sleep(0.01)
        assert program.poll() is None, "it was quicker than we: nothing was killed"
        program.send_signal(signal.SIGKILL)
        program.communicate()
        assert moment <= lines_of(project.audit / name) and not any(
            (project.audit / each).exists() for each in CARD[:2]
        )
    before = {name: (project.audit / name).read_bytes() for name in whole}
    assert "report card: " in start(project, alone).communicate(timeout=PATIENCE)[0]
    assert {name: (project.audit / name).read_bytes() for name in CARD} == first
    for name, count in whole.items():  # what was found before the kills was taken, and only the rest asked
        kept = before[name][: before[name].rfind(b"\n") + 1]
        assert (project.audit / name).read_bytes().startswith(kept) and lines_of(
            project.audit / name
        ) == count


def test_what_is_wrong_with_suites_is_named_with_file_and_line_and_the_rest_runs(project: Project) -> None:
    lines = [
        {"suite": "desk", "scorer": "json_fields", "max_tokens": 24},
        {"id": "good", "prompt": "unit P3 on deck 3 was fine", "reference": {"unit": "P3", "state": "ok"}},
        {"id": "typo", "promt": "unit P5", "reference": {"unit": "P5"}},
        {"id": "missing", "prompt": "unit P5"},
        {"id": "good", "prompt": "unit P6", "reference": {"unit": "P6"}},
        {"id": "long", "prompt": "word " * 70_000, "reference": {"unit": "P5"}},
        {"id": "raises", "prompt": "unit P4 on deck 3 was fine", "reference": "{no JSON"},
        {"id": "longer", "prompt": "word " * 110_000, "reference": {"unit": "P5"}},
    ]
    (project.suites / "desk.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (project.suites / "head.jsonl").write_text(
        '{"suite": "head", "scorer": "exakt"}\n{"id": "a", "prompt": "x"}\n'
    )
    arguments = ["--no-compare", "--only", "desk"]
    program = start(project, *arguments)
    told, faults = program.communicate(timeout=PATIENCE)
    assert program.returncode == ExitCode.OK, faults
    everything = told + faults
    for words in (
        "desk.jsonl:3: unknown key `promt` (is `prompt` meant?)",
        "desk.jsonl:4: `reference` is missing",
        "desk.jsonl:5: the id 'good' stands at desk.jsonl:2 already",
        "desk.jsonl:6: 70",
        "tokens of prompt; the audit's context has room for",
        "desk.jsonl:7: `reference` is a text that is no JSON",
        "desk.jsonl:8: 550",
        "head.jsonl:1: no scorer is called 'exakt' (is `exact` meant?)",
    ):
        assert words in everything, everything
    result = json.loads((project.audit / "part" / "audit.json").read_text())
    desk = result["suites"][0]
    assert desk["cases"] == 1 and len(desk["faults"]) >= 5
    program = start(project, "--no-compare")  # the whole of it: a head that is wrong is a gate that failed
    told, faults = program.communicate(timeout=PATIENCE)
    assert program.returncode == ExitCode.GATE, faults
    assert "failed: head:faults: head.jsonl:1: no scorer is called 'exakt'" in told and "desk  " in told
