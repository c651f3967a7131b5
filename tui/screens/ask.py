"""The small screens that ask something."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from tui.history import History


class Confirm(ModalScreen[bool]):
    """Yes or no; No is what Enter means at first.

    Args:
        question: what would happen.
        yes: the word on the button that does it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "no", show=False),
        Binding("y", "yes", show=False),
        Binding("left,right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._question, markup=False)
            with Horizontal(classes="buttons"):
                yield Button("No (n)", id="no", compact=True)
                yield Button(f"{self._yes} (y)", id="yes", compact=True)

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_no(self) -> None:
        self.dismiss(False)

    def action_yes(self) -> None:
        self.dismiss(True)


class Better(ModalScreen[str | None]):
    """The answer as it should have been; None where it is left. An unchanged or empty text says that it is wrong.

    Args:
        answer: as it was given.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False, priority=True),
        Binding("ctrl+o", "keep", show=False, priority=True),
    ]

    def __init__(self, answer: str) -> None:
        super().__init__()
        self._answer = answer

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static("How should the answer have been?", markup=False)
            yield TextArea(self._answer, id="better", soft_wrap=True, show_line_numbers=False, compact=True)
            yield Static("Ctrl+O keep   Esc leave it", classes="dim", markup=False)

    def on_mount(self) -> None:
        area = self.query_one(TextArea)
        area.cursor_blink = False
        area.move_cursor(area.document.end)
        area.focus()

    def action_keep(self) -> None:
        text = self.query_one(TextArea).text.strip()
        self.dismiss("" if text == self._answer.strip() else text)

    def action_leave(self) -> None:
        self.dismiss(None)


class GoTo(ModalScreen[str]):
    """One digit leads to a screen: for terminals without function keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("1,f1", "go('chat')", show=False),
        Binding("2,f2", "go('status')", show=False),
        Binding("3,f3", "go('updates')", show=False),
        Binding("4,f4", "go('help')", show=False),
        Binding("q", "go('quit')", show=False),
        Binding("escape,ctrl+g", "go('')", show=False),
    ]

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static("1 Chat   2 Status   3 Updates   4 Help   q Quit   Esc Stay", markup=False)

    def action_go(self, name: str) -> None:
        self.dismiss(name)


class Conversations(ModalScreen[int]):
    """The history list, with search; returns a conversation's number, 0 for none.

    Args:
        history: where to look.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", show=False),
        Binding("down", "into_list", show=False),
        Binding("delete,ctrl+d", "delete", show=False, priority=True),
    ]

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Input(placeholder="Search conversations", id="search", compact=True)
            yield OptionList(id="found", markup=False, compact=True)
            yield Static(
                "Enter open   Up/Down choose   Ctrl+D delete   Esc back", classes="dim", markup=False
            )

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self._fill("")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        self._fill(event.value)

    def _fill(self, words: str) -> None:
        found = self.query_one(OptionList)
        found.clear_options()
        for conversation in self._history.list(words):
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(conversation.updated))
            found.add_option(Option(f"{when}  {conversation.title}", id=str(conversation.number)))
        if found.option_count:
            found.highlighted = 0
        else:
            found.add_option(
                Option("Nothing found." if words.strip() else "No conversations yet.", disabled=True)
            )

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.dismiss(self._chosen())

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(int(event.option.id or 0))

    def _chosen(self) -> int:
        found = self.query_one(OptionList)
        if found.highlighted is None:
            return 0
        return int(found.get_option_at_index(found.highlighted).id or 0)

    def action_into_list(self) -> None:
        self.query_one(OptionList).focus()

    def action_delete(self) -> None:
        number = self._chosen()
        if number:
            self._history.delete(number)
            self._fill(self.query_one(Input).value)

    def action_leave(self) -> None:
        self.dismiss(0)
