"""Sticks of version 0.1.0 as make_golden.py wrote them, kept: every later version must believe, try and install them.

Where golden_stick/ has a model of a few bytes and one key a role, these hold real ones: two of three keys, a model that
answers, its OMS signature, a delta, a bill of materials, provenance, and a stick encrypted to the one device.
"""

from __future__ import annotations

import datetime
import tarfile
from pathlib import Path

import pytest

from appliance.errors import UpdateError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import clock
from appliance.update import audit, model_signature
from appliance.update import stick as sticks
from appliance.update.install import install

KEPT = Path(__file__).parent / "golden_station.tar.xz"
THEN = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)  # all of it is valid until the end of 2036

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time at which they are valid, however late it gets."""
    monkeypatch.setattr(clock, "machine_time", lambda: THEN)
    monkeypatch.setattr(clock, "BUILD_DATE", min(clock.BUILD_DATE, THEN))


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    with tarfile.open(KEPT) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def test_it_verifies_installs_and_updates_by_its_delta(golden: Path) -> None:
    stick, device = golden / "stick", Device(golden / "fresh")
    report = sticks.check(stick, device, trust=golden / "root.json", deep=True)
    assert [(offer.version, offer.counter) for offer in report.offers] == [("1.1.0", 2), ("1.0.0", 1)]
    model_signature.check_stick(report)
    first = install(stick, device, ignore, trust=golden / "root.json", version="1.0.0")
    heard: list[Event] = []
    second = install(stick, device, heard.append)
    assert (first.version, second.version) == ("1.0.0", "1.1.0")
    assert len(second.manifest["golden"]) == 3
    assert any("which is installed, and a delta" in event.text for event in heard)
    assert second.digest.startswith("4dc377a3564325b9")


def test_the_encrypted_one_opens_on_its_device_alone(golden: Path) -> None:
    stick, device = golden / "sealed", Device(golden / "device")
    assert audit.verify(device) == []
    release = install(stick, device, ignore, trust=golden / "root.json")
    assert release.version == "1.1.0"
    with pytest.raises(UpdateError, match="encrypted"):
        install(stick, Device(golden / "other"), ignore, trust=golden / "root.json")
