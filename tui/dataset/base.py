"""What the dataset's screens have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen

from tui.widgets.lines import KeyLine, TopLine

if TYPE_CHECKING:
    from tui.dataset.app import DatasetApp

SCREENS = (
    ("card", "1 Card"),
    ("rows", "2 Rows"),
    ("left", "3 Left out"),
    ("alike", "4 Alike"),
    ("review", "5 Review"),
    ("help", "6 Help"),
)


class DatasetScreen(Screen[None]):
    """A screen between the top line and the line of keys."""

    NAME: ClassVar[str] = ""
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()

    def compose(self) -> ComposeResult:
        yield TopLine(self.NAME, SCREENS, "Dataset")
        with Vertical(id="body"):
            yield from self.contents()
        yield KeyLine(*self.KEYS)

    def contents(self) -> ComposeResult:
        """The widgets of this screen; none, unless it says otherwise."""
        yield from ()

    @property
    def home(self) -> DatasetApp:
        """The application."""
        app: Any = self.app
        return app  # type: ignore[no-any-return]

    def on_mount(self) -> None:
        name = self.home.browsed.project.config.project.name
        self.query_one(TopLine).serve(name)
