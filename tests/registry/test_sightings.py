"""Where releases went: noted when a stick is written and where a device is at hand, shown with the lineage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import TrustError
from appliance.events import Event, ignore
from appliance.paths import Project, registry_folder
from appliance.registry import sightings
from appliance.registry.records import Sighting, decode, encode
from appliance.registry.store import Registry
from appliance.update import install as installing
from appliance.update import publish
from tests.registry.test_command import run
from tests.stick_simulator import NAME, PASSPHRASE, SECRETS, Simulator, accept, make_release

MADE_OF = {"base": {"weights": "b" * 64}, "dataset": "d" * 64, "training": {"adapter_sha256": "a" * 64}}
PROGRAM = Path(__file__).with_name("stick_writer.py")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with keys and an assembled release."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "anchorhold.toml").write_text(f'[project]\nname = "{NAME}"\n')
    project = Project.open(root)
    Simulator(tmp_path / "keys").keys.rename(project.keys)
    make_release(project.release, "1.0.0", b"model" * 50, extra={"provenance": MADE_OF})
    return project


def write(
    project: Project, stick: Path, events: list[Event] | None = None, **given: object
) -> publish.Written:
    emit = ignore if events is None else events.append
    return publish.publish_project(project, stick, emit, secrets=SECRETS, **given)  # type: ignore[arg-type]


def seen() -> list[Sighting]:
    with Registry(registry_folder()) as registry:
        return list(registry.record(registry.find(NAME).digest).sightings)


def test_a_written_stick_is_noted_once_by_the_key_that_signed_it(project: Project, tmp_path: Path) -> None:
    first = write(project, tmp_path / "usb")
    (sighting,) = seen()
    assert (sighting.kind, sighting.name, sighting.begun) == ("stick", "usb", False)
    assert sighting.number == first.timestamp and len(sighting.by) == 64
    write(project, tmp_path / "usb")
    write(project, tmp_path / "usb2", label="blue, no. 7")
    assert [(each.name, each.number) for each in seen()] == [("usb", 2), ("blue, no. 7", 3)]
    text = run("show", NAME).stdout
    assert f"stick   blue, no. 7  {seen()[1].time}, by {sighting.by[:16]}, timestamp 3\n" in text
    assert run("verify").returncode == 0


def test_a_folder_that_stays_in_the_workshop_is_no_place(project: Project) -> None:
    write(project, project.stick, leaves=False)
    assert not registry_folder().exists()


def test_a_device_on_this_machine_is_noted_and_a_rollback_too(project: Project, tmp_path: Path) -> None:
    write(project, tmp_path / "usb")
    simulator = Simulator(tmp_path / "other")
    root = project.keys / "root.json"
    for _ in range(2):
        installing.install(tmp_path / "usb", simulator.device, ignore, trust=root, probe=accept)
    stick, device = seen()
    assert device.name == f"{os.uname().nodename}:{simulator.device.root}" and device.by == stick.by
    with Registry(registry_folder()) as registry:
        former = registry.find(NAME).digest
    make_release(project.release.with_name("next"), "1.1.0", b"other" * 50)
    project.release.rename(project.release.with_name("former"))
    project.release.with_name("next").rename(project.release)
    write(project, tmp_path / "usb")
    installing.install(tmp_path / "usb", simulator.device, ignore, probe=accept)
    assert [each.kind for each in seen()] == ["stick", "device"]
    installing.roll_back(simulator.device)
    with Registry(registry_folder()) as registry:
        assert registry.record(former).sightings[-1].name == device.name


def test_a_device_whose_release_the_registry_does_not_have_is_no_news(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path / "one")
    simulator.publish("1.0.0")
    simulator.install()
    assert not registry_folder().exists(), "a device has no registry, and gets none"
    with Registry(registry_folder()) as registry:
        registry.add(make_release(tmp_path / "another", "3.0.0", b"x"))
        simulator.install()
        assert registry.record(registry.find(NAME).digest).sightings == ()


def test_a_stick_is_written_where_the_registry_says_no(project: Project, tmp_path: Path) -> None:
    registry_folder().write_text("a file where a folder should be")
    events: list[Event] = []
    written = write(project, tmp_path / "usb", events)
    assert written.version == "1.0.0" and (tmp_path / "usb" / "metadata" / "timestamp.json").is_file()
    warned = [event.text for event in events if event.kind == "warning"]
    assert warned and all("the registry doesn't know of this stick" in text for text in warned)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_the_notes_it_says_that_it_does_not_know(
    project: Project, tmp_path: Path, moment: str
) -> None:
    words = [sys.executable, str(PROGRAM), str(project.root), str(tmp_path / "usb"), moment]
    done = subprocess.run(words, env={**os.environ, "ANCHORHOLD_PASSPHRASE": PASSPHRASE}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "usb" / "metadata" / "timestamp.json").is_file() == (moment == "after")
    (sighting,) = seen()
    assert sighting.begun
    assert "begun, and not known to have ended" in run("show", NAME).stdout
    with Registry(registry_folder()) as registry:
        from appliance.registry.collecting import choose, read_all

        assert choose(read_all(registry), 0) == [], "what may be out there is kept"
    write(project, tmp_path / "usb")
    assert [each.begun for each in seen()] == [False]


def test_the_same_word_twice_changes_nothing_and_old_news_of_a_device_is_old(tmp_path: Path) -> None:
    with Registry(registry_folder()) as registry:
        digest = registry.add(make_release(tmp_path / "one", "1.0.0", b"x")).digest
        word = Sighting("device", "hut", "2026-11-02T00:00:00Z", "operator")
        assert sightings.note(registry, digest, word)
        change = registry.record(digest).change
        assert sightings.note(registry, digest, word)
        assert sightings.note(registry, digest, Sighting("device", "hut", "2026-10-02T00:00:00Z"))
        record = registry.record(digest)
        assert record.change == change and record.sightings == (word,)
        assert not sightings.note(registry, "0" * 64, word)


@pytest.mark.parametrize(
    "harm", [{"number": -1}, {"number": True}, {"begun": 1}, {"by": None}, {"colour": "blue"}]
)
def test_a_record_with_a_wrong_sighting_is_refused(tmp_path: Path, harm: dict[str, object]) -> None:
    with Registry(registry_folder()) as registry:
        digest = registry.add(make_release(tmp_path / "one", "1.0.0", b"x")).digest
        record = registry.sight(digest, Sighting("stick", "usb", "2026-11-02T00:00:00Z"))
    value = json.loads(encode(record))
    assert decode(json.dumps(value).encode(), "here") == record
    for name in ("by", "number", "begun"):  # as earlier versions wrote it
        del value["sightings"][0][name]
    assert decode(json.dumps(value).encode(), "here") == record
    value["sightings"][0] |= harm
    with pytest.raises(TrustError, match="a damaged record"):
        decode(json.dumps(value).encode(), "here")


def test_the_lineage_of_a_dataset_a_stick_and_a_device(tmp_path: Path) -> None:
    for version in ("1.0.0", "1.1.0"):
        folder = make_release(tmp_path / version, version, version.encode(), extra={"provenance": MADE_OF})
        run("add", folder)
    run("sight", "notes@1.0.0", "--device", "hut", "--by", "A. Weber")
    run("sight", "notes@1.1.0", "--stick", "blue")
    whole = run("lineage", "d" * 10).stdout
    assert whole.count("<-") == 1 and whole.splitlines()[-1].startswith("        device")
    assert "device  hut" in whole and "by A. Weber" in whole and "stick   blue" in whole
    of_stick = run("lineage", "blue").stdout
    assert "notes 1.1.0" in of_stick and "notes 1.0.0" not in of_stick and "dataset  ddd" in of_stick
    edges = json.loads(run("lineage", "hut", "--json").stdout)["edges"]
    assert ["dataset", "d" * 64, "adapter", "a" * 64] in edges and edges[-1][2:] == ["device", "hut"]
    release = run("lineage", "notes@1.0.0").stdout
    assert "hut" in release and "blue" not in release
    assert "no such release" in run("lineage", "elsewhere", code=2).stderr
    assert "name one place" in run("sight", "notes", code=2).stderr
