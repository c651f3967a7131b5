"""Sticks that are swapped, mixed, linked or read at the wrong time: refused, and the old release stays."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from appliance.errors import ExitCode, TrustError, UpdateError
from appliance.events import Event
from appliance.registry.manifest import Manifest
from appliance.trust import clock, ledger, limits
from appliance.update import audit
from appliance.update.needs import check as check_needs
from tests.stick_simulator import Simulator, flip_bit, make_release, refused


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A device with 1.0.0 active, and a good stick with 1.1.0, whose model has five chunks."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    simulator.publish("1.1.0", os.urandom(4 * limits.MIB + 4711))
    return simulator


@pytest.mark.parametrize("chunk", [0, 2, 4])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_one_flipped_bit_anywhere_in_a_chunk(simulator: Simulator, chunk: int, place: str) -> None:
    path = simulator.target("notes.gguf", "1.1.0")
    begin = chunk * limits.MIB
    end = min(path.stat().st_size, begin + limits.MIB)
    flip_bit(path, {"first": begin, "middle": (begin + end) // 2, "last": end - 1}[place])
    error = refused(simulator, TrustError, rf"changed or damaged \(chunk {chunk + 1}\)")
    assert error.exit_code == ExitCode.TRUST


def test_short_by_one_byte(simulator: Simulator) -> None:
    path = simulator.target("notes.gguf", "1.1.0")
    os.truncate(path, path.stat().st_size - 1)
    refused(simulator, TrustError, "cut off after")


@pytest.mark.parametrize("name", ["release.json", "report.html"])
def test_another_file_short_or_long_by_one_byte(simulator: Simulator, name: str) -> None:
    path = simulator.target(name, "1.1.0")
    data = path.read_bytes()
    for changed in (data[:-1], data + b"\n"):
        path.write_bytes(changed)
        refused(simulator, TrustError, "changed or damaged|cut off|longer")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_of_two_releases_mixed(simulator: Simulator, tmp_path: Path, role: str) -> None:
    """Each file is signed as it should be; they only don't belong together."""
    older = tmp_path / "older"
    shutil.copytree(simulator.stick / "metadata", older)
    simulator.publish("1.2.0")
    newest = simulator.metadata(role)
    if (
        role == "timestamp"
    ):  # the older timestamp would be a whole older stick; give the newer one's snapshot its name
        older_snapshot = max(older.glob("*.snapshot.json"))
        older_snapshot.write_bytes(simulator.metadata("snapshot").read_bytes())
        shutil.copy(older_snapshot, simulator.stick / "metadata")
        shutil.copy(older / "timestamp.json", newest)
    else:
        shutil.copy(max(older.glob(f"*.{role}.json")), newest)
    refused(simulator, TrustError, "stick's metadata doesn't belong together|changed or damaged")


def test_an_older_stick_after_the_stored_metadata_is_gone(simulator: Simulator, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(simulator.stick, old)
    simulator.publish("1.2.0")
    simulator.install()
    shutil.rmtree(simulator.device.metadata)
    simulator.stick = old
    refused(simulator, TrustError, "older than what is installed here", old="1.2.0")


def test_a_clock_ten_years_ahead(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = clock.machine_time() + timedelta(days=3653)
    with monkeypatch.context() as wrong:
        wrong.setattr("time.time", ahead.timestamp)
        refused(simulator, TrustError, "expired")
    simulator.install()  # nothing was recorded from the wrong clock
    assert simulator.active == "1.1.0"


def test_an_expired_stick_that_somebody_answers_for(simulator: Simulator, tmp_path: Path) -> None:
    """Only the date is overlooked: not the signature, not the floors; and the time known doesn't go back."""
    simulator.publish("1.2.0", now=clock.BUILD_DATE, days=1)
    refused(simulator, TrustError, "expired")
    before = ledger.read(simulator.device).time
    said: list[Event] = []
    simulator.install(despite_expiry="no link to the workshop", emit=said.append)
    assert simulator.active == "1.2.0"
    assert ledger.read(simulator.device).time >= before
    entry = audit.entries(simulator.device)[-1]
    assert (entry["event"], entry["data"]["despite_expiry"]) == ("installed", "no link to the workshop")
    assert any(event.kind == "warning" and "is overlooked: no link" in event.text for event in said)
    old = tmp_path / "old"
    shutil.copytree(simulator.stick, old)
    simulator.publish("1.3.0", now=clock.BUILD_DATE, days=1)
    simulator.install(despite_expiry="still none")
    simulator.stick = old
    refused(simulator, TrustError, "older than what is installed here", old="1.3.0", despite_expiry="please")
    simulator.resign("targets", [])
    refused(simulator, TrustError, "not signed", old="1.3.0", despite_expiry="please")


def test_overlooking_the_date_for_a_clock_far_ahead_records_nothing_of_it(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = clock.machine_time() + timedelta(days=3653)
    with monkeypatch.context() as wrong:
        wrong.setattr("time.time", ahead.timestamp)
        simulator.install(despite_expiry="the battery is dead")
    assert ledger.read(simulator.device).time < clock.to_text(ahead)
    simulator.publish("1.2.0")
    simulator.install()
    assert simulator.active == "1.2.0"


def test_more_memory_than_the_machine_has(simulator: Simulator) -> None:
    needs = {"needs": {"memory_bytes": 1 << 60}}
    make_release(simulator.folder / "releases/1.2.0", "1.2.0", b"too large", extra=needs)
    simulator.publish("1.2.0")
    assert refused(simulator, UpdateError, "bytes of memory").exit_code == ExitCode.UPDATE


OTHER = "0" * 31 + "1"


@pytest.mark.parametrize(
    ("needs", "reason"),
    [
        ({"machines": ["riscv64", "s390x"]}, "is for riscv64, s390x, this machine is"),
        ({"devices": [OTHER]}, "is for other devices than this one"),
    ],
)
def test_made_for_another_machine_or_device(
    simulator: Simulator, needs: dict[str, list[str]], reason: str
) -> None:
    make_release(simulator.folder / "releases/1.2.0", "1.2.0", b"for others", extra={"needs": needs})
    simulator.publish("1.2.0")
    assert refused(simulator, UpdateError, reason).exit_code == ExitCode.UPDATE


def test_made_for_this_device_and_this_kind_of_machine(simulator: Simulator) -> None:
    identity = audit.identity(simulator.device)
    needs = {"machines": ["riscv64", platform.machine()], "devices": [OTHER, identity.device]}
    make_release(simulator.folder / "releases/1.2.0", "1.2.0", b"for us", extra={"needs": needs})
    simulator.publish("1.2.0")
    simulator.install()
    assert simulator.active == "1.2.0"


def test_a_device_without_an_id_takes_nothing_that_is_for_some(simulator: Simulator) -> None:
    shutil.rmtree(simulator.device.identity)
    manifest = Manifest("notes", "1.2.0", (), {"needs": {"devices": [OTHER]}})
    with pytest.raises(UpdateError, match="this one has none yet"):
        check_needs(manifest, simulator.device)


def _hard_link(path: Path) -> None:
    path.with_name("other name").hardlink_to(path)


def _device_node(path: Path) -> None:
    path.unlink()
    try:
        os.mknod(path, 0o020644, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("device nodes can't be made here")


@pytest.mark.parametrize("replace", [_hard_link, _device_node])
@pytest.mark.parametrize("which", ["notes.gguf", "release.json", "timestamp"])
def test_a_hard_link_or_device(simulator: Simulator, replace: Callable[[Path], None], which: str) -> None:
    path = simulator.metadata(which) if which == "timestamp" else simulator.target(which, "1.1.0")
    replace(path)
    refused(simulator, TrustError, "hard link|regular file|changed or damaged")


@pytest.mark.parametrize("inside", ["metadata", "targets"])
def test_a_folder_that_is_a_link(simulator: Simulator, inside: str) -> None:
    folder = simulator.stick / inside
    folder.rename(simulator.stick / "elsewhere")
    folder.symlink_to("elsewhere")
    refused(simulator, TrustError, "link|changed or damaged")


def test_content_swapped_after_it_was_checked(simulator: Simulator) -> None:
    """A stick that shows good bytes to the check and others to the copy."""
    assert simulator.check(deep=True).version == "1.1.0"
    flip_bit(simulator.target("notes.gguf", "1.1.0"), -1)
    refused(simulator, TrustError, "changed or damaged")


def test_content_swapped_while_it_is_copied(simulator: Simulator) -> None:
    """What is hashed is what is written: bytes that change behind the copy's back no longer count."""
    path = simulator.target("notes.gguf", "1.1.0")
    swapped: list[float] = []

    def swap(event: Event) -> None:
        if event.unit == "bytes" and event.done >= limits.MIB:
            if not swapped:
                path.write_bytes(bytes(path.stat().st_size))
            swapped.append(event.done)

    floors = ledger.read(simulator.device)
    with pytest.raises(TrustError, match="changed or damaged"):
        simulator.install(emit=swap)
    assert swapped and simulator.active == "1.0.0" and ledger.read(simulator.device) == floors
