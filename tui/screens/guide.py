"""Help: keys, and what to do when."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from tui.screens.base import HouseScreen

TEXT = """\
SCREENS
  F1 F2 F3 F4  Chat, Status, Updates, Help
  1 2 3 4      the same, where no text is being typed
  Ctrl+G       a menu: then 1 2 3 4, or q to quit (where no F keys arrive)

CHAT
  Enter        send
  Ctrl+J       begin a new line
  Esc          stop the answer
  Ctrl+R       answer the last question again
  Ctrl+N       new conversation
  Ctrl+L       earlier conversations, with search
  Ctrl+Y       copy the last answer
  Ctrl+T       the last answer is good: keep it to learn from
  Ctrl+O       the last answer is wrong: write how it should be
  PgUp PgDn    scroll (also Ctrl+B, Ctrl+F)
  /quit        leave (or Ctrl+G q)

STATUS
  c            the report card of the active release, and back
  r            look now

UPDATES
  Tab          next field or button
  Enter        check the chosen stick
  c i b s      check, install, go back, search sticks
               (Esc leaves a text field first)

WHAT TO DO WHEN
  Nothing is served
      Status says why. Usually: anchorhold serve
  Nothing is installed
      Mount a stick, F3, choose it, Enter, then i.
  A stick is refused
      The report says why; what serves now keeps serving. Never force a stick
      that your publisher did not sign: ask for another.
  The answer is cut off
      The context is full: Ctrl+N begins anew.
  The new release is bad
      F3, then b goes back to the one before.
  Copying does nothing
      The terminal may not allow it: the answer is also in the file that the
      notice names.
  Signs look broken, or there are no colours
      Start it as: NO_COLOR=1 anchorhold   (no colours, ASCII only)
  A screen reader is used
      anchorhold chat talks line by line, without a screen.
  It must be scripted
      anchorhold chat --message "...", or the API on the Unix socket.

The operator's handbook, docs/handbook.md, says more: first boot, backup, exit
codes.
"""


class HelpScreen(HouseScreen):
    """Keys, and what to do when."""

    NAME = "help"
    KEYS = (("1-4", "screens"), ("Up/Down", "scroll"), ("^G", "go to"), ("q", "quit"))

    def contents(self) -> ComposeResult:
        """See `HouseScreen`."""
        with VerticalScroll(id="page"):
            yield Static(TEXT, markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        self.query_one("#page").focus()
