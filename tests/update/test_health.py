"""A new release proves itself in the engine that will serve it, or the device goes back; with real engines."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from appliance.conversion import write_gguf
from appliance.errors import UpdateError
from appliance.serving.engine_client import Engine, Sampling
from appliance.update import audit, health, slots, trial
from tests.stick_simulator import Simulator, flip_bit

QUESTION = [{"role": "user", "content": "unit P1 on deck 1 was dead"}]


def begin(model: Path, give_up: threading.Event, **given: Any) -> Engine:
    return Engine(model, slots=2, context=512, threads=1, give_up=give_up, **given)


def start(simulator: Simulator, then: Any = lambda _engine: None) -> Engine:
    """Start what is active as the gateway does; `then` is done to each engine once it is loaded."""
    release = slots.active(simulator.device)
    assert release is not None

    def started(give_up: threading.Event) -> Engine:
        engine = begin(release.model, give_up)
        then(engine)
        return engine

    return health.start(simulator.device, release.digest, release.model, threading.Event(), started)


def golden(answer: str) -> list[dict[str, Any]]:
    return [{"messages": QUESTION, "answer": answer, "max_tokens": 8}]


@pytest.fixture(scope="session")
def answer(tiny_gguf: Path) -> str:
    """What the tiny model answers, asked in a confined process."""
    with begin(tiny_gguf, threading.Event(), confined=True) as engine:
        return engine.complete(engine.render(QUESTION), Sampling(max_tokens=8)).text


@pytest.fixture
def simulator(tmp_path: Path, tiny_gguf: Path, answer: str) -> Simulator:
    """1.0.0 has proved itself; 1.1.0 is installed and has not yet."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", tiny_gguf)
    release = simulator.install()
    assert slots.mark_good(simulator.device, release.digest)
    return simulator


def install(simulator: Simulator, tiny_gguf: Path, answer: str) -> None:
    """Put 1.1.0 on the device past its trial, as a fault that shows only later would."""
    simulator.publish("1.1.0", tiny_gguf, golden=golden(answer))
    simulator.install()
    assert (simulator.active, slots.state(simulator.device).attempts) == ("1.1.0", 3)


def went_back(simulator: Simulator, reason: str) -> None:
    assert simulator.active == "1.0.0"
    assert slots.state(simulator.device).attempts is None  # it was good before
    last = audit.entries(simulator.device)[-1]
    assert (last["event"], last["data"]["version"], last["data"]["automatic"]) == (
        "rolled back",
        "1.0.0",
        True,
    )
    assert reason and reason in last["data"]["reason"]
    assert audit.verify(simulator.device) == []


@pytest.mark.slow
def test_one_that_answers_as_signed_is_good(simulator: Simulator, tiny_gguf: Path, answer: str) -> None:
    install(simulator, tiny_gguf, answer)
    with start(simulator) as engine:
        assert engine.alive
    assert (simulator.active, slots.state(simulator.device).attempts) == ("1.1.0", None)
    assert audit.entries(simulator.device)[-1]["event"] == "good"


@pytest.mark.slow
def test_a_wrong_answer_is_rolled_back_at_once(simulator: Simulator, tiny_gguf: Path, answer: str) -> None:
    install(simulator, tiny_gguf, answer + "!")
    with pytest.raises(UpdateError, match=r"1\.1\.0 was rolled back to 1\.0\.0 by itself"):
        start(simulator)
    went_back(simulator, "golden prompt 1 of 1: not the answer that was signed")


@pytest.mark.slow
def test_one_whose_file_is_damaged_has_three_starts(
    simulator: Simulator, tiny_checkpoint: Path, answer: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.gguf"  # of the same weights, and an object of its own
    write_gguf(tiny_checkpoint, other, quantization="F16", embeddings="F16", name="other")
    install(simulator, other, answer)
    release = slots.active(simulator.device)
    assert release is not None
    flip_bit(release.model, 0)
    with pytest.raises(UpdateError, match="by itself"):
        start(simulator)
    went_back(simulator, "can't be loaded")


@pytest.mark.slow
def test_one_that_hangs_is_ended(
    simulator: Simulator, tiny_gguf: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(simulator, tiny_gguf, answer)
    monkeypatch.setattr(trial, "ANSWER_SECONDS", -7.0)  # and 8 for the tokens
    pids: list[int] = []

    def stop(engine: Engine) -> None:
        pids.append(engine.pid)
        os.kill(engine.pid, signal.SIGSTOP)

    with pytest.raises(UpdateError, match="by itself"):
        start(simulator, stop)
    assert len(pids) == slots.ATTEMPTS
    went_back(simulator, "golden prompt 1 of 1: no answer in 1 s")


@pytest.mark.slow
def test_one_that_takes_too_long_to_load(
    simulator: Simulator, tiny_gguf: Path, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(simulator, tiny_gguf, answer)
    monkeypatch.setattr(trial, "LOAD_SECONDS", -3600.0)
    with pytest.raises(UpdateError, match="by itself"):
        start(simulator)
    went_back(simulator, "not loaded in")


@pytest.mark.slow
def test_a_wrong_answer_never_becomes_active_by_an_install(
    simulator: Simulator, tiny_gguf: Path, answer: str
) -> None:
    simulator.publish("1.1.0", tiny_gguf, golden=golden(answer + "!"))
    with pytest.raises(trial.WrongAnswerError):
        simulator.install(probe=trial.golden_check)
    assert simulator.active == "1.0.0"
    simulator.publish("1.2.0", tiny_gguf, golden=golden(answer))
    simulator.install(probe=trial.golden_check)
    assert simulator.active == "1.2.0"


def test_a_machine_that_goes_down_thrice_uses_the_starts_up(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    for version in ("1.0.0", "1.1.0"):
        simulator.publish(version)
        release = simulator.install()
        if version == "1.0.0":
            assert slots.mark_good(simulator.device, release.digest)
    taken = [slots.take_attempt(simulator.device, release.digest) for _ in range(3)]  # and never came back
    assert taken == [3, 2, 1]
    with pytest.raises(UpdateError, match="started three times and never came to answer"):
        start(simulator)
    went_back(simulator, "three times")


def test_with_nothing_to_go_back_to_it_says_so(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    with pytest.raises(UpdateError, match="nothing to go back to"):
        start(simulator)  # it is no model that llama.cpp knows
    assert simulator.active == "1.0.0"
    assert audit.entries(simulator.device)[-1]["event"] == "failed"
    starts = [each["data"] for each in audit.entries(simulator.device) if each["event"] == "start failed"]
    assert [start["left"] for start in starts] == [2, 1, 0] and all(start["reason"] for start in starts)
    assert slots.state(simulator.device).attempts == 0
    with pytest.raises(UpdateError, match="nothing to go back to"):
        start(simulator)  # it is tried again, since there is nothing else
    assert len([entry for entry in audit.entries(simulator.device) if entry["event"] == "failed"]) == 2


def test_the_last_good_release_is_the_one_retained(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    assert slots.mark_good(simulator.device, simulator.install().digest)
    for version in ("1.1.0", "1.2.0"):
        simulator.publish(version)
        simulator.install()
    kept = slots.previous(simulator.device)
    assert kept is not None and kept.version == "1.0.0"  # 1.1.0 never served
    assert not slots.mark_good(simulator.device, kept.digest)
    assert slots.take_attempt(simulator.device, kept.digest) is None


def test_a_start_that_the_gateway_broke_off_is_not_counted(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    digest = simulator.install().digest
    assert slots.take_attempt(simulator.device, digest) == 3
    slots.give_attempt_back(simulator.device, digest)
    assert slots.state(simulator.device).attempts == 3
