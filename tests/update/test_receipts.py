"""Receipts on sticks: left where they can be, told where not, and never through a link; whatever the stick is like."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.errors import TrustError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import clock, device_identity, limits, receipt
from appliance.trust.chain import BEGIN
from appliance.update import audit, log_files, receipts
from tests.stick_simulator import Simulator, accept


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device with five entries."""
    device = Device(tmp_path / "device")
    device.root.mkdir()
    for number in range(1, 6):
        audit.append(device, "tried", number=number)
    return device


def left(stick: Path, device: Device) -> tuple[receipts.Made | None, list[Event]]:
    events: list[Event] = []
    return receipts.leave(stick, device, events.append), events


def test_a_name_that_fat_takes(device: Device, tmp_path: Path) -> None:
    made, _ = left(tmp_path, device)
    (path,) = (tmp_path / "receipts").iterdir()
    assert made is not None and path.name == f"{made.device}.jsonl"
    assert re.fullmatch(r"[0-9a-f]{32}\.jsonl", path.name)  # no case to fold, no sign that FAT hasn't
    assert path.read_bytes() == made.data


def test_it_takes_the_former_ones_place(device: Device, tmp_path: Path) -> None:
    left(tmp_path, device)
    audit.append(device, "tried", number=6)
    part = tmp_path / "receipts" / f"{receipts.file_name(_id(device))}.part"
    part.write_text("of a kill")
    left(tmp_path, device)
    assert not part.exists()
    found = receipt.read((tmp_path / "receipts" / receipts.file_name(_id(device))).read_bytes())
    assert (found.last.number, len(found.entries)) == (6, 6)


def _id(device: Device) -> str:
    identity = device_identity.read(device)
    assert identity is not None
    return identity.device


@pytest.mark.parametrize("where", ["receipts", "file", "part"])
def test_nothing_is_written_through_a_link(device: Device, tmp_path: Path, where: str) -> None:
    stick, outside = tmp_path / "stick", tmp_path / "outside"
    stick.mkdir()
    outside.mkdir()
    precious = outside / "precious"
    precious.write_text("as it was")
    name = receipts.file_name(_id(device))
    if where == "receipts":
        (stick / "receipts").symlink_to(outside)
    else:
        (stick / "receipts").mkdir()
        link = stick / "receipts" / (name if where == "file" else f"{name}.part")
        link.symlink_to(precious)
    made, events = left(stick, device)
    assert precious.read_text() == "as it was" and list(outside.iterdir()) == [precious]
    if where == "receipts":
        assert made is None and events[-1].kind == "warning" and "no receipt on the stick" in events[-1].text
    else:  # what stood there was the stick's own, and its place is taken
        assert made is not None and not (stick / "receipts" / name).is_symlink()


@pytest.mark.parametrize("where", ["receipts", "file", "part"])
def test_something_else_in_its_place(device: Device, tmp_path: Path, where: str) -> None:
    name = receipts.file_name(_id(device))
    if where == "receipts":
        (tmp_path / "receipts").write_text("a file")
    else:
        (tmp_path / "receipts" / (name if where == "file" else f"{name}.part") / "full").mkdir(parents=True)
    made, events = left(tmp_path, device)
    assert made is None
    assert [event.kind for event in events] == ["warning"]


def test_a_key_that_cannot_be_used_is_told(device: Device, tmp_path: Path) -> None:
    device_identity.key_path(device).write_text("{")
    made, events = left(tmp_path, device)
    assert made is None and "device.key.json: damaged" in events[-1].text


def test_no_more_than_fits_goes_and_it_is_said(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6, 40):
        audit.append(device, "tried", number=number, text="x" * 1000)
    monkeypatch.setattr(limits, "RECEIPT_BYTES", 90 * limits.KIB)
    made, events = left(tmp_path, device)
    assert made is not None and len(made.data) <= 90 * limits.KIB
    assert 5 < made.last.number < made.head.number == 39
    assert f"{39 - made.last.number} more don't fit" in events[-1].text
    found = receipt.read(made.data)
    assert (found.last, found.head, found.after) == (made.last, made.head, BEGIN)
    log_files.write_place(device.log / log_files.ACKNOWLEDGED, made.last)
    following = receipts.make(device)
    assert (following.after, following.last) == (made.last, made.head)


def test_a_damaged_log_travels_as_it_is(device: Device) -> None:
    path = audit.path(device)
    path.write_bytes(path.read_bytes().replace(b'"number":3},"device"', b'"number":8},"device"'))
    found = receipt.read(receipts.make(device).data)
    assert found.entries == tuple(path.read_bytes().splitlines())


def test_a_cut_log_is_sent_whole(device: Device) -> None:
    log_files.write_place(device.log / log_files.ACKNOWLEDGED, audit.check(device.log).head)
    path = audit.path(device)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    made = receipts.make(device)
    assert (made.after, made.head.number) == (BEGIN, 2)


# With an install


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A good stick, and a device that has seen none."""
    simulator = Simulator(tmp_path / "simulated")
    simulator.publish("1.0.0")
    return simulator


def test_a_stick_that_cannot_be_written_hinders_no_install(simulator: Simulator, tmp_path: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    bind = ["mount", "--bind", str(simulator.stick), str(mounted)]
    if os.geteuid() != 0 or subprocess.run(bind, capture_output=True).returncode != 0:
        simulator.stick.chmod(0o555)  # without root this is as good
        mounted = simulator.stick
    else:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(mounted)], check=True)
    events: list[Event] = []
    try:
        simulator.install(stick=mounted, emit=events.append)
    finally:
        if mounted == simulator.stick:
            mounted.chmod(0o755)
        else:
            subprocess.run(["umount", str(mounted)], check=True)
    assert simulator.active == "1.0.0"
    assert not (simulator.stick / "receipts").exists()
    (warning,) = (event for event in events if event.kind == "warning")
    assert "no receipt on the stick" in warning.text and "stays here for the next one" in warning.text
    simulator.install()  # the next time
    assert receipt.read(next((simulator.stick / "receipts").iterdir()).read_bytes()).last.number == 1


@pytest.mark.root
def test_a_full_stick_hinders_no_install(simulator: Simulator, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    size = sum(path.stat().st_size for path in simulator.stick.rglob("*")) + 64 * limits.KIB
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(full)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("can't mount a tmpfs here")
    try:
        shutil.copytree(simulator.stick, full, dirs_exist_ok=True)
        with (full / "filler").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space"):
            while True:
                stream.write(bytes(4096))
        events: list[Event] = []
        simulator.install(stick=full, emit=events.append)
        assert simulator.active == "1.0.0"
        (warning,) = (event for event in events if event.kind == "warning")
        assert "no space left" in warning.text
        assert list(full.glob("receipts/*")) == []  # nothing half-written
    finally:
        subprocess.run(["umount", str(full)], check=True)


def test_breaking_the_glass_is_logged_though_the_install_fails(simulator: Simulator) -> None:
    simulator.install()
    simulator.publish("1.1.0", now=clock.BUILD_DATE - timedelta(days=30), days=1)

    def fail(*_: object) -> None:
        raise TrustError("no", "no")

    with pytest.raises(TrustError):
        simulator.install(despite_expiry="the ship is at sea", probe=fail)
    events = [(entry["event"], entry["data"].get("reason")) for entry in audit.entries(simulator.device)]
    assert events[1:] == [("break glass", "the ship is at sea"), ("refused", "no")]
    simulator.install(despite_expiry="the ship is at sea", probe=accept)
    assert [entry["event"] for entry in audit.entries(simulator.device)][-2:] == ["break glass", "installed"]


def test_a_receipt_says_what_it_cannot_read(simulator: Simulator) -> None:
    simulator.install()
    simulator.device.slots.write_text("{")
    statement = receipt.read(receipts.make(simulator.device).data).statement
    assert "damaged" in statement["slots"]["problem"]
    assert statement["ledger"]["counter"] == 1


def test_the_time_and_where_it_is_from(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator.install()
    told = receipt.read(receipts.make(simulator.device).data).statement["time"]
    monkeypatch.setattr(clock, "machine_time", lambda: datetime(1970, 1, 1, tzinfo=UTC))
    early = receipt.read(receipts.make(simulator.device).data).statement["time"]
    assert (early["machine"], early["source"]) == ("1970-01-01T00:00:00Z", "the newest stick")
    assert early["known"] <= told["known"]
    fresh = Device(simulator.folder / "fresh")
    audit.append(fresh, "tried")
    unknown = receipt.read(receipts.make(fresh).data).statement["time"]
    assert unknown["source"] == "the program's build date"
    receipts.leave(simulator.stick, fresh, ignore)
    assert len(list((simulator.stick / "receipts").iterdir())) == 2  # each device has its own


def test_a_device_whose_path_is_no_text(tmp_path: Path) -> None:
    device = Device(tmp_path / "odd\udcff")
    audit.append(device, "tried")
    device.slots.write_text("{")
    statement = receipt.read(receipts.make(device).data).statement
    assert "odd\\udcff" in statement["slots"]["problem"]
