"""The application over a prepared dataset: six screens, keyboard only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.screen import Screen

from tui.dataset.base import SCREENS, DatasetScreen
from tui.dataset.browsed import Browsed
from tui.dataset.lists import AlikeScreen, LeftOutScreen, RowsScreen
from tui.dataset.pages import CardScreen, HelpScreen
from tui.dataset.review_screen import ReviewScreen
from tui.dataset.tabs import tabs_of
from tui.framed import FramedApp


class DatasetApp(FramedApp):
    """The dataset's screens.

    Args:
        browsed: what they show.
        plain: no colours, ASCII only.
        first: the name of the screen that opens.
    """

    CSS_PATH = ["../app.tcss", "dataset.tcss"]  # noqa: RUF012 - Textual's own form
    TITLE = "Anchorhold: dataset"
    MODES: ClassVar[dict[str, str | Callable[[], Screen[Any]]]] = {
        "card": CardScreen,
        "rows": RowsScreen,
        "left": LeftOutScreen,
        "alike": AlikeScreen,
        "review": ReviewScreen,
        "help": HelpScreen,
    }
    DEFAULT_MODE = "card"
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(f"{number},f{number}", f"show('{name}')", show=False)
            for number, (name, _) in enumerate(SCREENS, start=1)
        ),
        Binding("question_mark", "show('help')", show=False),
        Binding("q,ctrl+q", "quit", show=False),
    ]

    def __init__(self, browsed: Browsed, *, plain: bool, first: str = "card") -> None:
        super().__init__(plain=plain)
        self.browsed = browsed
        self.tabs = tabs_of(browsed.project, browsed.card.rows, browsed.card.rejected_rows)
        self._first = first

    def on_mount(self) -> None:
        super().on_mount()
        self.switch_mode(self._first)

    def action_show(self, name: str) -> None:
        if isinstance(self.screen, DatasetScreen):
            self.switch_mode(name)
