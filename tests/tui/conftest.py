"""Opens the application on a scripted backend, and reads what is on its screen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.scripted import ScriptedBackend
from tui.app import AnchorholdApp
from tui.history import History

SIZES = [(80, 24), (120, 36)]


def shown(app: AnchorholdApp) -> str:
    """The text on the screen, line by line, as the compositor draws it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)


async def until(pilot: Pilot[None], what: Callable[[], object]) -> None:
    """Let the application run until `what` is true."""
    for _ in range(400):
        if what():
            return
        await pilot.pause(0.02)
    raise AssertionError(f"never came true; on the screen:\n{shown(pilot.app)}")  # type: ignore[arg-type]


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend()


@pytest.fixture
def opened(backend: ScriptedBackend, tmp_path: Path):
    """`async with opened(size=(80, 24), plain=False) as (app, pilot)`."""

    @asynccontextmanager
    async def open_app(
        size: tuple[int, int] = (80, 24), plain: bool = False
    ) -> AsyncIterator[tuple[AnchorholdApp, Pilot[None]]]:
        history = History(tmp_path / "history.sqlite")
        app = AnchorholdApp(backend, history, plain=plain, copies=tmp_path / "copied.txt")
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.looked)
            await pilot.pause()
            yield app, pilot
        history.close()
        await asyncio.sleep(0)

    return open_app
