"""`anchorhold stick` as it is typed: deltas, and sticks that are encrypted to devices."""

from __future__ import annotations

import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import cli, storage
from appliance.errors import ExitCode, ThresholdError
from appliance.events import ignore
from appliance.paths import Device, Project, registry_folder
from appliance.registry.store import Registry
from appliance.trust import encryption_keys, keys, roots
from appliance.update import delta_publishing, publish
from tests.stick_simulator import CHEAP_SCRYPT, PASSPHRASE, SECRETS, Simulator, make_release

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


def test_a_stick_for_one_device(
    project: Project, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, root = tmp_path / "stick", ("--root", tmp_path / "ours")
    trust = ("--trust", project.keys / "root.json")
    named = ("--project", project.root)
    shown = run("stick", "key", *root, "--name", "pump-house")
    (fingerprint,) = [line for line in shown.splitlines() if line.startswith("fingerprint: ")]
    assert "pump-house.device.json" in run("stick", "key", tmp_path, *root)
    file = tmp_path / "pump-house.device.json"
    refused = run("stick", "write", stick, *named, "--encrypt-to", "pump-house", code=ExitCode.TRUST)
    assert "no such device is enrolled" in refused and not stick.exists()
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "compare the fingerprint" in run("stick", "enrol", file, *named, code=ExitCode.USAGE)
    assert not (project.keys / "devices").exists()
    assert fingerprint in run("stick", "enrol", file, *named, "--yes")
    run("stick", "write", stick, *named, "--encrypt-to", "pump-house")

    assert "encrypted       to this device" in run("stick", "check", stick, *root, *trust)
    strange = ("--root", tmp_path / "strange", *trust)
    assert "to other devices" in run("stick", "check", stick, *strange)
    assert "this device has no key" in run("install", stick, *strange, code=ExitCode.UPDATE)
    run("stick", "key", "--root", tmp_path / "strange")
    assert "not to this one" in run("install", stick, *strange, code=ExitCode.UPDATE)
    simulator = Simulator(tmp_path / "simulated")
    simulator.device = Device(tmp_path / "ours")
    simulator.install(stick, trust=project.keys / "root.json")
    assert simulator.active == "1.1.0"

    shared = tmp_path / "shared stick"
    shutil.move(project.release, tmp_path / "newest")
    shutil.copytree(tmp_path / "1.0.0", project.release)
    run("stick", "write", shared, *named)
    shutil.rmtree(project.release)
    shutil.move(tmp_path / "newest", project.release)
    shown = run("stick", "write", shared, *named, "--encrypt-to", "pump-house")
    assert "warning: not encrypted, and readable by whoever has this stick: notes 1.0.0" in shown
    assert "anybody who has the stick can read notes 1.0.0, which isn't encrypted" in shown


def test_a_stick_for_one_device_that_two_people_sign(project: Project, tmp_path: Path) -> None:
    """What the first of them signed is what goes out, though encrypting it again would give other bytes."""
    quorums = {"root": keys.Quorum(1, 1), "targets": keys.Quorum(2, 2)}
    keys.create(tmp_path / "two", SECRETS, n=CHEAP_SCRYPT, quorums=quorums)
    signers = keys.unlock(tmp_path / "two", SECRETS, roots.ROLES)
    receiver = encryption_keys.make(Device(tmp_path / "ours"), "ours").receiver

    def write(*which: int) -> None:
        some = {**signers, "targets": [signers["targets"][number] for number in which]}
        publish.write_stick(
            tmp_path / "two", some, project.release, tmp_path / "stick", ignore, receivers=[receiver]
        )

    with pytest.raises(ThresholdError):
        write(0)
    write(1)  # the other's signature alone: the first one's waited, of the same bytes
    simulator = Simulator(tmp_path / "simulated")
    simulator.device = Device(tmp_path / "ours")
    simulator.install(tmp_path / "stick", trust=tmp_path / "two" / "root.json")
    assert simulator.active == "1.1.0"
