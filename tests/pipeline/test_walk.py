"""The whole road on a tiny real model: skipped where nothing changed, killed anywhere, ending in one release."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance import storage
from appliance.base_model import resolve
from appliance.errors import ExitCode
from appliance.paths import Project
from appliance.pipeline import STAGES, decide

NAMES = [stage.name for stage in STAGES]
PASSPHRASE = {"ANCHORHOLD_PASSPHRASE": "correct horse battery staple"}


def anchorhold(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **PASSPHRASE},
        stdin=subprocess.DEVNULL,
    )
    if check:
        assert done.returncode == 0, done.stderr
    return done


def events(folder: Path) -> list[dict[str, object]]:
    path = folder / "build" / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def release_digest(folder: Path) -> str:
    return storage.sha256_file(folder / "build" / "release" / "release.json")


def begin(make_project, name: str) -> Path:
    folder = make_project(name)
    # Both projects share one name, so that their releases can be equal.
    text = (folder / "anchorhold.toml").read_text().replace(f'name = "{name}"', 'name = "station"')
    (folder / "anchorhold.toml").write_text(text)
    anchorhold("keys", "init", "--single", "--project", str(folder))
    return folder


@pytest.mark.slow
def test_killed_in_every_stage_it_finishes_with_the_undisturbed_release(make_project):
    whole = begin(make_project, "whole")
    anchorhold("build", "--project", str(whole))
    broken = begin(make_project, "broken")
    program = Path(__file__).with_name("killed_build.py")
    for number, name in enumerate(NAMES):
        seen = len(events(broken))
        killed = subprocess.run(
            [sys.executable, str(program), str(broken), name],
            env={**os.environ, **PASSPHRASE},
            capture_output=True,
            text=True,
        )
        assert killed.returncode == -signal.SIGKILL, f"{name}: {killed.returncode}\n{killed.stderr}"
        last = events(broken)[seen:][-1]
        assert last["stage"] == name and last["kind"] not in {"skipped", "finished"}
        # The stages before it are done and remembered, this one is not.
        finished = json.loads(Project.open(broken).state.read_text()) if number else {}
        assert sorted(finished) == sorted(NAMES[:number])
    anchorhold("build", "--project", str(broken))
    assert release_digest(broken) == release_digest(whole)
    parts = [path.name for path in (broken / "build").rglob("*.part")]
    assert parts == []


@pytest.mark.slow
def test_what_did_not_change_is_skipped_and_what_did_is_made_again(make_project):
    folder = begin(make_project, "skips")
    anchorhold("build", "--project", str(folder), "--until", "convert")
    project = Project.open(folder)
    checkpoint = resolve(project.config.base.path, project.root)

    def stale() -> list[str]:
        opened = Project.open(folder)
        return [stage.name for stage in STAGES[:3] if decide(opened, checkpoint, stage).run]

    assert stale() == []
    before = len(events(folder))
    anchorhold("build", "--project", str(folder), "--until", "convert")
    assert {event["kind"] for event in events(folder)[before:]} == {"skipped"}

    configuration = folder / "anchorhold.toml"
    text = configuration.read_text()
    configuration.write_text(text.replace("alpha = 8.0", "alpha = 4.0"))
    assert stale() == ["train"]
    configuration.write_text(text + '\n[convert]\ntype = "Q8_0"\n')
    assert stale() == ["convert"]
    assert Project.open(folder).config.grid is None
    configuration.write_text(text + '\n[convert]\nrounding = "nearest"\n')
    assert stale() == ["train", "convert"]  # then it is trained on the grid that ships
    on_grid = text.replace("alpha = 8.0", "alpha = 8.0\ngrid_start = 0.5")
    configuration.write_text(on_grid + '\n[convert]\ntype = "Q8_0"\n')
    assert stale() == ["train", "convert"]
    assert Project.open(folder).config.grid == {"type": "Q8_0", "embeddings": "Q8_0", "overrides": []}
    configuration.write_text(text)

    rows = folder / "data" / "rows.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    assert "dataset" in stale()
    model = project.gguf("F16")
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    model.write_bytes(data)
    assert "convert" in stale()
    dry = anchorhold("build", "--project", str(folder), "--dry-run").stdout.splitlines()
    assert dry[0].startswith("dataset   run") and "its inputs changed" in dry[0]
    assert len(dry) == len(STAGES)


@pytest.mark.slow
def test_a_training_on_rows_that_are_behind_says_what_changed(make_project):
    folder = begin(make_project, "behind")
    anchorhold("dataset", "--project", str(folder))
    (folder / "data" / "rows.jsonl").touch()
    assert "prepared before" not in anchorhold("train", "--project", str(folder)).stderr
    dry = anchorhold("build", "--project", str(folder), "--dry-run").stdout
    assert dry.splitlines()[0].startswith("dataset   skip")  # the verb's work is the road's

    rows = folder / "data" / "rows.jsonl"
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-1]))
    configuration = folder / "anchorhold.toml"
    configuration.write_text(configuration.read_text() + "\n[dataset]\nmax_tokens = 300\n")
    told = anchorhold("train", "--project", str(folder))
    line = next(line for line in (told.stderr + told.stdout).splitlines() if "prepared before" in line)
    assert "data/rows.jsonl" in line and "the configuration" in line and "anchorhold dataset" in line
    anchorhold("dataset", "--project", str(folder))
    told = anchorhold("train", "--project", str(folder))
    assert "prepared before" not in told.stderr + told.stdout


def test_two_builds_of_one_project_do_not_meet(make_project):
    import fcntl

    folder = begin(make_project, "busy")
    (folder / "build").mkdir()
    with (folder / "build" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = anchorhold("build", "--project", str(folder), check=False)
    assert done.returncode == ExitCode.USAGE
    assert "another build is running" in done.stderr
