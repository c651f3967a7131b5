"""Releases whose engine crashes, hangs or answers wrongly go back by themselves, and the receipt says why."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import UpdateError
from appliance.events import ignore
from appliance.serving.engine_client import Engine
from appliance.trust import chain, limits, receipt
from appliance.trust.folder import read_inside
from appliance.update import health, receipts, slots, trial
from tests.stick_simulator import Simulator

pytestmark = pytest.mark.slow
QUESTION = [{"role": "user", "content": "unit P1 on deck 1 was dead"}]
# A module that Python takes up when it starts: the engine's process comes to grief when llama.cpp is to be loaded.
_GRIEF = """
import sys

def look(event, given):
    if event == "import" and given[0] == "appliance.serving.engine.library":
        {deed}

sys.addaudithook(look)
"""
CRASHES = {
    "SIGSEGV": ("import ctypes; ctypes.string_at(0)", "(status -11)"),
    "SIGABRT": ("import os; os.abort()", "(status -6)"),
    "SIGKILL": ("import os; os.kill(os.getpid(), 9)", "(status -9)"),
}


def engines_meet(deed: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on each engine's process does `deed` when it loads."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_GRIEF.format(deed=deed))
    known = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *([known] if known else [])]))


def installed(folder: Path, **given: Any) -> Simulator:
    """1.0.0 has proved itself; 1.1.0 is installed, past its trial, and has not yet."""
    simulator = Simulator(folder)
    simulator.publish("1.0.0")
    assert slots.mark_good(simulator.device, simulator.install().digest)
    simulator.publish("1.1.0", **given)
    simulator.install()
    return simulator


def serve(simulator: Simulator) -> list[int]:
    """Start what is active as the gateway does; the processes that came to be ready."""
    release = slots.active(simulator.device)
    assert release is not None
    ready: list[int] = []

    def begin(give_up: threading.Event) -> Engine:
        engine = Engine(release.model, slots=1, context=512, threads=1, give_up=give_up)
        ready.append(engine.pid)
        return engine

    with pytest.raises(UpdateError, match=r"1\.1\.0 was rolled back to 1\.0\.0 by itself"):
        health.start(simulator.device, release.digest, release.model, threading.Event(), begin)
    assert simulator.active == "1.0.0"
    state = slots.state(simulator.device)
    assert (state.attempts, state.previous_attempts) == (None, slots.REJECTED)
    return ready


def told(simulator: Simulator) -> tuple[list[str], str]:
    """From the receipt that the device leaves on the stick: why each start failed, and why it went back."""
    made = receipts.leave(simulator.stick, simulator.device, ignore)
    assert made is not None
    name = f"{receipts.FOLDER}/{receipts.file_name(made.device)}"
    brought = receipt.read(read_inside(simulator.stick, name, limits.RECEIPT_BYTES))
    _, faults = chain.follow(brought.entries, brought.after, device=brought.device)
    assert faults == []
    entries = [json.loads(line) for line in brought.entries]
    failed = [each["data"]["reason"] for each in entries if each["event"] == "start failed"]
    back = entries[-1]
    assert (back["event"], back["data"]["version"], back["data"]["automatic"]) == (
        "rolled back",
        "1.0.0",
        True,
    )
    return failed, back["data"]["reason"]


@pytest.mark.parametrize("crash", CRASHES)
def test_one_whose_engine_crashes_while_it_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    simulator = installed(tmp_path)
    deed, status = CRASHES[crash]
    engines_meet(deed, tmp_path / "grief", monkeypatch)
    assert serve(simulator) == []
    failed, reason = told(simulator)
    assert len(failed) == slots.ATTEMPTS and all(status in each for each in failed)
    assert "the engine ended while loading" in reason and status in reason


def test_one_whose_engine_hangs_while_it_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = installed(tmp_path)
    engines_meet("import os; os.kill(os.getpid(), 19)", tmp_path / "grief", monkeypatch)  # SIGSTOP
    monkeypatch.setattr(trial, "LOAD_SECONDS", 2.0)
    assert serve(simulator) == []
    failed, reason = told(simulator)
    assert failed == [reason] * slots.ATTEMPTS and reason == "not loaded in 2 s"


def test_one_that_answers_wrongly(tmp_path: Path, tiny_gguf: Path) -> None:
    golden = [{"messages": QUESTION, "answer": "never said", "max_tokens": 8}]
    simulator = installed(tmp_path, model=tiny_gguf, golden=golden)
    assert len(serve(simulator)) == 1  # asking again would give the same
    failed, reason = told(simulator)
    assert failed == [reason]
    assert reason.startswith("golden prompt 1 of 1: not the answer that was signed: ")
