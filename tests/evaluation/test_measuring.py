"""A whole evaluation with a real (tiny, random) model and the real engine."""

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

from appliance import storage
from appliance.conversion import as_data, write_gguf
from appliance.dataset import prepare, read_rows
from appliance.errors import EvaluationError
from appliance.evaluation import evaluate
from appliance.events import Event, ignore
from appliance.paths import Project

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _own_cache(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # After the shared fixtures, which find the real base in the person's cache.
    monkeypatch.setenv("ANCHORHOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def converted(make_project: Callable[..., Path], tiny_checkpoint: Path) -> Project:
    """A project with its dataset, and the tiny model in the place of its tuned files."""
    folder = make_project(rows=160)
    config = folder / "anchorhold.toml"
    # More rows than are asked side by side, so that some have to wait for their turn.
    config.write_text(config.read_text().replace("max_rows = 6", "max_rows = 11"))
    project = Project.open(folder)
    prepare(project, ignore)
    files = {}
    for kind in ("F16", "Q4_0"):
        files[kind] = as_data(
            write_gguf(tiny_checkpoint, project.gguf(kind), quantization=kind, name=f"t{kind}")
        )
    storage.write_json(project.model / "convert.json", {"format": 1, "files": files})
    return project


def contents(project: Project) -> dict[str, bytes]:
    names = ("results.json", "report.html", "golden.json")
    return {
        name: (project.evaluation / name).read_bytes()
        for name in names
        if (project.evaluation / name).exists()
    }


def test_four_systems_are_measured_and_asked_only_once(converted: Project) -> None:
    events: list[Event] = []
    result = evaluate(converted, events.append, threads=1)
    assert [score.key for score in result.systems] == ["base", "base_shots", "tuned_f16", "shipped"]
    assert result.rows == 11
    assert {score.rows for score in result.systems} == {result.rows}
    assert result.systems[-1].file["sha256"] == storage.sha256_file(converted.gguf("Q4_0"))
    assert result.systems[0].file["sha256"] == result.systems[1].file["sha256"]
    progress = [event for event in events if event.stage == "evaluate" and event.kind == "progress"]
    assert {event.total for event in progress} == {4 * result.rows}
    assert progress[-1].done == 4 * result.rows
    before, answers = contents(converted), (converted.evaluation / "answers.jsonl").read_bytes()
    assert len(answers.splitlines()) == 4 * result.rows
    # The answers say how long they took, so equal bytes mean that no row was asked again.
    assert evaluate(converted, ignore, threads=1) == result
    assert contents(converted) == before
    assert (converted.evaluation / "answers.jsonl").read_bytes() == answers


def test_golden_prompts_are_answers_that_ended_by_themselves(converted: Project) -> None:
    evaluate(converted, ignore, threads=1)
    golden = json.loads((converted.evaluation / "golden.json").read_text())
    ended = [
        answer
        for line in (converted.evaluation / "answers.jsonl").read_text().splitlines()
        if (answer := json.loads(line))["system"] == "shipped" and answer["finish"] == "stop"
    ]
    assert len(golden) <= min(3, len(ended))
    for entry in golden:
        assert entry["messages"][-1]["role"] == "user"
        assert isinstance(entry["answer"], str)


def test_a_file_that_is_not_the_converted_one_is_not_measured(converted: Project) -> None:
    shutil.copy(converted.gguf("F16"), converted.gguf("Q4_0"))
    with pytest.raises(EvaluationError, match=r"not the file that convert\.json tells of"):
        evaluate(converted, ignore, threads=1)
    converted.gguf("Q4_0").unlink()
    with pytest.raises(EvaluationError, match="no such file") as caught:
        evaluate(converted, ignore, threads=1)
    assert "anchorhold convert" in caught.value.hint


def test_killed_while_asking_it_goes_on_and_ends_the_same(converted: Project) -> None:
    command = [
        sys.executable,
        "-m",
        "appliance",
        "evaluate",
        "--project",
        str(converted.root),
        "--threads",
        "1",
    ]
    path = converted.evaluation / "answers.jsonl"
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ}
    )
    while process.poll() is None and (not path.exists() or path.read_bytes().count(b"\n") < 9):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = path.read_bytes().splitlines()[:9]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "report:" in done.stdout and "exact" in done.stdout
    assert set(kept) <= set(path.read_bytes().splitlines())
    resumed = contents(converted)
    shutil.rmtree(converted.evaluation)
    evaluate(converted, ignore, threads=1)
    assert contents(converted)["report.html"] == resumed["report.html"]


def test_answers_are_held_to_the_schema_in_the_learnt_order_but_for_the_plain_base(
    converted: Project,
) -> None:
    row = next(iter(read_rows(converted.dataset / "train.jsonl")))
    keys = list(json.loads(row.answer))
    properties = {key: {"type": "string", "pattern": "^[A-Z][0-9]{3}$"} for key in reversed(keys)}
    schema = {"type": "object", "properties": properties, "required": keys, "additionalProperties": False}
    storage.write_json(converted.root / "answer.json", schema)
    config = converted.root / "anchorhold.toml"
    text = (
        config.read_text()
        .replace("max_tokens = 24", "max_tokens = 100")
        .replace("max_rows = 11", "max_rows = 4")
    )
    config.write_text(text + '[dataset]\nschema_path = "answer.json"\n')
    result = evaluate(Project.open(converted.root), ignore, threads=1)
    valid = {score.key: score.valid.share for score in result.systems if score.valid is not None}
    assert valid["shipped"] == valid["tuned_f16"] == valid["base_shots"] == 1.0 > valid["base"]
    assert list(json.loads(result.held_to)["properties"]) == keys
    kept = json.loads((converted.evaluation / "results.json").read_text())
    assert kept["held_to"] == result.held_to
    config.write_text(config.read_text().replace("[evaluation]", "[evaluation]\nhold_to_schema = false"))
    free = evaluate(Project.open(converted.root), ignore, threads=1)
    assert free.held_to == ""
    assert free.systems[-1].valid is not None and free.systems[-1].valid.share < 1.0


def test_plain_text_answers(converted: Project) -> None:
    config = converted.root / "anchorhold.toml"
    config.write_text(
        config.read_text().replace("[evaluation]", '[evaluation]\nscorer = "exact"\nbaselines = false')
    )
    result = evaluate(Project.open(converted.root), ignore, threads=1)
    assert [score.key for score in result.systems] == ["tuned_f16", "shipped"]
    assert result.systems[-1].valid is None and result.fields == []
