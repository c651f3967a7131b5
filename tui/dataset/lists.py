"""Rows, Left out, Alike: a file a tab, a line a row, searched and opened."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from tui.dataset.asking import AskWords
from tui.dataset.base import DatasetScreen
from tui.dataset.line_list import LineList, Window
from tui.dataset.one_row import OneRow
from tui.dataset.shown_text import one_line
from tui.dataset.tabs import Tab

_WIDE = 100  # cells
_DAMAGED = "(a damaged line: make the dataset again)"


class Counted(Message):
    """A file has so many lines."""

    def __init__(self, tab: Tab, total: int) -> None:
        super().__init__()
        self.tab = tab
        self.total = total


class Found(Message):
    """A search ended at line `number`; -1: nowhere."""

    def __init__(self, tab: Tab, words: str, number: int) -> None:
        super().__init__()
        self.tab = tab
        self.words = words
        self.number = number


class ListScreen(DatasetScreen):
    """Tabs over one list."""

    KEYS = (
        ("Enter", "open"),
        ("/", "search"),
        ("n p", "next, previous"),
        ("Left/Right", "other list"),
        ("1-6", "screens"),
        ("q", "leave"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,shift+tab", "turn(-1)", show=False),
        Binding("right,tab", "turn(1)", show=False, priority=True),
        Binding("slash", "search", show=False),
        Binding("n", "again(False)", show=False),
        Binding("p,N", "again(True)", show=False),
        Binding("escape", "stop", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._shown = 0
        self._words = ""
        self._busy = ""
        self._cursors: dict[str, int] = {}

    @property
    def tabs(self) -> list[Tab]:
        """The tabs of this screen."""
        return self.home.tabs[self.NAME]

    @property
    def tab(self) -> Tab:
        """The one that is shown."""
        return self.tabs[self._shown]

    def contents(self) -> ComposeResult:
        """See `DatasetScreen`."""
        yield Static("", id="tabs", markup=False)
        yield LineList("lines")
        yield Static("", id="line", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one(LineList).focus()
        self._fill()

    # Which list.

    def action_turn(self, by: int) -> None:
        lines = self.query_one(LineList)
        self._cursors[self.tab.name] = lines.cursor
        self._shown = (self._shown + by) % len(self.tabs)
        self._fill()

    def _fill(self) -> None:
        tab = self.tab
        if tab.total is None:
            self._busy = "counting..."
            self._count(tab)
        self.query_one(LineList).fill(tab.total or 0, self._window(tab), self._cursors.get(tab.name, 0))
        self._draw()

    def _window(self, tab: Tab) -> Window:
        plain = self.home.plain

        def window(first: int, count: int) -> list[str]:
            shown = []
            for number, line in enumerate(tab.file.lines(first, count), start=first):
                try:
                    shown.append(f"{number + 1:>6}  {tab.brief(line, plain, self.size.width >= _WIDE)}")
                except (ValueError, KeyError, TypeError, IndexError):
                    shown.append(_DAMAGED)
            return shown

        return window

    @work(thread=True, exclusive=True, group="count")
    def _count(self, tab: Tab) -> None:
        self.post_message(Counted(tab, tab.file.count()))

    @on(Counted)
    def _counted(self, message: Counted) -> None:
        message.tab.total = message.total
        self._busy = ""
        if message.tab is self.tab:
            self._fill()

    # What is said around the list.

    def _draw(self) -> None:
        text = Text(" ", no_wrap=True, overflow="ellipsis")
        for tab in self.tabs:
            count = "" if tab.total is None else f" {tab.total:,}"
            shown = tab is self.tab
            text.append(
                f"[{tab.name}{count}]" if shown else f" {tab.name}{count} ", "reverse" if shown else ""
            )
            text.append(" ")
        self.query_one("#tabs", Static).update(text)
        self._draw_line()

    @on(LineList.Moved)
    def _draw_line(self) -> None:
        lines = self.query_one(LineList)
        place = f"{lines.cursor + 1:,} of {lines.total:,}" if lines.total else "nothing here"
        said = f"   {self._busy}" if self._busy else f'   search: "{self._words}"' if self._words else ""
        self.query_one("#line", Static).update(" " + place + one_line(said, self.home.plain))

    # Searching.

    @work
    async def action_search(self) -> None:
        words = await self.app.push_screen_wait(AskWords("Search in texts, sources and ids:", self._words))
        if words:
            self._words = words
            self._begin(backwards=False)

    def action_again(self, backwards: bool) -> None:
        if self._words:
            self._begin(backwards)
        else:
            self.notify("Search for something first: /", severity="warning")

    def _begin(self, backwards: bool) -> None:
        self._busy = f'searching for "{self._words}" (Esc stops)'
        self._draw_line()
        self._search(self.tab, self._words, self.query_one(LineList).cursor, backwards)

    @work(thread=True, exclusive=True, group="search")
    def _search(self, tab: Tab, words: str, start: int, backwards: bool) -> None:
        worker = get_current_worker()
        number = tab.file.search(
            words, start, tab.texts, backwards=backwards, stop=lambda: worker.is_cancelled
        )
        if not worker.is_cancelled:
            self.post_message(Found(tab, words, number))

    @on(Found)
    def _found(self, message: Found) -> None:
        if message.tab is not self.tab:
            return
        self._busy = ""
        if message.number < 0:
            self.notify(one_line(f'"{message.words}" stands nowhere here.', self.home.plain), markup=False)
        else:
            self.query_one(LineList).go(message.number)
        self._draw_line()

    def action_stop(self) -> None:
        self.workers.cancel_group(self, "search")
        self._busy = ""
        self._draw_line()

    # Opening.

    @on(LineList.Chosen)
    @work
    async def _chosen(self, message: LineList.Chosen) -> None:
        # It comes back with the number of the line that was looked at last.
        number = await self.app.push_screen_wait(OneRow(self.tab, message.number))
        self.query_one(LineList).go(number)


class RowsScreen(ListScreen):
    """The splits."""

    NAME = "rows"


class LeftOutScreen(ListScreen):
    """Bad rows, and how the training rows scored."""

    NAME = "left"


class AlikeScreen(ListScreen):
    """Near rows and conflicting answers."""

    NAME = "alike"
