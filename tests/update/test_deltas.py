"""Deltas on a stick: the same model as a full install gives, of fewer bytes; and whatever can be wrong with them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.errors import ExitCode, InstalledBaseError, ModelError, StorageError, TrustError, UpdateError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import limits
from appliance.update import fetching, publish, slots
from appliance.update import install as installing
from tests.stick_simulator import Simulator, flip_bit, gguf_bytes, leftovers, make_release, refused
from tests.update.test_key_changes import changed

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = random.Random(1).randbytes(3 * limits.MIB + 77)
NEW = OLD[:70_000] + random.Random(2).randbytes(9_000) + OLD[79_000:]


def write(simulator: Simulator, *, whole: bool = True, version: str = "1.1.0", data: bytes = NEW) -> None:
    """Put a release on the stick with a delta from 1.0.0's model."""
    release = simulator.folder / "releases" / version
    if not release.exists():
        make_release(release, version, data)
    publish.write_stick(
        simulator.keys,
        simulator.all_signers,
        release,
        simulator.stick,
        ignore,
        bases=[simulator.folder / "releases" / "1.0.0" / "notes.gguf"],
        whole=whole,
    )


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active, and a stick with 1.1.0 whole and as a delta."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    simulator.install()
    write(simulator)
    return simulator


def delta(simulator: Simulator) -> Path:
    (found,) = simulator.stick.glob("targets/*.delta-*")
    return found


def model(simulator: Simulator) -> Path:
    return simulator.target("notes.gguf", "1.1.0")


def installed_model(simulator: Simulator, version: str = "1.0.0") -> Path:
    digest = storage.sha256_file(simulator.folder / "releases" / version / "notes.gguf")
    return slots.object_path(simulator.device, digest, "notes.gguf")


def texts(simulator: Simulator, **given: Any) -> str:
    """Install, and what was told."""
    told: list[Event] = []
    simulator.install(emit=told.append, **given)
    return "\n".join(event.text for event in told)


def test_the_delta_is_used_and_the_model_is_the_full_one(simulator: Simulator) -> None:
    assert delta(simulator).stat().st_size < 0.01 * model(simulator).stat().st_size
    assert "and a delta" in texts(simulator)
    assert simulator.active == "1.1.0"
    new = installed_model(simulator, "1.1.0")
    assert new.read_bytes() == (simulator.folder / "releases/1.1.0/notes.gguf").read_bytes()
    assert leftovers(simulator.device) == []


def test_the_whole_model_isn_t_read_where_the_delta_serves(simulator: Simulator) -> None:
    flip_bit(model(simulator))
    simulator.install()
    assert simulator.active == "1.1.0"
    with pytest.raises(TrustError, match="changed or damaged"):
        simulator.check(deep=True)


def test_a_delta_alone(simulator: Simulator) -> None:
    write(simulator, whole=False)
    assert not list(simulator.stick.glob("targets/*1.1.0.notes.gguf"))
    assert simulator.check(deep=True).files["notes.gguf"].whole is False
    simulator.install()
    assert simulator.active == "1.1.0"
    assert simulator.install().version == "1.1.0"  # and again: nothing to do


def test_the_retained_release_serves_as_base(simulator: Simulator) -> None:
    simulator.publish("1.0.1", b"something else")
    simulator.install(version="1.0.1")
    assert simulator.active == "1.0.1"
    write(simulator, version="1.2.0", data=OLD[:-1] + b"!", whole=False)
    simulator.install()
    assert simulator.active == "1.2.0"


def test_without_its_base_the_whole_model_is_copied(simulator: Simulator, tmp_path: Path) -> None:
    simulator.device = Device(tmp_path / "fresh")
    assert "delta" not in texts(simulator)
    assert simulator.active == "1.1.0"


def test_a_delta_alone_without_its_base(simulator: Simulator, tmp_path: Path) -> None:
    write(simulator, whole=False)
    simulator.device = Device(tmp_path / "fresh")
    with pytest.raises(InstalledBaseError, match="isn't installed here") as caught:
        simulator.install()
    assert caught.value.exit_code is ExitCode.UPDATE
    assert "--delta-only" in caught.value.hint
    assert slots.active(simulator.device) is None
    assert leftovers(simulator.device) == []


@pytest.mark.parametrize("place", [100, 1_000_000, -1])
def test_a_damaged_base_falls_back_to_the_whole(simulator: Simulator, place: int) -> None:
    flip_bit(installed_model(simulator), place)
    told = texts(simulator)
    assert "not what was installed: the delta can't be used" in told
    assert simulator.active == "1.1.0"


def test_a_damaged_base_and_no_whole(simulator: Simulator) -> None:
    write(simulator, whole=False)
    base = installed_model(simulator)
    flip_bit(base, 1_000_000)
    with pytest.raises(InstalledBaseError, match="not what was installed") as caught:
        simulator.install()
    assert "whole model" in caught.value.hint
    assert leftovers(simulator.device) == []
    flip_bit(base, 1_000_000)
    assert simulator.active == "1.0.0"
    simulator.install()
    assert simulator.active == "1.1.0"


def test_a_base_cut_short_counts_as_missing(simulator: Simulator) -> None:
    base = installed_model(simulator)
    os.truncate(base, base.stat().st_size - 1)
    assert "and a delta" not in texts(simulator)
    assert simulator.active == "1.1.0"


def test_falling_back_keeps_what_is_good(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks that the delta had made before the damage showed are not copied again."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0")
    flip_bit(installed_model(simulator), 2 * limits.MIB + 5)
    reads: list[int] = []
    read_blocks = fetching.copying.sticks.read_blocks

    def seen(stick: Path, target: Any, start: int = 0) -> Any:
        reads.append(start)
        return read_blocks(stick, target, start)

    monkeypatch.setattr(fetching.copying.sticks, "read_blocks", seen)
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert simulator.active == "1.3.0"
    assert 2 * limits.MIB in reads
    assert done[-1] == max(done)


def test_an_interrupted_making_goes_on(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0", whole=False)
    target = simulator.check().files["notes.gguf"]
    part = simulator.device.objects / ".incoming" / f"{target.sha256}.gguf"
    part.parent.mkdir()
    part.write_bytes((simulator.folder / "releases/1.3.0/notes.gguf").read_bytes()[: 2 * limits.MIB + 5])
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert done[0] == 2 * limits.MIB
    assert simulator.active == "1.3.0"


@pytest.mark.parametrize("place", [0, 9, 50, 90, 100, -1])
def test_one_flipped_bit_in_the_delta(simulator: Simulator, place: int) -> None:
    """A stick that was changed is refused, though the whole model lies there too."""
    flip_bit(delta(simulator), place)
    refused(simulator, TrustError, "delta-.*changed or damaged")


def test_a_missing_and_a_longer_delta(simulator: Simulator) -> None:
    path = delta(simulator)
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    refused(simulator, TrustError, "longer than what was signed")
    path.unlink()
    refused(simulator, TrustError, "is missing")


def test_a_file_that_saves_nothing_is_left_out(simulator: Simulator) -> None:
    told: list[Event] = []
    other = simulator.folder / "other.gguf"
    other.write_bytes(gguf_bytes(b"small"))
    release = simulator.folder / "releases" / "1.1.0"
    arguments = (simulator.keys, simulator.all_signers, release, simulator.stick, told.append)
    before = delta(simulator)
    publish.write_stick(*arguments, bases=[other], prune=True)
    assert "it is left out" in "\n".join(event.text for event in told)
    assert not before.exists()
    with pytest.raises(UpdateError, match="no delta to go onto the stick alone"):
        publish.write_stick(*arguments, bases=[other, release / "notes.gguf"], whole=False)
    other.write_bytes(b"no model")
    with pytest.raises(ModelError):
        publish.write_stick(*arguments, bases=[other])
    assert simulator.check(deep=True).version == "1.1.0"


def test_parts_and_a_delta(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 256 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0")
    assert len(simulator.check(deep=True).files["notes.gguf"].parts) == 4
    assert "and a delta" in texts(simulator)
    assert simulator.active == "1.3.0"
    write(simulator, version="1.4.0", data=NEW[:-3] + b"new", whole=False)
    assert not list(simulator.stick.glob("targets/*1.4.0*part*"))
    simulator.install()
    assert simulator.active == "1.4.0"


def test_written_again_without_a_delta_it_has_none(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    assert simulator.check(deep=True).files["notes.gguf"].deltas == ()
    assert not list(simulator.stick.glob("targets/*.delta-*"))
    simulator.install()
    assert simulator.active == "1.1.0"


@pytest.mark.parametrize("whole", [True, False])
def test_what_stays_on_the_stick_when_keys_change(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Releases that were published from here are signed again, in parts or as a delta; a delta beside its file goes."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 256 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0", whole=whole)
    changed(simulator, "targets")
    simulator.publish("1.4.0")
    report = simulator.check(version="1.3.0", deep=True)
    target = report.files["notes.gguf"]
    assert (len(target.parts), len(target.deltas)) == ((4, 0) if whole else (0, 1))
    simulator.install(version="1.3.0")
    assert simulator.active == "1.3.0"


def test_room_is_asked_for_the_result_alone(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    target = simulator.check().files["notes.gguf"]
    free = target.bytes + simulator.check().files["report.html"].bytes + len(simulator.check().manifest_bytes)

    class Usage:
        def __init__(self, size: int) -> None:
            self.free = size + installing.SPARE_BYTES

    monkeypatch.setattr(installing.shutil, "disk_usage", lambda _: Usage(free - 1))
    with pytest.raises(StorageError, match="no space left"):
        simulator.install()
    monkeypatch.setattr(installing.shutil, "disk_usage", lambda _: Usage(free))
    simulator.install()
    assert simulator.active == "1.1.0"


def test_kill_at_every_change_to_the_disk(simulator: Simulator, tmp_path: Path) -> None:
    write(simulator, whole=False)
    output = tmp_path / "killed"
    output.mkdir()
    program = [sys.executable, "-m", "tests.update.killed_install"]
    subprocess.run(
        [*program, str(simulator.stick), str(simulator.device.root), str(output)], check=True, cwd=REPOSITORY
    )
    seen = []
    for folder in sorted(output.iterdir()):
        simulator.device = Device(folder)
        assert simulator.active in {"1.0.0", "1.1.0"}
        seen.append(simulator.active)
        simulator.install()
        assert simulator.active == "1.1.0"
        assert leftovers(simulator.device) == []
    assert len(seen) > 20 and seen == sorted(seen) and set(seen) == {"1.0.0", "1.1.0"}
