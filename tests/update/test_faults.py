"""The install under injected faults: a sample of the sweep that `python -m benchmarks.install_faults` makes whole."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from appliance.trust import limits
from benchmarks import install_faults

pytestmark = pytest.mark.slow


def needs_strace() -> str:
    """Why nothing can be traced here; empty where it can."""
    strace = shutil.which("strace")
    if strace is None or subprocess.run([strace, "true"], capture_output=True).returncode != 0:
        return "needs strace, and leave to trace"
    return ""


def harness_of(folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str = "plain") -> install_faults.Harness:
    """A harness; the limits that it changes are put back afterwards."""
    if needs_strace():
        pytest.skip(needs_strace())
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.HASH_CHUNK_BYTES)
    monkeypatch.setattr(limits, "PART_BYTES", limits.PART_BYTES)
    return install_faults.Harness(folder, kind)


@pytest.fixture(params=install_faults.KINDS)
def harness(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> install_faults.Harness:
    return harness_of(tmp_path, monkeypatch, request.param)


def test_a_sample_of_all_faults(harness: install_faults.Harness) -> None:
    outcomes = install_faults.sweep(harness, lambda index: index % 31 == 0)
    assert set(outcomes) == {"SIGKILL", "EIO", "ENOSPC"}
    assert "killed, old release active" in outcomes["SIGKILL"]
    assert "refused with a reason, old release active" in outcomes["ENOSPC"] + outcomes["EIO"]


def test_a_copy_killed_late_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of its chunks are on the disk when the fourth is to be."""
    harness = harness_of(tmp_path, monkeypatch)
    outcome = harness.meet(install_faults.Point("fdatasync", 4, "SIGKILL"))
    assert outcome == "killed, old release active, copy resumed"
