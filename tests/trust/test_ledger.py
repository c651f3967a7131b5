"""The ledger: one damaged copy is survived, two stop the device; the clock never goes back."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.errors import TrustError
from appliance.paths import Device
from appliance.trust import clock, ledger
from tests.stick_simulator import flip_bit


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_fresh_device_has_no_floors(device: Device) -> None:
    assert ledger.read(device) == ledger.Ledger()


def test_written_is_read(device: Device) -> None:
    written = ledger.write(device, ledger.Ledger(counter=4, timestamp=9))
    assert ledger.read(device) == written
    assert (written.counter, written.timestamp, written.writes) == (4, 9, 1)


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["bit", "gone", "empty"])
def test_one_damaged_copy_is_survived_and_mended(device: Device, which: int, damage: str) -> None:
    written = ledger.write(device, ledger.Ledger(counter=4))
    path = ledger.paths(device)[which]
    {"bit": flip_bit, "gone": Path.unlink, "empty": lambda p: p.write_bytes(b"")}[damage](path)
    assert ledger.read(device) == written
    assert ledger.damaged_copies(device) == [path]
    ledger.write(device, written)
    assert ledger.damaged_copies(device) == []


def test_both_damaged_stops(device: Device) -> None:
    ledger.write(device, ledger.Ledger(counter=4))
    for path in ledger.paths(device):
        flip_bit(path)
    with pytest.raises(TrustError, match="both copies"):
        ledger.read(device)


def test_missing_on_a_device_with_a_root_stops(device: Device) -> None:
    device.trusted_root.parent.mkdir()
    device.trusted_root.write_text("{}")
    with pytest.raises(TrustError, match="both copies"):
        ledger.read(device)


def test_the_newer_copy_counts(device: Device) -> None:
    old = ledger.write(device, ledger.Ledger(counter=4))
    stale = ledger.encode(old)
    new = ledger.write(device, ledger.raise_to(old, counter=5))
    ledger.paths(device)[1].write_bytes(stale)
    assert ledger.read(device) == new


def test_floors_never_fall() -> None:
    assert ledger.raise_to(ledger.Ledger(counter=5, targets=2), counter=3, targets=7) == ledger.Ledger(
        counter=5, targets=7
    )


def test_clock_takes_the_latest() -> None:
    reset = datetime(1970, 1, 1, tzinfo=UTC)
    later = clock.BUILD_DATE + timedelta(days=40)
    assert clock.latest(reset, ()) == clock.BUILD_DATE
    assert clock.latest(reset, [later]) == later
    assert clock.latest(later, [clock.BUILD_DATE]) == later
    assert clock.from_text(clock.to_text(later)) == later


@pytest.mark.parametrize(
    ("changed", "seconds", "written"),
    [({}, 0, 1), ({}, 59, 1), ({}, 60, 2), ({}, -5, 2), ({"counter": 5}, 0, 2), ({"release": "x"}, 0, 2)],
)
def test_kept_is_written_only_when_it_says_more(
    device: Device, changed: dict, seconds: int, written: int
) -> None:
    then = datetime(2026, 11, 1, 12, tzinfo=UTC)
    told = ledger.Ledger(counter=4, time=clock.to_text(then))
    ledger.keep(device, told)
    now = clock.to_text(then + timedelta(seconds=seconds))
    ledger.keep(device, dataclasses.replace(ledger.read(device), time=now, **changed))
    assert ledger.read(device).writes == written


def test_kept_mends_a_damaged_copy(device: Device) -> None:
    told = ledger.write(device, ledger.Ledger(counter=4))
    flip_bit(ledger.paths(device)[0])
    ledger.keep(device, told)
    assert ledger.damaged_copies(device) == []
