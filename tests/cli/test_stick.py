"""`anchorhold stick` as it is typed: deltas."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import cli, storage
from appliance.errors import ExitCode
from appliance.paths import Project, registry_folder
from appliance.registry.store import Registry
from appliance.update import delta_publishing
from tests.stick_simulator import PASSPHRASE, Simulator, make_release

Run = Callable[..., str]
OLD = random.Random(3).randbytes(300_000)
NEW = OLD[:-9] + b"something"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the program in this process; returns what it printed."""
    monkeypatch.setenv("ANCHORHOLD_PASSPHRASE", PASSPHRASE)

    def run(*words: object, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, words)])
        shown = capsys.readouterr()
        assert ended.value.code == code, shown.err
        return shown.out + shown.err

    return run


@pytest.fixture
def project(tmp_path: Path, run: Run) -> Project:
    """A project whose release is 1.1.0, and 1.0.0 in the registry."""
    run("init", tmp_path / "station")
    project = Project.open(tmp_path / "station")
    shutil.copytree(Simulator(tmp_path / "publisher").keys, project.keys)
    make_release(tmp_path / "1.0.0", "1.0.0", OLD)
    with Registry(registry_folder()) as registry:
        registry.add(tmp_path / "1.0.0")
    make_release(project.release, "1.1.0", NEW)
    return project


def test_a_base_is_named_in_three_ways(project: Project, tmp_path: Path) -> None:
    due = storage.sha256_file(tmp_path / "1.0.0" / "notes.gguf")
    for word in ("notes@1.0.0", str(tmp_path / "1.0.0"), str(tmp_path / "1.0.0" / "notes.gguf")):
        assert storage.sha256_file(delta_publishing.find_base(word)) == due


def test_a_delta_from_a_release_in_the_registry(project: Project, tmp_path: Path, run: Run) -> None:
    stick, old, newest = tmp_path / "stick", tmp_path / "old stick", tmp_path / "1.1.0"
    named = ("--project", project.root)
    project.release.rename(newest)
    shutil.copytree(tmp_path / "1.0.0", project.release)
    run("stick", "write", old, *named)
    simulator = Simulator(tmp_path / "a device of the same publisher")
    simulator.install(old, trust=project.keys / "root.json")

    shutil.rmtree(project.release)
    newest.rename(project.release)
    shown = run("stick", "write", stick, *named, "--delta-from", "notes@1.0.0", "--delta-only")
    assert "% of the model; 1 tensors differ" in shown
    root = ("--root", tmp_path / "a new device", "--trust", project.keys / "root.json")
    assert "will refuse it" in run("stick", "check", stick, *root)
    refused = run("install", stick, *root, code=ExitCode.UPDATE)
    assert "isn't installed here" in refused and "--delta-only" in refused
    here = ("--root", simulator.device.root)
    told = json.loads(run("stick", "check", stick, *here, "--json"))
    assert "to the installed" in told["comes as"][0] and told["size"] < 20_000
    simulator.install(stick)
    assert simulator.active == "1.1.0"


def test_what_cannot_be_a_base(project: Project, tmp_path: Path, run: Run) -> None:
    named = ("stick", "write", tmp_path / "stick", "--project", project.root)
    assert "--delta-from" in run(*named, "--delta-only", code=ExitCode.USAGE)
    run(*named, "--delta-from", "notes@7.0.0", code=ExitCode.USAGE)
    run(*named, "--delta-from", tmp_path / "nothing.gguf", code=ExitCode.USAGE)
    (tmp_path / "text.gguf").write_text("no model")
    run(*named, "--delta-from", tmp_path / "text.gguf", code=ExitCode.MODEL)
    assert not (tmp_path / "stick").exists()
