"""The application: four screens, one look at the device every few seconds, and leaving."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui import clipboard
from tui.backend import Backend, Overview
from tui.framed import FramedApp
from tui.history import History
from tui.messages import Looked
from tui.screens.ask import GoTo
from tui.screens.chat import ChatScreen
from tui.screens.guide import HelpScreen
from tui.screens.status import StatusScreen
from tui.screens.updates import UpdatesScreen

LOOK_SECONDS = 3.0


class AnchorholdApp(FramedApp):
    """The terminal UI.

    Args:
        backend: what the screens use of the product.
        history: where conversations are kept.
        plain: no colours, ASCII only.
        copies: the file that the last copied answer is also written to.

    Attributes:
        overview: the newest look at the device; `looked` is False until there was one.
        changing: True while an install or a rollback runs.
    """

    CSS_PATH = "app.tcss"
    TITLE = "Anchorhold"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "chat": ChatScreen,
        "status": StatusScreen,
        "updates": UpdatesScreen,
        "help": HelpScreen,
    }
    DEFAULT_MODE = "chat"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "go('chat')", show=False, priority=True),
        Binding("f2", "go('status')", show=False, priority=True),
        Binding("f3", "go('updates')", show=False, priority=True),
        Binding("f4", "go('help')", show=False, priority=True),
        Binding("1", "go('chat')", show=False),
        Binding("2", "go('status')", show=False),
        Binding("3", "go('updates')", show=False),
        Binding("4", "go('help')", show=False),
        Binding("ctrl+g", "menu", show=False, priority=True),
        Binding("q,ctrl+q", "leave", show=False),
    ]

    def __init__(
        self, backend: Backend, history: History, *, plain: bool, copies: Path | None = None
    ) -> None:
        super().__init__(plain=plain)
        self.backend = backend
        self.history = history
        self.copies = copies or clipboard.copies_file()
        self.overview = Overview()
        self.looked = False
        self.changing = False

    def on_mount(self) -> None:
        super().on_mount()
        self.action_look()
        self.set_interval(LOOK_SECONDS, self.action_look)

    # Looking at the device.

    def action_look(self) -> None:
        self._look()

    @work(thread=True, exclusive=True, group="look")
    def _look(self) -> None:
        self.post_message(Looked(self.backend.look()))

    def on_looked(self, message: Looked) -> None:
        self.overview = message.overview
        self.looked = True
        for screen in self.screen_stack:
            screen.post_message(Looked(message.overview))

    # Going about.

    def action_go(self, name: str) -> None:
        if isinstance(self.screen, (ChatScreen, StatusScreen, UpdatesScreen, HelpScreen)):
            self.switch_mode(name)

    @work
    async def action_menu(self) -> None:
        if len(self.screen_stack) > 1:
            return
        name = await self.push_screen_wait(GoTo())
        if name == "quit":
            self.action_leave()
        elif name:
            self.switch_mode(name)

    def action_leave(self) -> None:
        if self.changing:
            self.notify("An install is running; leave when it has ended.", severity="warning")
        else:
            self.exit()

    def copy(self, text: str) -> None:
        """Put `text` on the terminal's clipboard and into a file, and say so."""
        codes = "" if self.plain and not os.environ.get("TMUX") else clipboard.sequence(text, os.environ)
        if codes and self._driver is not None:
            self._driver.write(codes)
        kept = clipboard.write_file(self.copies, text)
        said = "Sent to the terminal's clipboard. " if codes else ""
        said += f"Kept in {kept}" if kept else "It could not be written to a file."
        self.notify(said, severity="information" if codes or kept else "error", markup=False)
