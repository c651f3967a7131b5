"""A list of any length that asks for the lines it draws and no others, and draws only those that change."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.cells import set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

Window = Callable[[int, int], list[str]]
"""(first, how many) -> the lines from there on; fewer at the end."""


class LineList(Widget, can_focus=True):
    """Lines with one of them chosen.

    Attributes:
        cursor: the number of the chosen line.
        total: how many lines there are.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("pagedown,space,ctrl+f", "page(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False),
        Binding("home,g", "ends(False)", show=False),
        Binding("end,G", "ends(True)", show=False),
        Binding("enter", "choose", show=False),
    ]

    class Chosen(Message):
        """Enter was pressed on line `number`."""

        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

    class Moved(Message):
        """Another line is chosen."""

    def __init__(self, id: str) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self.cursor = 0
        self.total = 0
        self._top = 0
        self._window: Window = lambda _first, _count: []
        self._held: tuple[int, list[str]] = (0, [])

    def fill(self, total: int, window: Window, cursor: int = 0) -> None:
        """Show other lines."""
        self.total, self._window = total, window
        self._held = (0, [])
        self._top = 0
        self.cursor = 0
        self.refresh()
        self.go(cursor)

    def go(self, number: int) -> None:
        """Choose a line, and bring it into view."""
        number = min(max(number, 0), max(self.total - 1, 0))
        before, self.cursor = self.cursor, number
        height = max(self.size.height, 1)
        top = self._top
        if number < top:
            top = number
        elif number >= top + height:
            top = number - height + 1
        if top != self._top:
            self._top = top
            self.refresh()
        else:
            for line in {before, number}:
                self.refresh(Region(0, line - top, self.size.width, 1))
        self.post_message(self.Moved())

    def on_resize(self) -> None:
        self._held = (0, [])
        self.go(self.cursor)
        self.refresh()

    def _line(self, number: int) -> str | None:
        first, lines = self._held
        height = max(self.size.height, 1)
        if not first <= number < first + len(lines):
            first, lines = self._top, self._window(self._top, height)
            self._held = (first, lines)
        return lines[number - first] if 0 <= number - first < len(lines) else None

    def render_line(self, y: int) -> Strip:
        """One line of the screen, as Textual asks for it."""
        width = self.size.width
        number = self._top + y
        base = self.rich_style
        line = self._line(number) if number < self.total else None
        if line is None:
            text = "(none)" if not self.total and y == 0 else ""
            return Strip([Segment(set_cell_size(text, width), base)], width)
        chosen = number == self.cursor
        # Marked by a sign too: on a terminal without attributes reverse video may not show.
        text = set_cell_size(("> " if chosen else "  ") + line, width)
        return Strip([Segment(text, base + Style(reverse=True, bold=True) if chosen else base)], width)

    def action_move(self, by: int) -> None:
        self.go(self.cursor + by)

    def action_page(self, by: int) -> None:
        self.go(self.cursor + by * max(self.size.height - 1, 1))

    def action_ends(self, last: bool) -> None:
        self.go(self.total - 1 if last else 0)

    def action_choose(self) -> None:
        if self.total:
            self.post_message(self.Chosen(self.cursor))
