"""The sample project's bars: each is missed alone, and only silences within one run count."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.sources import ROOT

CHECKER = ROOT / "examples" / "check_demo.py"


def system(key: str, **shares: float) -> dict[str, Any]:
    values = {"exact": 0.81, "parses": 1.0, "ended": 1.0, **shares}
    return {
        "key": key,
        "f1": values.pop("f1", 0.9),
        **{name: {"share": share} for name, share in values.items()},
    }


GOOD = {"base": {"exact": 0.05}, "tuned_f16": {}, "shipped": {}}


def event(stage: str, kind: str, time: float) -> dict[str, Any]:
    return {"stage": stage, "kind": kind, "time": time}


def quiet_run(start: float) -> list[dict[str, Any]]:
    return [
        event("base", "started", start),
        event("base", "finished", start + 1),
        event("dataset", "started", start + 2),
        event("dataset", "finished", start + 9),
        event("convert", "started", start + 18),
        event("convert", "finished", start + 19),
        event("convert", "started", start + 19),
        event("convert", "finished", start + 28.9),
    ]


def check(
    folder: Path, systems: dict[str, dict[str, float]], events: list[dict[str, Any]]
) -> tuple[int, str]:
    (folder / "evaluation").mkdir(parents=True, exist_ok=True)
    scores = [system(key, **values) for key, values in systems.items()]
    (folder / "evaluation" / "results.json").write_text(json.dumps({"systems": scores}))
    (folder / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events))
    done = subprocess.run(
        [sys.executable, str(CHECKER), str(folder)], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_all_reached(tmp_path: Path) -> None:
    code, table = check(tmp_path, GOOD, quiet_run(0))
    assert code == 0 and " NO" not in table
    assert len(table.splitlines()) == 9 and "81.0 %" in table and "9.9 s" in table


@pytest.mark.parametrize(
    ("key", "values", "missed"),
    [
        ("tuned_f16", {"exact": 0.79}, "tuned F16: exactly right"),
        ("tuned_f16", {"f1": 0.849}, "tuned F16: field F1"),
        ("tuned_f16", {"parses": 0.98}, "tuned F16: answers that are JSON"),
        ("tuned_f16", {"ended": 0.98}, "tuned F16: ended by themselves"),
        ("shipped", {"exact": 0.79}, "shipped file: exactly right"),
        ("shipped", {"ended": 0.98}, "shipped file: ended by themselves"),
        ("base", {"exact": 0.06}, "base: exactly right"),
    ],
)
def test_each_bar_fails_alone(tmp_path: Path, key: str, values: dict[str, float], missed: str) -> None:
    code, table = check(tmp_path, GOOD | {key: values}, quiet_run(0))
    assert code == 1
    assert [line for line in table.splitlines() if line.endswith("NO")] == [
        line for line in table.splitlines() if line.startswith(missed)
    ]


def test_what_was_not_measured_is_missed(tmp_path: Path) -> None:
    code, table = check(tmp_path, {"tuned_f16": {}, "shipped": {}}, [])
    assert code == 1 and table.count("nothing") == 2


def test_a_silence_within_a_run_is_told_but_not_judged(tmp_path: Path) -> None:
    events = [*quiet_run(0), event("evaluate", "started", 39)]
    code, table = check(tmp_path, GOOD, events)
    assert code == 0
    assert "between convert finished, evaluate started" in table and table.count(" NO") == 1


def test_the_time_between_runs_does_not_count() -> None:
    spec = importlib.util.spec_from_file_location("check_demo", CHECKER)
    assert spec is not None and spec.loader is not None
    checker = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = checker
    spec.loader.exec_module(checker)
    skipped = [event("dataset", "skipped", 2000), event("train", "started", 2001)]
    killed = [
        event("train", "progress", 2002),
        event("train", "started", 3000),
        event("train", "progress", 3001),
    ]
    alone = [
        event("dataset", "started", 4000),
        event("dataset", "failed", 4001),
        event("train", "started", 5000),
    ]
    events = [*quiet_run(0), *quiet_run(1000), *skipped, *killed, *alone]
    assert [len(walk) for walk in checker.walks(events)] == [8, 8, 3, 2, 2, 1]
    seconds, _ = checker.longest_silence(events)
    assert seconds == pytest.approx(9.9)
