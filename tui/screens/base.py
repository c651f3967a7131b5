"""What the four screens have in common: the lines around them, and the keys that lead to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from tui.backend import Overview
from tui.messages import Looked
from tui.widgets.lines import KeyLine, TopLine

if TYPE_CHECKING:
    from tui.app import AnchorholdApp


class HouseScreen(Screen[None]):
    """A screen between the top line and the line of keys."""

    NAME: ClassVar[str] = ""
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def compose(self) -> ComposeResult:
        yield TopLine(self.NAME)
        with Vertical(id="body"):
            yield from self.contents()
        yield KeyLine(*self.KEYS)

    def contents(self) -> ComposeResult:
        """The widgets of this screen; none, unless it says otherwise."""
        yield from ()

    @property
    def house(self) -> AnchorholdApp:
        """The application."""
        app: Any = self.app
        return app  # type: ignore[no-any-return]

    def on_mount(self) -> None:
        self.take(self.house.overview)

    def on_screen_resume(self) -> None:
        self.take(self.house.overview)

    def on_looked(self, message: Looked) -> None:
        self.take(message.overview)

    def take(self, overview: Overview) -> None:
        """Show what is known of the device."""
        self.query_one(TopLine).serve(overview.model or "nothing is served")
