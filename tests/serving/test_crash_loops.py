"""A good release whose engines end, one that can't be read any more, and none that loads: real engines and gateway."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from appliance.conversion import write_gguf
from appliance.paths import Device
from appliance.serving import supervisor as supervising
from appliance.serving.engine_client import Engine
from appliance.serving.gateway_client import GatewayClient
from appliance.serving.supervisor import LOOP, Supervisor, Target
from appliance.update import audit, health, slots
from tests.serving.test_serve_command import QUESTION, root, said_when_ready, serving, start
from tests.stick_simulator import Simulator
from tui.backend import DeviceBackend
from tui.screens.status import page

pytestmark = pytest.mark.slow
__all__ = ["root"]  # a fixture


@pytest.fixture
def simulator(root: Path, tiny_gguf: Path, tiny_checkpoint: Path) -> Simulator:
    """1.1.0 is active, 1.0.0 is retained, and both are good."""
    simulator = Simulator(root)
    other = root / "other.gguf"
    write_gguf(tiny_checkpoint, other, quantization="F16", embeddings="F16", name="other")
    for version, model in (("1.0.0", tiny_gguf), ("1.1.0", other)):
        simulator.publish(version, model)
        release = simulator.install()
        assert slots.mark_good(simulator.device, release.digest)
    return simulator


def supervised(simulator: Simulator) -> Supervisor:
    """As `anchorhold serve` puts it together, without its sockets."""
    device = simulator.device

    def target() -> Target | None:
        found = slots.active(device)
        return found and Target(found.name, found.version, found.digest, found.model)

    def begin(wanted: Target) -> Engine:
        return Engine(wanted.model, slots=1, context=256, threads=1)

    def give_up(wanted: Target | None, reason: str) -> None:
        health.leave(device, wanted.digest if wanted else None, reason)

    return Supervisor(target, begin, give_up)


def wait_until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        pause.wait(0.02)


def kill_engines(supervisor: Supervisor, count: int) -> list[str]:
    """Kill what serves so often, each time as soon as it does; the versions that were killed."""
    killed = []
    for _ in range(count):
        wait_until(lambda: supervisor.state()["alive"])
        current = supervisor.current
        assert current is not None
        killed.append(current.target.version)
        os.kill(current.engine.pid, 9)
        wait_until(lambda current=current: supervisor.current is not current)
    return killed


def test_a_good_release_in_a_crash_loop_is_rolled_back_once(simulator: Simulator, monkeypatch) -> None:
    monkeypatch.setattr(supervising, "_BACK_OFF", (0.01,))
    monkeypatch.setattr(supervising, "_LOOK", 0.02)
    supervisor = supervised(simulator)
    supervisor.begin(stay=True)
    try:
        killed = kill_engines(supervisor, LOOP + 1)
        assert killed == ["1.1.0"] * (LOOP + 1)
        assert simulator.active == "1.0.0"
        last = audit.entries(simulator.device)[-1]["data"]
        assert (last["version"], last["automatic"]) == ("1.0.0", True)
        assert f"{LOOP} engines ended within 30 s" in last["reason"]
        # The release that it went back to is not left by itself.
        assert kill_engines(supervisor, LOOP + 1) == ["1.0.0"] * (LOOP + 1)
        assert (simulator.active, supervisor.restarts) == ("1.0.0", 2 * LOOP + 2)
        assert audit.verify(simulator.device) == []
    finally:
        supervisor.close()


def test_an_engine_that_lived_long_is_no_loop(simulator: Simulator, monkeypatch) -> None:
    monkeypatch.setattr(supervising, "_BACK_OFF", (0.01,))
    monkeypatch.setattr(supervising, "_LOOK", 0.02)
    monkeypatch.setattr(supervising, "_STEADY", 0.0)
    supervisor = supervised(simulator)
    supervisor.begin()
    try:
        kill_engines(supervisor, LOOP + 1)
        assert simulator.active == "1.1.0"
    finally:
        supervisor.close()


def test_a_disk_that_fails_does_not_end_the_supervisor(simulator: Simulator, monkeypatch) -> None:
    """The release can't be left, for the log can't be read; the engine is started again all the same."""
    monkeypatch.setattr(supervising, "_BACK_OFF", (0.01,))
    monkeypatch.setattr(supervising, "_LOOK", 0.02)
    supervisor = supervised(simulator)

    def broken(_device: Device) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(audit, "entries", broken)
    supervisor.begin()
    try:
        assert kill_engines(supervisor, LOOP + 2) == ["1.1.0"] * (LOOP + 2)
        wait_until(lambda: supervisor.state()["alive"])
    finally:
        supervisor.close()


def test_a_release_whose_file_is_lost_is_left_for_the_one_before(simulator: Simulator) -> None:
    active = slots.active(simulator.device)
    assert active is not None
    active.model.unlink()
    process = start(simulator.device.root)
    try:
        assert "SAFE MODE" in said_when_ready(process)
        with GatewayClient(simulator.device.run / "gateway.sock") as client:
            wait_until(lambda: client.health()["status"] == "ok")
            assert client.health()["release"]["version"] == "1.0.0"
        assert audit.entries(simulator.device)[-1]["data"]["automatic"] is True
    finally:
        process.terminate()
        process.communicate()


def test_safe_mode_when_both_are_lost_until_a_stick_comes(simulator: Simulator, tiny_gguf: Path) -> None:
    device = simulator.device
    for path in device.objects.glob("*.gguf"):
        path.unlink()
    process = start(device.root)
    try:
        assert "SAFE MODE" in said_when_ready(process)
        with httpx.Client(
            transport=httpx.HTTPTransport(uds=str(device.run / "gateway.sock")), base_url="http://gateway"
        ) as client:
            told = client.get("/health")
            assert (told.status_code, told.json()["status"]) == (503, "safe mode")
            assert "damaged" in told.json()["problem"] and told.json()["model"] is None
            assert client.get("/v1/models").json()["data"] == []
            asked = client.post("/v1/chat/completions", json={"messages": QUESTION})
            assert asked.status_code == 503 and asked.headers["retry-after"]
            assert "anchorhold_up 0" in client.get("/metrics").text
            shown = page(DeviceBackend(device).look()).plain
            assert "safe mode" in shown and "damaged" in shown
            simulator.publish("1.2.0", tiny_gguf)
            simulator.install()
            wait_until(lambda: client.get("/health").status_code == 200)
            assert client.get("/health").json()["release"]["version"] == "1.2.0"
    finally:
        process.terminate()
        process.communicate()
    with serving(device.root) as (_, again):
        assert again.health()["status"] == "ok"
