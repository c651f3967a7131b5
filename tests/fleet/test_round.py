"""The whole round: install, receipt on the stick, taken in the workshop, acknowledged, and not sent again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.errors import UpdateError
from appliance.events import Event, ignore
from appliance.fleet.devices import Devices
from appliance.fleet.strangers import believed, look
from appliance.fleet.taking import take_all
from appliance.paths import Device, registry_folder
from appliance.registry.store import Registry
from appliance.trust import device_identity, receipt
from appliance.trust.chain import BEGIN
from appliance.update import audit, log_files
from appliance.update import install as installing
from appliance.update import receipts as leaving
from tests.stick_simulator import Simulator, flip_bit


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device that has installed 1.0.0 from its stick."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    return simulator


def brought(simulator: Simulator) -> receipt.Receipt:
    """The one receipt on the stick."""
    (path,) = (simulator.stick / "receipts").iterdir()
    return receipt.read(path.read_bytes())


def test_an_install_leaves_a_signed_receipt(simulator: Simulator) -> None:
    found = brought(simulator)
    identity = device_identity.read(simulator.device)
    assert identity is not None and (found.device, found.key) == (identity.device, identity.public)
    assert device_identity.key_path(simulator.device).stat().st_mode & 0o777 == 0o600
    active = found.statement["slots"]["active"]
    assert (active["name"], active["version"], active["counter"]) == ("notes", "1.0.0", 1)
    release = (simulator.folder / "releases" / "1.0.0" / "release.json").read_bytes()
    assert active["model"] in release.decode()
    assert found.statement["ledger"]["counter"] == 1
    assert found.statement["time"]["source"] in {
        "the machine's clock",
        "the newest stick",
        "the program's build date",
    }
    assert (found.after, found.last.number, found.head.number) == (BEGIN, 1, 1)
    assert b'"event":"installed"' in found.entries[0]


def test_the_round(simulator: Simulator) -> None:
    registry = registry_folder()
    with Registry(registry) as opened:
        opened.add(simulator.folder / "releases" / "1.0.0")
    (refused,) = take_all(simulator.stick, registry, ignore)
    assert refused.outcome == "refused" and "isn't enrolled" in refused.reason
    assert Devices(registry).all() == []
    (taken,) = take_all(simulator.stick, registry, ignore, enrol=believed(look(simulator.stick, registry)))
    assert (taken.outcome, taken.added, taken.head) == ("taken", 1, 1)
    (again,) = take_all(simulator.stick, registry, ignore)
    assert (again.outcome, again.added) == ("known already", 0)
    with Registry(registry) as opened:
        (sighting,) = opened.record(opened.find("notes").digest).sightings
    assert (sighting.kind, sighting.name) == ("device", taken.device)

    simulator.publish("1.1.0", acknowledged=Devices(registry).links())
    simulator.check(deep=True)
    simulator.install()
    assert log_files.acknowledged(simulator.device.log).number == 1
    found = brought(simulator)
    assert (found.after.number, found.last.number) == (1, 2)  # the first isn't sent again
    (taken,) = take_all(simulator.stick, registry, ignore)
    assert (taken.outcome, taken.added, taken.head) == ("taken", 1, 2)
    (known,) = Devices(registry).all()
    entries = Devices(registry).entries(known)
    assert [entry.data["version"] for entry in entries] == ["1.0.0", "1.1.0"]
    assert known.statement["slots"]["active"]["version"] == "1.1.0"
    assert audit.verify(simulator.device) == []
    assert [entry["data"]["version"] for entry in audit.entries(simulator.device)] == [
        "1.0.0",
        "1.1.0",
    ]  # it keeps both


def test_a_refusal_is_told_with_its_reason_and_exit_code(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    flip_bit(simulator.target("notes.gguf", "1.1.0"))
    with pytest.raises(Exception, match="changed or damaged"):
        simulator.install()
    last = json.loads(brought(simulator).entries[-1])
    assert last["event"] == "refused"
    assert last["data"]["exit_code"] == 8 and "changed or damaged" in last["data"]["reason"]
    assert (last["data"]["version"], last["data"]["by"]) == ("1.1.0", audit.operator())


def test_acts_by_hand_are_told(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    simulator.install()
    installing.roll_back(simulator.device)
    made = leaving.make(simulator.device)
    last = json.loads(receipt.read(made.data).entries[-1])
    assert (last["event"], last["data"]["by"]) == ("rolled back", audit.operator())
    with pytest.raises(UpdateError):
        installing.roll_back(Device(simulator.folder / "another"))
    (entry,) = audit.entries(Device(simulator.folder / "another"))
    assert (entry["event"], entry["data"]["exit_code"]) == ("rollback refused", 9)


def test_a_stick_that_is_not_believed_is_given_nothing(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    for version in ("8.0.0", "8.1.0", "9.0.0"):
        stranger.publish(version)
    with pytest.raises(Exception, match="not signed"):
        simulator.install(stick=stranger.stick)
    assert not (stranger.stick / "receipts").exists()


def test_an_acknowledgment_of_another_history_is_refused_and_logged(simulator: Simulator) -> None:
    registry = registry_folder()
    take_all(simulator.stick, registry, ignore, enrol=believed(look(simulator.stick, registry)))
    links = Devices(registry).links()
    wrong = {device: type(link)(link.number, "f" * 64) for device, link in links.items()}
    events: list[Event] = []
    for version in ("1.1.0", "1.2.0"):
        simulator.publish(version, acknowledged=wrong)
        simulator.install(emit=events.append)
    assert log_files.acknowledged(simulator.device.log) == BEGIN
    logged = [entry["event"] for entry in audit.entries(simulator.device)]
    assert logged == ["installed", "acknowledgment refused", "installed", "installed"]
    assert any("another entry 1" in event.text for event in events if event.kind == "warning")
    assert brought(simulator).after == BEGIN


@pytest.mark.parametrize("back", [0, 1])
def test_a_damaged_log_stops_no_install_and_accuses_nobody(simulator: Simulator, back: int) -> None:
    device = simulator.device
    for number in range(6):
        audit.append(device, "tried", number=number)
    found = audit.check(device.log).entries
    acknowledged = {found[0].device: found[-1 - back].link}
    simulator.publish("1.1.0", acknowledged=acknowledged)
    path = audit.path(device)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00" + lines[1][1:]
    path.write_bytes(b"".join(lines))
    events: list[Event] = []
    simulator.install(emit=events.append)
    assert simulator.active == "1.1.0"
    assert "acknowledgment refused" not in [entry["event"] for entry in audit.entries(device)]
    assert log_files.acknowledged(device.log) == BEGIN
    assert any("the log is damaged" in event.text for event in events if event.kind == "warning")
