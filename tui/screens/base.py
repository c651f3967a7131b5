"""What the four screens have in common: the lines around them, and the keys that lead to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.backend import Overview
from tui.framed import FramedScreen
from tui.messages import Looked
from tui.widgets.lines import TopLine

if TYPE_CHECKING:
    from tui.app import AnchorholdApp


class HouseScreen(FramedScreen):
    """A screen that shows what is known of the device."""

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
