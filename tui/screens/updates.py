"""Updates: find a stick, check it, install it, or go back to the release before."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from appliance.errors import AnchorholdError, from_os_error
from appliance.events import Event
from tui.backend import Overview, StickFacts
from tui.clean_text import clean
from tui.messages import Changed, Progress, Refused, StickChecked, SticksFound
from tui.screens.ask import Confirm
from tui.screens.base import HouseScreen
from tui.size_text import size
from tui.widgets.lines import meter

_MOST_LINES = 200  # of the report


def _amount(event: Event) -> str:
    if event.unit == "bytes":
        return f"{size(event.done)} of {size(event.total)}"
    return clean(f"{event.done:.0f} of {event.total:.0f} {event.unit}")


class UpdatesScreen(HouseScreen):
    """Sticks on the left of time, releases on the right: check, install, roll back."""

    NAME = "updates"
    KEYS = (
        ("Tab", "next field"),
        ("Enter", "check/press"),
        ("Esc", "leave field, then:"),
        ("i", "install"),
        ("b", "back"),
        ("s", "search sticks"),
        ("1-4", "screens"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave_field", show=False),
        Binding("c", "check", show=False),
        Binding("i", "install", show=False),
        Binding("b", "rollback", show=False),
        Binding("s", "search", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._facts: StickFacts | None = None
        self._busy = ""
        self._lines: list[tuple[str, str]] = []
        self._overview = Overview()

    def contents(self) -> ComposeResult:
        """See `HouseScreen`."""
        yield Static("Sticks found below /media, /mnt and /run/media:", classes="label", markup=False)
        yield OptionList(id="sticks", markup=False, compact=True)
        yield Static("Or the folder of a stick:", classes="label", markup=False)
        yield Input(placeholder="/media/stick", id="path", compact=True)
        yield Static(
            "Root of trust, from your publisher (first time only):", classes="label trust", markup=False
        )
        yield Input(placeholder="/path/to/root.json", id="trust", classes="trust", compact=True)
        with Horizontal(classes="buttons"):
            yield Button("Check (c)", id="check", compact=True)
            yield Button("Install (i)", id="install", compact=True, disabled=True)
            yield Button("Roll back (b)", id="rollback", compact=True, disabled=True)
        yield Static("", id="progress", markup=False)
        with VerticalScroll(id="report", can_focus=True):
            yield Static("", id="lines", markup=False)

    def on_mount(self) -> None:
        super().on_mount()
        for field in self.query(Input):
            field.cursor_blink = False
        self.query_one("#sticks").focus()
        self.action_search()

    def take(self, overview: Overview) -> None:
        """See `HouseScreen`."""
        super().take(overview)
        self._overview = overview
        # Until somebody has looked, nothing is asked for that may not be needed.
        needs_root = self.house.looked and not overview.pinned
        for widget in self.query(".trust"):
            widget.display = needs_root
        self._buttons()

    def _buttons(self) -> None:
        self.query_one("#check", Button).disabled = bool(self._busy)
        self.query_one("#install", Button).disabled = bool(self._busy) or self._facts is None
        self.query_one("#rollback", Button).disabled = bool(self._busy) or self._overview.previous is None

    # What is shown.

    def _say(self, text: str, style: str = "") -> None:
        self._lines = [*self._lines, (clean(text), style)][-_MOST_LINES:]
        shown = Text()
        for line, look in self._lines:
            shown.append(line + "\n", look)
        self.query_one("#lines", Static).update(shown)
        self.query_one("#report", VerticalScroll).scroll_end(animate=False)

    def _begin(self, what: str) -> None:
        self._busy = what
        self._lines = []
        self._say(what + "...")
        self._buttons()

    def _end(self) -> None:
        self._busy = ""
        self.query_one("#progress", Static).update("")
        self._buttons()

    # Finding sticks.

    def action_search(self) -> None:
        self._search()

    @work(thread=True, exclusive=True, group="search")
    def _search(self) -> None:
        self.post_message(SticksFound([str(path) for path in self.house.backend.sticks()]))

    @on(SticksFound)
    def _found(self, message: SticksFound) -> None:
        sticks = self.query_one("#sticks", OptionList)
        sticks.clear_options()
        for path in message.sticks:
            sticks.add_option(Option(clean(path), id=path))
        if message.sticks:
            sticks.highlighted = 0
        else:
            sticks.add_option(Option("(none; mount one, then press s)", disabled=True))

    # Checking.

    @on(OptionList.OptionSelected, "#sticks")
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.query_one("#path", Input).value = event.option.id or ""
        self.action_check()

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_check()

    @on(Input.Changed)
    def _changed(self) -> None:
        # Another stick may stand in the field now: what was checked no longer counts.
        self._facts = None
        self._buttons()

    def _stick(self) -> Path | None:
        typed = self.query_one("#path", Input).value.strip()
        sticks = self.query_one("#sticks", OptionList)
        if not typed and sticks.highlighted is not None:
            typed = sticks.get_option_at_index(sticks.highlighted).id or ""
        return Path(os.path.expanduser(typed)) if typed else None  # noqa: PTH111 - "~other" too

    def _root(self) -> Path | None:
        typed = self.query_one("#trust", Input).value.strip()
        return Path(os.path.expanduser(typed)) if typed else None  # noqa: PTH111

    @on(Button.Pressed, "#check")
    def action_check(self) -> None:
        if self._busy:
            return
        stick = self._stick()
        if stick is None:
            self.notify("Choose a stick, or type its folder.", severity="warning")
            return
        self._facts = None
        self._begin(f"Checking {stick}")
        self._check(stick, self._root())

    @work(thread=True, exclusive=True, group="update")
    def _check(self, stick: Path, root: Path | None) -> None:
        try:
            self.post_message(StickChecked(self.house.backend.check(stick, root)))
        except AnchorholdError as error:
            self.post_message(Refused("The stick was refused", error))
        except OSError as error:
            self.post_message(Refused("The stick can't be read", from_os_error(error)))

    @on(StickChecked)
    def _checked(self, message: StickChecked) -> None:
        self._facts = message.facts
        self._end()
        self._say(f"Genuine: {message.facts.title}", "bold")
        for label, text in message.facts.rows:
            for line in text.splitlines():
                self._say(f"  {label:<12} {line}")
                label = ""
        self._say("Install it with i, or the button.")

    # Installing and going back.

    @on(Button.Pressed, "#install")
    @work
    async def action_install(self) -> None:
        facts = self._facts
        if self._busy or facts is None:
            if not self._busy:
                self.notify("Check the stick first (c).", severity="warning")
            return
        kept = "The release that serves now is kept, and can be gone back to."
        if await self.app.push_screen_wait(Confirm(f"Install {facts.title}?\n{kept}", "Install")):
            self._begin(f"Installing {facts.title}")
            self.house.changing = True
            self._install(facts.path, self._root())

    @work(thread=True, exclusive=True, group="update")
    def _install(self, stick: Path, root: Path | None) -> None:
        def emit(event: Event) -> None:
            self.post_message(Progress(event))

        try:
            name = self.house.backend.install(stick, root, emit)
            self.post_message(
                Changed(f"Installed: {name} is active. A running gateway changes to it by itself.")
            )
        except AnchorholdError as error:
            self.post_message(Refused("Not installed; what served before still does", error))
        except OSError as error:
            self.post_message(Refused("Not installed; what served before still does", from_os_error(error)))

    @on(Progress)
    def _progress(self, message: Progress) -> None:
        event = message.event
        if event.total > 0:
            part = event.done / event.total
            bar = meter(part, 30, self.house.plain)
            self.query_one("#progress", Static).update(f" {bar} {part:4.0%}  {_amount(event)}")
        if event.text and event.kind != "progress":
            self._say(event.text, "bold" if event.kind in {"warning", "failed"} else "")

    @on(Button.Pressed, "#rollback")
    @work
    async def action_rollback(self) -> None:
        previous = self._overview.previous
        if self._busy or previous is None:
            if not self._busy:
                self.notify("There is no previous release.", severity="warning")
            return
        name = f"{previous.name} {previous.version}"
        if await self.app.push_screen_wait(Confirm(f"Go back to {name}?", "Roll back")):
            self._begin(f"Going back to {name}")
            self.house.changing = True
            self._rollback()

    @work(thread=True, exclusive=True, group="update")
    def _rollback(self) -> None:
        try:
            self.post_message(Changed(f"Rolled back: {self.house.backend.rollback()} is active again."))
        except AnchorholdError as error:
            self.post_message(Refused("Not rolled back", error))
        except OSError as error:
            self.post_message(Refused("Not rolled back", from_os_error(error)))

    @on(Changed)
    def _changed_release(self, message: Changed) -> None:
        self.house.changing = False
        self._facts = None
        self._end()
        self._say(message.text, "bold")
        self.house.action_look()

    @on(Refused)
    def _refused(self, message: Refused) -> None:
        self.house.changing = False
        self._end()
        self._say(f"{message.what}.", "bold")
        self._say(f"Why: {message.error.message}")
        if message.error.hint:
            self._say(f"Do:  {message.error.hint}")
        code = message.error.exit_code
        self._say(f"(exit code {int(code)} {code.name} on the command line)")

    def action_leave_field(self) -> None:
        self.query_one("#report").focus()
