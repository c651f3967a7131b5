"""The small files of a log that say where it begins and what the workshop has: lost, damaged, and what comes of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from appliance.errors import TrustError
from appliance.events import Event
from appliance.fleet.devices import Devices
from appliance.fleet.taking import Taken, take
from appliance.fleet.telling import is_alarm
from appliance.fleet.verifying import look
from appliance.paths import Device
from appliance.trust import chain, limits, receipt
from appliance.trust.chain import Link
from appliance.update import audit, log_files, receipts
from tests.stick_simulator import Simulator
from tests.update.killed_install import CHANGES


@pytest.fixture
def store(tmp_path: Path) -> Devices:
    return Devices(tmp_path / "registry")


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    simulator = Simulator(tmp_path / "simulated")
    simulator.device.root.mkdir(parents=True)
    return simulator


@pytest.fixture
def device(simulator: Simulator, store: Devices, monkeypatch: pytest.MonkeyPatch) -> Device:
    """A device with 40 entries, of which the workshop has the first 30; the oldest were dropped."""
    monkeypatch.setattr(limits, "LOG_SEGMENT_BYTES", 700)
    monkeypatch.setattr(limits, "LOG_SEGMENTS_KEPT", 3)
    device = simulator.device
    write(device, 30)
    bring(device, store)
    head = audit.check(device.log).head
    with log_files.writing(device.log):
        log_files.write_place(device.log / log_files.ACKNOWLEDGED, head)
        assert log_files.drop(device.log, 30) is not None
    write(device, 10)
    assert audit.verify(device) == [] and 0 < log_files.begin(device.log).number < 30
    return device


def write(device: Device, count: int) -> None:
    for _ in range(count):
        audit.append(device, "tried")


def bring(device: Device, store: Devices) -> Taken:
    """Take the device's receipt in the workshop."""
    data = receipts.make(device).data
    with store.writing():
        return take(data, store, believe=receipt.signer(data)[1])[1]


def spoil(path: Path, how: str) -> None:
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:20], "zeros": bytes(90)}[how])


def told(device: Device) -> list[chain.Entry]:
    return [entry for entry in audit.check(device.log).entries if entry.event == "begin lost"]


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "zeros"])
def test_a_lost_beginning_is_made_out_and_told(device: Device, store: Devices, how: str) -> None:
    before = log_files.begin(device.log)
    spoil(device.log / log_files.FIRST, how)
    assert audit.verify(device) == []
    (looked,) = look(device.root, store.folder)
    assert any("begin.json is lost or damaged" in note for note in looked.notes)
    taken = bring(device, store)  # without any other entry to write
    assert (taken.outcome, taken.added, taken.head) == ("taken", 11, 41)
    (entry,) = told(device)
    assert entry.data == {"begins": before.number + 1, "follows": before.digest, "acknowledged": 30}
    assert is_alarm(entry) and entry.number == 41
    assert log_files.read_place(device.log / log_files.FIRST) == before
    write(device, 1)
    assert audit.verify(device) == [] and len(told(device)) == 1
    (looked,) = look(device.root, store.folder)
    assert [note.partition(", at ")[0] for note in looked.notes] == ["entry 41 tells: begin lost"]


def test_with_it_entries_that_nobody_has(device: Device, store: Devices) -> None:
    """Whoever cuts out entries and removes begin.json is found: only what was acknowledged may be missing."""
    spoil(device.log / log_files.FIRST, "missing")
    for _, path in log_files.older(device.log):
        path.unlink()  # some of these the workshop hasn't
    first = chain.parse(audit.path(device).read_bytes().splitlines()[0]).number
    assert first > 32
    for _ in range(2):
        (fault,) = audit.verify(device)
        assert fault.startswith(f"entry {first - 1}: the log begins behind it, though the workshop hasn't")
        write(device, 1)
    with pytest.raises(TrustError, match=f"a gap: entries 31 to {first - 1}"):
        bring(device, store)


def test_and_the_first_entry_is_damaged_too(device: Device, store: Devices, tmp_path: Path) -> None:
    spoil(device.log / log_files.FIRST, "missing")
    path = log_files.older(device.log)[0][1]
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    assert audit.verify(device) != []
    assert (
        bring(device, store).head == 40
    )  # what the workshop has is found by its digest, and the rest is sent
    (device.log / log_files.ACKNOWLEDGED).unlink()
    with pytest.raises(TrustError, match="where it begins can't be told") as caught:
        receipts.make(device)
    assert "move it aside" in caught.value.hint
    events: list[Event] = []
    assert receipts.leave(tmp_path, device, events.append) is None  # stops no install
    assert "where it begins can't be told" in events[-1].text


def test_older_entries_that_are_gone_hinder_no_receipt_if_the_workshop_has_them(
    device: Device, store: Devices
) -> None:
    log_files.older(device.log)[0][1].unlink()
    assert "missing (cut out)" in audit.verify(device)[0]
    assert bring(device, store).head == 40


def die_while_mending(device: Device, left: int) -> None:
    """Write an entry, but be killed at the change to the log after `left` ones. In a process of its own."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (writes or event in CHANGES) and str(device.log) in str(arguments[0]):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
    audit.append(device, "tried")


def test_killed_at_any_moment_it_is_told_all_the_same(device: Device) -> None:
    before = log_files.begin(device.log)
    for allowed in range(100):
        log_files.write_place(device.log / log_files.FIRST, before)
        tellings = len(told(device))
        (device.log / log_files.FIRST).unlink()
        child = os.fork()
        if child == 0:
            die_while_mending(device, allowed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        write(device, 1)
        assert audit.verify(device) == []
        assert log_files.read_place(device.log / log_files.FIRST) == before
        assert len(told(device)) > tellings
        if status == 0:
            break
    assert allowed > 3


def test_what_the_workshop_has_is_lost_and_comes_back(simulator: Simulator, device: Device) -> None:
    """It may be no reason to believe nothing for ever that there is nothing left to believe."""
    head = audit.check(device.log).entries[-3].link
    owner = audit.identity(device).device
    (device.log / log_files.ACKNOWLEDGED).unlink()
    assert "hasn't acknowledged so much" in audit.verify(device)[0]
    simulator.publish("1.0.0", acknowledged={owner: head})
    simulator.install()
    assert log_files.acknowledged(device.log) == head
    assert audit.verify(device) == []


@pytest.mark.parametrize("older", [0, 1])
def test_an_older_stick_names_an_entry_that_was_dropped(
    simulator: Simulator, device: Device, older: int
) -> None:
    begin = log_files.begin(device.log)
    place = begin if not older else Link(begin.number - 1, "f" * 64)  # that one can't be compared any more
    owner = audit.identity(device).device
    (device.log / log_files.ACKNOWLEDGED).unlink()
    simulator.publish("1.0.0", acknowledged={owner: place})
    simulator.install()
    assert "acknowledgment refused" not in [entry["event"] for entry in audit.entries(device)]
    assert log_files.acknowledged(device.log).number == (0 if older else begin.number)


def test_a_log_that_is_gone_with_head_json_is_told(device: Device) -> None:
    """What the workshop has acknowledged says that there was more."""
    for path in (*device.log.glob("audit*.jsonl"), device.log / log_files.HEAD, device.log / log_files.FIRST):
        path.unlink()
    known = log_files.acknowledged(device.log)
    write(device, 2)
    (cut,) = [entry for entry in audit.entries(device) if entry["event"] == "log cut"]
    assert cut["data"] == {"written": 30, "digest": known.digest, "ends": 0}
    assert audit.verify(device) != []


def test_a_young_log_needs_no_begin_json(tmp_path: Path) -> None:
    device = Device(tmp_path / "young")
    write(device, 3)
    (device.log / log_files.FIRST).write_bytes(b"{")
    write(device, 1)
    assert told(device) == [] and audit.verify(device) == []
