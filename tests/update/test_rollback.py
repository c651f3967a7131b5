"""What a rollback makes of a release's proof, and which release an install keeps."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.commands.rollback import command
from appliance.errors import UpdateError
from appliance.serving.engine_client import Engine
from appliance.update import health, slots
from appliance.update import install as installing
from tests.stick_simulator import Simulator, leftovers


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """1.0.0 has proved itself; 1.1.0 is active and has all its starts left."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    assert slots.mark_good(simulator.device, simulator.install().digest)
    simulator.publish("1.1.0")
    simulator.install()
    return simulator


def proof(simulator: Simulator) -> tuple[str | None, int | None, str | None, int | None]:
    """Version and starts left of the active release, and of the previous one."""
    state = slots.state(simulator.device)
    names = [each and each.version for each in (state.active, state.previous)]
    return names[0], state.attempts, names[1], state.previous_attempts


def leave_by_itself(simulator: Simulator) -> None:
    health.leave(simulator.device, None, "it answers wrongly")


def never(_give_up: threading.Event) -> Engine:
    raise AssertionError("no engine is to be started")


def test_one_that_was_rejected_isn_t_gone_back_to_unasked(simulator: Simulator) -> None:
    leave_by_itself(simulator)
    assert proof(simulator) == ("1.0.0", None, "1.1.0", slots.REJECTED)
    with pytest.raises(
        UpdateError, match=r"notes 1\.1\.0 was active before and was left by itself"
    ) as caught:
        installing.roll_back(simulator.device)
    assert "--rejected" in caught.value.hint
    assert proof(simulator) == ("1.0.0", None, "1.1.0", slots.REJECTED)


def test_one_that_was_rejected_has_to_prove_itself_again(simulator: Simulator) -> None:
    leave_by_itself(simulator)
    done = CliRunner().invoke(command, ["--rejected", "--root", str(simulator.device.root)])
    assert done.output == "notes 1.1.0 is active\n"
    assert proof(simulator) == ("1.1.0", slots.ATTEMPTS, "1.0.0", None)
    release = slots.active(simulator.device)
    assert release is not None
    for _ in range(slots.ATTEMPTS):  # the gateway asks for a proof, and the machine goes down each time
        assert slots.take_attempt(simulator.device, release.digest)
    with pytest.raises(UpdateError, match=r"1\.1\.0 was rolled back to 1\.0\.0 by itself"):
        health.start(simulator.device, release.digest, release.model, threading.Event(), never)
    assert proof(simulator) == ("1.0.0", None, "1.1.0", slots.REJECTED)


def test_two_rollbacks_prove_nothing(simulator: Simulator) -> None:
    release = slots.active(simulator.device)
    assert release is not None and slots.take_attempt(simulator.device, release.digest) == slots.ATTEMPTS
    before = proof(simulator)
    for _ in range(2):
        installing.roll_back(simulator.device)
    assert proof(simulator) == before == ("1.1.0", slots.ATTEMPTS - 1, "1.0.0", None)


@pytest.mark.parametrize("insists", [False, True])
def test_an_install_never_drops_the_one_that_serves(simulator: Simulator, insists: bool) -> None:
    leave_by_itself(simulator)
    if insists:
        installing.roll_back(simulator.device, rejected=True)
    simulator.publish("1.2.0")
    simulator.install()
    assert proof(simulator) == ("1.2.0", slots.ATTEMPTS, "1.0.0", None)
    assert leftovers(simulator.device) == []
    assert slots.mark_good(simulator.device, str(simulator.check().digest))
    simulator.publish("1.3.0")
    simulator.install()
    assert proof(simulator) == ("1.3.0", slots.ATTEMPTS, "1.2.0", None)  # of two that do, the newer one


def test_two_that_were_rejected_don_t_take_turns(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    for version in ("1.0.0", "1.1.0"):
        simulator.publish(version)
        release = simulator.install()
    with pytest.raises(UpdateError):
        for _ in range(slots.ATTEMPTS):
            slots.take_attempt(simulator.device, release.digest)
        health.start(simulator.device, release.digest, release.model, threading.Event(), never)
    assert proof(simulator) == ("1.0.0", slots.ATTEMPTS, "1.1.0", slots.REJECTED)
    active = slots.active(simulator.device)
    assert active is not None

    def broken(_give_up: threading.Event) -> Engine:
        raise UpdateError("no better")

    with pytest.raises(UpdateError, match="there is nothing to go back to"):
        health.start(simulator.device, active.digest, active.model, threading.Event(), broken)
    assert proof(simulator) == ("1.0.0", 0, "1.1.0", slots.REJECTED)


def test_a_file_of_before_is_read(simulator: Simulator) -> None:
    value = json.loads(simulator.device.slots.read_bytes())
    del value["previous_attempts"]
    simulator.device.slots.write_text(json.dumps(value))
    assert proof(simulator) == ("1.1.0", slots.ATTEMPTS, "1.0.0", None)
    del value["attempts"]
    simulator.device.slots.write_text(json.dumps(value))
    assert proof(simulator) == ("1.1.0", None, "1.0.0", None)
