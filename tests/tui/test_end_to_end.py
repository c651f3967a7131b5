"""The whole: engine, gateway and terminal UI as processes of their own, the UI in tmux, keys typed, screen read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.errors import TrustError, UpdateError
from appliance.events import Event
from appliance.update import slots
from tests.stick_simulator import Simulator
from tui.backend import DeviceBackend

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
GIVE_UP = 120.0  # seconds until a test is taken to hang


def _until(what: Callable[[], bool], tell: Callable[[], str]) -> None:
    giving_up = time.monotonic() + GIVE_UP
    while time.monotonic() < giving_up:
        if what():
            return
        time.sleep(0.1)
    raise AssertionError(f"never came true:\n{tell()}")


class Tmux:
    """One tmux server of our own, with one 80x24 pane."""

    def __init__(self, folder: Path) -> None:
        self._server = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux.sock")]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([*self._server, *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    def start(self, command: str) -> None:
        self("new-session", "-d", "-x", "80", "-y", "24", "-c", str(ROOT), command)

    def screen(self) -> str:
        return self("capture-pane", "-p")

    def dialog(self) -> list[str]:
        """The rows inside the box that is open, without the screen behind it."""
        rows = [row.split("│")[1] for row in self.screen().splitlines() if row.count("│") == 2]
        assert rows, self.screen()
        return rows

    def keys(self, *names: str) -> None:
        self("send-keys", *names)

    def type(self, text: str) -> None:
        self("send-keys", "-l", text)

    def until(self, text: str) -> str:
        _until(lambda: text in self.screen(), self.screen)
        return self.screen()

    def alive(self) -> bool:
        return (
            subprocess.run([*self._server, "has-session"], capture_output=True, check=False).returncode == 0
        )


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("needs tmux")
    server = Tmux(tmp_path)
    yield server
    if server.alive():
        server("kill-server")


def _serve(model: Path, device: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "appliance", "serve", "--root", str(device), "--model", str(model)),
            *("--slots", "2", "--context", "512", "--threads", "2"),
        ],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
    )


def test_chat_in_tmux_with_the_real_engine(tmp_path: Path, tmux: Tmux, embedded_gguf: Path) -> None:
    device = tmp_path / "device"
    device.mkdir()
    environment = f"HOME={tmp_path} XDG_STATE_HOME={tmp_path} NO_COLOR= ANCHORHOLD_ROOT={device}"
    tmux.start(f"env {environment} {sys.executable} -m tui")
    tmux.until("Nothing is served on this machine yet.")
    served = _serve(embedded_gguf, device)
    try:
        tmux.until("is ready")  # found by itself
        tmux.type("Name three colours.")
        tmux.keys("Enter")
        tmux.until("Name three colours.")
        tmux.until("context")
        _until(lambda: "ready" in tmux.screen() and "0/512" not in tmux.screen(), tmux.screen)
        tmux.keys("C-n")
        tmux.until("is ready")
        tmux.type("Tell a very long story about the sea.")
        tmux.keys("Enter")
        tmux.until("tokens/s")
        # While the model talks: another screen, and the answer goes on behind it.
        tmux.keys("F2")
        tmux.until("1 of 2 answering")
        tmux.keys("1")
        tmux.until("answering,")
        tmux.keys("Escape")
        tmux.until("Stopped.")
        tmux.keys("C-g")
        tmux.until("q Quit")
        tmux.keys("2")
        tmux.until("0 of 2 answering")  # the engine was told
        assert "1 stopped" in tmux.until("1 stopped")
        tmux.keys("1")
        tmux.until("ready")
        tmux.keys("C-l")
        tmux.until("Enter open")
        assert "very long" in "\n".join(tmux.dialog())
        tmux.type("colour")
        _until(lambda: "very long" not in "\n".join(tmux.dialog()), tmux.screen)
        tmux.keys("Enter")
        tmux.until("Name three colours.")
    finally:
        served.send_signal(signal.SIGTERM)
        served.wait(GIVE_UP)
    tmux.until("not served")
    tmux.keys("C-g")
    tmux.until("q Quit")
    tmux.keys("q")
    _until(lambda: not tmux.alive(), tmux.screen)
    assert (device / "history.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_real_backend_installs_refuses_and_rolls_back(tmp_path: Path, tiny_gguf: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", model=tiny_gguf)
    backend = DeviceBackend(simulator.device)
    root = simulator.root
    facts = backend.check(simulator.stick, root)
    assert facts.title == "notes 1.0.0"
    assert dict(facts.rows)["Root"].startswith("this device has none yet")
    with pytest.raises(TrustError, match="no root of trust"):
        backend.check(simulator.stick, None)
    events: list[Event] = []
    assert backend.install(simulator.stick, root, events.append) == "notes 1.0.0"
    assert any(event.kind == "progress" and event.done == event.total for event in events)
    with pytest.raises(UpdateError, match="no previous release"):
        backend.rollback()
    simulator.publish("1.1.0", model=tiny_gguf)
    assert backend.install(simulator.stick, None, events.append) == "notes 1.1.0"
    overview = backend.look()
    assert overview.pinned and overview.active is not None and overview.previous is not None
    assert (overview.active.version, overview.previous.version) == ("1.1.0", "1.0.0")
    assert overview.active.signers
    assert backend.rollback() == "notes 1.0.0"
    state = slots.state(simulator.device)
    assert state.active is not None and state.active.version == "1.0.0"


def test_it_needs_a_terminal_and_says_what_to_use_instead() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tui"], cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
        env={**os.environ, "TERM": "dumb"},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: the terminal UI needs a terminal\nhint: ")
