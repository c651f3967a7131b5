"""One line of a list, whole; for a row also what is known of it, as soon as that is read."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from appliance.dataset import Row
from tui.dataset.missed import mark_missed
from tui.dataset.tabs import Tab, facts_text
from tui.widgets.lines import KeyLine


class Known(Message):
    """What is known of a row was read."""

    def __init__(self, number: int, text: Text) -> None:
        super().__init__()
        self.number = number
        self.text = text


class OneRow(Screen[int]):
    """A line of a tab; dismissed with the number of the line that was looked at last.

    Args:
        tab: the list that it is of.
        number: of the line.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,left,backspace", "leave", show=False),
        Binding("n,right", "go(1)", show=False),
        Binding("p", "go(-1)", show=False),
        Binding("m", "missed", show=False),
    ]

    def __init__(self, tab: Tab, number: int) -> None:
        super().__init__()
        self._tab = tab
        self._number = number
        self._row: Row | None = None
        self._page = Text()

    def compose(self) -> ComposeResult:
        yield Static("", id="top", markup=False)
        with Vertical(id="body"), VerticalScroll(id="page"):
            yield Static("", id="text", markup=False)
        keys = [("Esc", "back"), ("n p", "next, previous"), ("Up/Down", "scroll")]
        if self._marks:
            keys.append(("m", "mark what was missed"))
        keys.append(("PgUp/PgDn", "page"))
        yield KeyLine(*keys)

    @property
    def _marks(self) -> bool:
        return self.app.browsed.review is not None and self._tab.name in self._splits  # type: ignore[attr-defined]

    @property
    def _splits(self) -> list[str]:
        return list(self.app.browsed.card.rows)  # type: ignore[attr-defined]

    def on_mount(self) -> None:
        self.query_one("#page").focus()
        self._show()

    def _show(self) -> None:
        plain: bool = self.app.plain  # type: ignore[attr-defined]
        held = self._tab.file.lines(self._number, 1)
        try:
            self._page = self._tab.page(held[0], plain) if held else Text("(nothing here)")
            self._row = self._tab.row(held[0]) if held else None
        except (ValueError, KeyError, TypeError, IndexError):
            self._page, self._row = (
                Text("A damaged line: make the dataset again with `anchorhold dataset`."),
                None,
            )
        total = self._tab.total or 0
        title = Text(f" Dataset  {self._tab.name}  {self._number + 1:,} of {total:,}", "bold", no_wrap=True)
        self.query_one("#top", Static).update(title)
        reading = Text("\nReading what is known of it...\n", "dim") if self._row is not None else Text()
        self.query_one("#text", Static).update(self._page + reading)
        self.query_one("#page", VerticalScroll).scroll_home(animate=False)
        if self._row is not None:
            self._read(self._number, self._row, plain)

    @work(thread=True, exclusive=True, group="known")
    def _read(self, number: int, row: Row, plain: bool) -> None:
        browsed = self.app.browsed  # type: ignore[attr-defined]
        try:
            known = browsed.about(row)
            self.post_message(Known(number, facts_text(known, "counting...", plain)))
            text = facts_text(known, browsed.tokens(row), plain)
        except (ValueError, KeyError, TypeError, OSError) as error:
            text = Text(f"\nWhat is known of it can't be read ({error}): make the dataset again.")
        self.post_message(Known(number, text))

    @on(Known)
    def _known(self, message: Known) -> None:
        if message.number == self._number:
            self.query_one("#text", Static).update(self._page + message.text)

    def action_go(self, by: int) -> None:
        number = self._number + by
        if 0 <= number < (self._tab.total or 0):
            self._number = number
            self._show()

    @work
    async def action_missed(self) -> None:
        review = self.app.browsed.review  # type: ignore[attr-defined]
        if self._marks and self._row is not None and review is not None:
            await mark_missed(self, review, [str(turn["content"] or "") for turn in self._row.messages])

    def action_leave(self) -> None:
        self.dismiss(self._number)
