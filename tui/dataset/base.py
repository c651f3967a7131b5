"""What the dataset's screens have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tui.framed import FramedScreen
from tui.widgets.lines import TopLine

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


class DatasetScreen(FramedScreen):
    """A screen over a prepared dataset."""

    def top_line(self) -> TopLine:
        """See `FramedScreen`."""
        return TopLine(self.NAME, SCREENS, "Dataset")

    @property
    def home(self) -> DatasetApp:
        """The application."""
        app: Any = self.app
        return app  # type: ignore[no-any-return]

    def on_mount(self) -> None:
        name = self.home.browsed.project.config.project.name
        self.query_one(TopLine).serve(name)
