"""The card and the help: pages that one scrolls."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from tui.dataset.base import DatasetScreen
from tui.dataset.shown_text import heading, section_text

_BAR = 30  # cells
_MARGIN = 6  # cells beside the text

HELP = """\
SCREENS
  1 2 3 4 5 6  Card, Rows, Left out, Alike, Review, Help (F1 to F6 too)
  q            leave (Ctrl+Q too)

LISTS (Rows, Left out, Alike)
  Up Down      choose a line (k j too)
  PgUp PgDn    a page (Ctrl+B Ctrl+F too)
  Home End     the first, the last line (g G too)
  Left Right   another split or file (Tab too)
  Enter        all of the line: a row's turns, source, tokens, score,
               near rows, conflicts, redactions
  /            search in texts, sources and ids; n next, p previous
  Esc          stop a search; back from a row
In a row: n and p go to the next and the previous one; m marks personal
data that was missed.

REVIEW (of what [dataset.redact] replaced)
  a            accept: it is replaced, here and everywhere
  k            keep: this value always stays
  h            here only: it stays in this place
  w            wrong kind: say what it is
  m            missed: name personal data in this row that was not found
  u            undo the last decision
  n p          next, previous value; Left Right: its places
  f            one kind only
  o            the next value without a decision

Decisions are written at once, to redaction-decisions.jsonl and
redaction-missed.jsonl in the project's folder; the next run of
`anchorhold dataset` follows them. Leaving and coming back goes on where you were.

Signs look broken? Start it as: NO_COLOR=1 anchorhold dataset browse
"""


class PageScreen(DatasetScreen):
    """A page of text."""

    KEYS = (("1-6", "screens"), ("Up/Down", "scroll"), ("PgUp/PgDn", "page"), ("q", "leave"))

    def contents(self) -> ComposeResult:
        """See `DatasetScreen`."""
        with VerticalScroll(id="page"):
            yield Static("", id="text", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#page").focus()
        self._draw()

    def on_resize(self, _event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        self.query_one("#text", Static).update(self.text())

    @property
    def room(self) -> int:
        """Cells of a line."""
        return max(self.size.width - _MARGIN, 20)

    def text(self) -> Text:
        """The page; empty, unless a screen says otherwise."""
        return Text()


class HelpScreen(PageScreen):
    """Keys."""

    NAME = "help"

    def text(self) -> Text:
        """See `PageScreen`."""
        return Text(HELP)


class CardScreen(PageScreen):
    """The dataset card."""

    NAME = "card"

    def text(self) -> Text:
        """See `PageScreen`."""
        first, *others = self.home.browsed.parts
        text = section_text(first, self.room, self.home.plain)
        text.append_text(self._lengths())
        for section in others:
            text.append("\n")
            text.append_text(section_text(section, self.room, self.home.plain))
        return text

    def _lengths(self) -> Text:
        text = Text("\n")
        lengths = self.home.browsed.card.lengths
        if not lengths:
            return text
        heading(text, "Lengths, in tokens")
        edges = lengths["edges"]
        for split, rows in lengths["rows"].items():
            if not sum(rows):
                continue
            text.append(f"{split}\n", "dim")
            for number, count in enumerate(rows):
                span = f"{edges[number]:,}-{edges[number + 1] - 1:,}"
                bar = ("#" if self.home.plain else "━") * -(-_BAR * count // max(rows))
                text.append(f"  {span:>13}  {count:>9,}  {bar}\n")
        return text
