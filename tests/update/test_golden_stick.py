"""A stick of version 0.1.0, kept as it was written: every later version must believe, read and install it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.events import ignore
from appliance.paths import Device
from appliance.trust import clock
from appliance.update import stick as sticks
from appliance.update.install import install
from tests.stick_simulator import accept

GOLDEN = Path(__file__).parent / "golden_stick"
LATER = datetime(2030, 1, 1, tzinfo=UTC)  # its root is valid until 2036


def test_the_golden_stick_verifies_and_installs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "machine_time", lambda: LATER)
    stick, device = tmp_path / "stick", Device(tmp_path / "device")
    shutil.copytree(GOLDEN / "stick", stick)
    report = sticks.check(stick, device, trust=GOLDEN / "root.json", deep=True)
    assert [(offer.version, offer.counter) for offer in report.offers] == [("1.1.0", 2), ("1.0.0", 1)]
    assert report.digest == "cf9e5b16e9ba9d880b17183b2aff7cebb7c01c59357f800b45866cfa28489b82"
    release = install(stick, device, ignore, trust=GOLDEN / "root.json", probe=accept)
    assert (release.name, release.version) == ("notes", "1.1.0")
    assert b"golden 1.1.0" in release.model.read_bytes()
