"""Sticks that must be refused: the old release stays active, and the log says why."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from appliance.errors import ExitCode, TrustError, UpdateError
from appliance.trust import clock, keys
from appliance.trust import ledger as ledgers
from appliance.update import slots
from tests.stick_simulator import Simulator, flip_bit, refused


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active, and a good stick with 1.1.0 that it hasn't seen."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    simulator.publish("1.1.0")
    return simulator


def test_the_good_stick_is_accepted(simulator: Simulator) -> None:
    assert simulator.check(deep=True).version == "1.1.0"
    assert simulator.active == "1.0.0"  # a check changes nothing
    simulator.install()
    assert simulator.active == "1.1.0"


@pytest.mark.parametrize("place", [0, 40_000, -1])
def test_one_flipped_bit_in_the_model(simulator: Simulator, place: int) -> None:
    flip_bit(simulator.target("notes.gguf", "1.1.0"), place)
    assert refused(simulator, TrustError, "changed or damaged").exit_code == ExitCode.TRUST


def test_one_flipped_bit_is_found_by_a_deep_check(simulator: Simulator) -> None:
    flip_bit(simulator.target("notes.gguf", "1.1.0"))
    with pytest.raises(TrustError, match="changed or damaged"):
        simulator.check(deep=True)


def test_one_flipped_bit_in_the_manifest(simulator: Simulator) -> None:
    flip_bit(simulator.target("release.json", "1.1.0"))
    refused(simulator, TrustError, "release.json: changed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9])
def test_one_flipped_bit_in_metadata(simulator: Simulator, role: str, share: float) -> None:
    path = simulator.metadata(role)
    flip_bit(path, int(len(path.read_bytes()) * share))
    refused(simulator, TrustError, "stick|signed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_unsigned(simulator: Simulator, role: str) -> None:
    simulator.resign(role, [])
    refused(simulator, TrustError, "not signed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_signed_by_a_stranger(simulator: Simulator, tmp_path: Path, role: str) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    simulator.resign(role, [stranger.signers[role]])
    refused(simulator, TrustError, "not signed by a key that this device trusts")


def test_a_stranger_s_whole_stick(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    for version in ("8.0.0", "8.0.1", "9.0.0"):
        stranger.publish(version)
    simulator.stick = stranger.stick
    refused(simulator, TrustError, "not signed by a key that this device trusts")


def test_keys_of_another_role_do_not_count(simulator: Simulator) -> None:
    simulator.resign("targets", [simulator.signers["timestamp"]])
    refused(simulator, TrustError, "not signed")


def test_a_later_root_signed_by_a_stranger(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    root = keys.root_bytes(stranger.keys).replace(b'"version": 1', b'"version": 2')
    (simulator.stick / "metadata" / "2.root.json").write_bytes(root)
    refused(simulator, TrustError, "stick|signed")


def test_older_than_installed(simulator: Simulator, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(simulator.stick, old)
    simulator.publish("1.2.0")
    simulator.install()
    simulator.stick = old
    refused(simulator, TrustError, "older than what is installed here", old="1.2.0")


def test_older_is_refused_without_any_stored_metadata(simulator: Simulator, tmp_path: Path) -> None:
    """Zeroed metadata counts as a first run for TUF; the ledger remembers."""
    old = tmp_path / "old"
    shutil.copytree(simulator.stick, old)
    simulator.publish("1.2.0")
    simulator.install()
    for path in simulator.device.metadata.rglob("*.json"):
        path.write_bytes(b"")
    simulator.stick = old
    refused(simulator, TrustError, "older than what is installed here", old="1.2.0")


def test_an_older_release_chosen_by_version(simulator: Simulator) -> None:
    simulator.install()
    with pytest.raises(TrustError, match="older than what was installed"):
        simulator.install(version="1.0.0")
    assert simulator.active == "1.1.0"


def test_both_copies_of_the_ledger_damaged(simulator: Simulator) -> None:
    for path in ledgers.paths(simulator.device):
        flip_bit(path)
    with pytest.raises(TrustError, match="both copies"):
        simulator.install()
    assert simulator.active == "1.0.0"


def test_expired(simulator: Simulator) -> None:
    simulator.publish("1.1.1", now=clock.BUILD_DATE, days=1)
    refused(simulator, TrustError, "expired")


def test_expired_by_a_clock_of_1970(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose battery died still knows the newest time that it has seen."""
    simulator.install()
    monkeypatch.setattr("time.time", lambda: 0.0)
    simulator.publish("1.2.0", now=clock.BUILD_DATE, days=1)
    refused(simulator, TrustError, "expired", old="1.1.0")


def test_a_clock_of_1970_does_not_stop_a_good_stick(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.publish("1.2.0", now=clock.machine_time() + timedelta(days=2))
    monkeypatch.setattr("time.time", lambda: 0.0)
    simulator.install()
    assert simulator.active == "1.2.0"


@pytest.mark.parametrize("size", [0, 1, 40_000])
def test_truncated_model(simulator: Simulator, size: int) -> None:
    os.truncate(simulator.target("notes.gguf", "1.1.0"), size)
    refused(simulator, TrustError, f"cut off after {size} of")


def test_longer_model(simulator: Simulator) -> None:
    with simulator.target("notes.gguf", "1.1.0").open("ab") as stream:
        stream.write(b"x")
    refused(simulator, TrustError, "longer than what was signed")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_truncated_metadata(simulator: Simulator, role: str) -> None:
    path = simulator.metadata(role)
    os.truncate(path, path.stat().st_size // 2)
    refused(simulator, TrustError, "stick|signed")


def test_metadata_without_end(simulator: Simulator) -> None:
    with simulator.metadata("timestamp").open("ab") as stream:
        stream.truncate(1 << 40)  # sparse
    refused(simulator, TrustError, "changed or damaged")


def _link(path: Path) -> None:
    moved = path.with_name("moved")
    path.rename(moved)
    path.symlink_to(moved.name)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("replace", [_link, _fifo, _folder])
@pytest.mark.parametrize("which", ["notes.gguf", "release.json", "timestamp"])
def test_no_regular_file(simulator: Simulator, replace: Callable[[Path], None], which: str) -> None:
    path = simulator.metadata(which) if which == "timestamp" else simulator.target(which, "1.1.0")
    replace(path)
    refused(simulator, TrustError, "regular file|changed or damaged")


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/b", "a\\b", "..\\..\\x", ".hidden", "a\nb", "NUL\0"]
)
def test_a_signed_name_that_leads_outside(simulator: Simulator, name: str) -> None:
    """Even the publisher's own key can't make a device look elsewhere."""
    entry = TargetFile(1, {"sha256": "0" * 64}, name, {"custom": {"anchorhold": {"chunks": ["0" * 64]}}})

    def add(targets: object) -> None:
        targets.targets[name] = entry  # type: ignore[attr-defined]

    simulator.resign("targets", [simulator.signers["targets"]], add)
    refused(simulator, TrustError, "not a plain file name")


@pytest.mark.parametrize("missing", ["notes.gguf", "release.json", "timestamp", "targets", "snapshot"])
def test_a_half_written_stick(simulator: Simulator, missing: str) -> None:
    path = simulator.target(missing, "1.1.0") if "." in missing else simulator.metadata(missing)
    path.unlink()
    refused(simulator, TrustError, "isn't whole")


def test_an_empty_folder_and_no_folder(simulator: Simulator, tmp_path: Path) -> None:
    simulator.stick = tmp_path / "nothing"
    refused(simulator, UpdateError, "no such folder")
    simulator.stick.mkdir()
    refused(simulator, TrustError, "isn't whole")


def test_a_device_without_a_root_refuses(simulator: Simulator, tmp_path: Path) -> None:
    from appliance.events import ignore
    from appliance.paths import Device
    from appliance.update.install import install

    fresh = Device(tmp_path / "fresh")
    with pytest.raises(TrustError, match="no root of trust yet") as caught:
        install(simulator.stick, fresh, ignore)
    assert "--trust" in caught.value.hint
    assert slots.active(fresh) is None


def test_another_root_after_the_pin(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    with pytest.raises(TrustError, match="not the root that this device trusts"):
        simulator.install(trust=stranger.root)
    simulator.install(trust=simulator.root)  # the same one again does no harm
    assert simulator.active == "1.1.0"


def test_a_refused_first_stick_pins_nothing(tmp_path: Path) -> None:
    simulator, stranger = Simulator(tmp_path / "a"), Simulator(tmp_path / "b", "stranger")
    simulator.publish("1.0.0")
    with pytest.raises(TrustError):
        simulator.install(trust=stranger.root)
    assert not simulator.device.trusted_root.exists()
    simulator.install(trust=simulator.root)
    assert simulator.active == "1.0.0"


def test_a_removed_pin_does_not_open_the_device(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    stranger.publish("9.0.0")
    simulator.device.trusted_root.unlink()
    with pytest.raises(TrustError, match="given first"):
        simulator.install(stranger.stick, trust=stranger.root)
    assert simulator.active == "1.0.0"
