"""The install under injected faults: a sample of the sweep that `python -m benchmarks.install_faults` makes whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.trust import limits
from benchmarks import install_faults

pytestmark = pytest.mark.slow


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> install_faults.Harness:
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs strace, and leave to trace")
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.HASH_CHUNK_BYTES)  # put back afterwards
    monkeypatch.setattr(limits, "PART_BYTES", limits.PART_BYTES)
    return install_faults.Harness(tmp_path)


def test_a_sample_of_all_faults(harness: install_faults.Harness) -> None:
    outcomes = install_faults.sweep(harness, lambda index: index % 31 == 0)
    assert set(outcomes) == {"SIGKILL", "EIO", "ENOSPC"}
    assert "killed, old release active" in outcomes["SIGKILL"]
    assert "refused with a reason, old release active" in outcomes["ENOSPC"] + outcomes["EIO"]


def test_a_copy_killed_late_is_resumed(harness: install_faults.Harness) -> None:
    """Three of its chunks are on the disk when the fourth is to be."""
    outcome = harness.meet(install_faults.Point("fdatasync", 4, "SIGKILL"))
    assert outcome == "killed, old release active, copy resumed"
