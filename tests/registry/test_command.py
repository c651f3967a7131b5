"""`anchorhold registry` as it is typed, and what `anchorhold release` does with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.errors import ExitCode
from appliance.events import Event
from appliance.paths import registry_folder
from appliance.registry import manifest as manifests
from appliance.registry.recording import record_release
from appliance.registry.release import Release
from tests.stick_simulator import flip_bit, gguf_bytes, make_release


def run(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "registry", *map(str, words)],
        capture_output=True,
        text=True,
        env=dict(os.environ),
    )
    assert done.returncode == code, done.stderr
    return done


def test_a_release_s_way_through_the_registry(tmp_path: Path) -> None:
    assert "no releases" in run("list").stderr
    for version in ("1.0.0", "1.1.0"):
        run("add", make_release(tmp_path / version, version, f"model {version}".encode()))
    run("promote", "notes@1.0.0")
    listed = run("list").stdout.splitlines()
    assert [line.split()[:3] for line in listed] == [
        ["notes", "1.1.0", "candidate"],
        ["notes", "1.0.0", "stable"],
    ]
    assert [each["version"] for each in json.loads(run("list", "--json", "--channel", "stable").stdout)] == [
        "1.0.0"
    ]
    shown = json.loads(run("show", "notes@stable", "--json").stdout)
    assert shown["made_of"]["model"] == storage.sha256_file(tmp_path / "1.0.0" / "notes.gguf")
    text = run("show", "notes").stdout
    assert "follows   notes 1.0.0" in text and "# notes 1.1.0: model card" in text
    compared = json.loads(run("diff", "notes@1.0.0", "notes@1.1.0", "--json").stdout)
    assert compared["changes"] == [["patch", "the model file changed"], ["patch", compared["changes"][1][1]]]
    assert "tensors: not compared" in run("diff", "notes@1.0.0", "notes@1.1.0").stdout
    run("export", "notes@1.0.0", tmp_path / "out")
    run("--registry", tmp_path / "other", "import", tmp_path / "out")
    assert "1 releases" in run("--registry", tmp_path / "other", "verify").stdout
    planned = run("gc", "--keep", "1")
    assert "0 releases" in planned.stdout, "1.1.0 is the last, 1.0.0 is stable"
    run("promote", "notes@1.0.0", "--to", "candidate")
    assert "would remove notes 1.0.0" in run("gc", "--keep", "1").stdout
    assert len(run("list").stdout.splitlines()) == 2
    assert "removed notes 1.0.0" in run("gc", "--keep", "1", "--delete").stdout
    assert len(run("list").stdout.splitlines()) == 1
    assert registry_folder().is_relative_to(tmp_path), "no test writes into the person's registry"


def test_a_flipped_bit_ends_in_the_exit_code_of_trust(tmp_path: Path) -> None:
    run("add", make_release(tmp_path / "1.0.0", "1.0.0", b"model"))
    (path,) = registry_folder().glob(f"objects/*/{storage.sha256_bytes(gguf_bytes(b'model'))}")
    path.chmod(0o644)
    flip_bit(path)
    said = run("verify", code=ExitCode.TRUST).stdout
    assert "notes 1.0.0 (notes.gguf)" in said and "registry add" in said
    assert len(json.loads(run("verify", "--json", code=ExitCode.TRUST).stdout)["faults"]) == 1
    run("add", tmp_path / "1.0.0")
    run("verify")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show", "nothing"], ExitCode.USAGE, "no such release"),
        (["verify"], ExitCode.USAGE, "no registry there"),
        (["gc", "--keep", "0"], ExitCode.USAGE, "--keep 0"),
        (["add", "missing"], ExitCode.USAGE, "no release.json"),
        (["import", "missing"], ExitCode.USAGE, "no release.json"),
    ],
)
def test_what_is_wrong_is_said(words: list[str], code: int, said: str) -> None:
    assert said in run(*words, code=code).stderr


def released(folder: Path, version: str, **extra: Any) -> Release:
    made = make_release(folder, version, b"model", extra=extra)
    data = (made / manifests.FILE_NAME).read_bytes()
    return Release(made, storage.sha256_bytes(data), manifests.parse(data))


def test_a_version_that_was_not_raised_is_told_of_with_the_one_it_should_be(tmp_path: Path) -> None:
    events: list[Event] = []
    assert record_release(released(tmp_path / "a", "1.2.0"), events.append).proposal is None
    changed = released(tmp_path / "b", "1.2.0", provenance={"dataset": "d" * 64})
    recorded = record_release(changed, events.append)
    assert recorded.new and recorded.proposal is not None and str(recorded.proposal.version) == "1.3.0"
    (warning,) = (event for event in events if event.kind == "warning")
    assert "1.3.0 (minor: the data changed)" in warning.text
    assert record_release(changed, events.append) == type(recorded)(False, None), (
        "made again, it is told once"
    )
    assert record_release(released(tmp_path / "c", "1.3.0", system="x"), events.append).proposal is None


def test_the_device_s_side_does_not_need_the_registry() -> None:
    code = (
        "import sys, appliance.update.install, appliance.update.slots, appliance.update.stick, appliance.trust.client\n"
        "import appliance.commands.serve, appliance.commands.status, appliance.commands.install\n"
        "print('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "appliance.registry.manifest" in loaded
    assert not {f"appliance.registry.{name}" for name in ("index", "store", "objects", "records")} & set(
        loaded
    )
    assert "sqlite3" not in loaded or "appliance.serving.response_cache" in loaded


def test_listing_loads_nothing_that_is_slow_to_load() -> None:
    code = (
        "import contextlib, sys\nfrom appliance import cli\n"
        "with contextlib.suppress(SystemExit):\n    cli.main(['registry', 'list'])\n"
        "print('\\n'.join(sys.modules))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "appliance.registry.index" in loaded
    assert not {"pydantic", "numpy", "rich", "tuf", "cryptography", "appliance.config"} & set(loaded)
