"""What the two applications of the terminal UI share: how they look, and the lines around each of their screens."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from tui.widgets.lines import KeyLine, TopLine


class FramedApp(App[None]):
    """An application for the keyboard.

    Args:
        plain: no colours, ASCII only.
    """

    ENABLE_COMMAND_PALETTE = False

    def __init__(self, *, plain: bool) -> None:
        # Textual chooses here how it leaves colours out: only in its "ansi" way are none sent at all.
        super().__init__(ansi_color=True if plain else None)
        self.plain = plain
        self.animation_level = "none"

    def on_mount(self) -> None:
        if self.plain:
            self.theme = "ansi-dark"
            self.add_class("plain")
        else:
            self.theme = "nord"


class FramedScreen(Screen[None]):
    """A screen between the top line and the line of keys."""

    NAME: ClassVar[str] = ""
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def compose(self) -> ComposeResult:
        yield self.top_line()
        with Vertical(id="body"):
            yield from self.contents()
        yield KeyLine(*self.KEYS)

    def top_line(self) -> TopLine:
        """The line that names the screens."""
        return TopLine(self.NAME)

    def contents(self) -> ComposeResult:
        """The widgets of this screen; none, unless it says otherwise."""
        yield from ()
