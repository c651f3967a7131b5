"""Opens the application on a scripted backend, and reads what is on its screen."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot

from tests.tui.scripted import ScriptedBackend
from tui.app import AnchorholdApp
from tui.history import History

GIVE_UP = 40.0  # seconds until a test is taken to hang
SIZES = [(80, 24), (120, 36)]


def shown(app: AnchorholdApp) -> str:
    """The text on the screen, line by line, as the compositor draws it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


def words(app: AnchorholdApp) -> str:
    """The same with all white space as one space: for sentences that may be wrapped."""
    return " ".join(re.sub("[\u2500-\u259f|]", " ", shown(app)).split())


async def until(hands: Hands | Pilot[None], what: Callable[[], object]) -> None:
    """Let the application run until `what` is true."""
    pilot = hands if isinstance(hands, Pilot) else hands.pilot
    giving_up = time.monotonic() + GIVE_UP
    while time.monotonic() < giving_up:
        if what():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never came true; on the screen:\n{shown(pilot.app)}")  # type: ignore[arg-type]


class Hands:
    """Presses keys; unlike the pilot's own `press` it waits for nothing, so `until` must.

    The pilot waits until the machine is idle, which a busy one may never be, and for widgets that may be gone.
    """

    def __init__(self, pilot: Pilot[None]) -> None:
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        """Each key by its name; a single character is typed."""
        for key in keys:
            self._send(key)
            await asyncio.sleep(0.02)

    async def type(self, text: str) -> None:
        """Each character as a key, as fast as they come."""
        for char in text:
            self._send(char)
        await asyncio.sleep(0.02)

    async def ask(self, text: str) -> None:
        """Type and press Enter."""
        await self.type(text)
        await self.press("enter")

    def _send(self, key: str) -> None:
        driver = self.pilot.app._driver
        assert driver is not None
        name = _character_to_key(key) if len(key) == 1 else key
        event = events.Key(name, key if len(key) == 1 else None)
        event.set_sender(self.pilot.app)
        driver.send_message(event)


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def opened(backend: ScriptedBackend, tmp_path: Path):
    """`async with opened(size=(80, 24), plain=False) as (app, pilot)`."""

    @asynccontextmanager
    async def open_app(
        size: tuple[int, int] = (80, 24), plain: bool = False
    ) -> AsyncIterator[tuple[AnchorholdApp, Hands]]:
        history = History(tmp_path / "history.sqlite")
        app = AnchorholdApp(backend, history, plain=plain, copies=tmp_path / "copied.txt")
        async with app.run_test(size=size, notifications=True) as pilot:
            await until(pilot, lambda: app.looked)
            yield app, Hands(pilot)
        history.close()
        await asyncio.sleep(0)

    return open_app
