"""The small screens that ask for words, a kind, or what was missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option


class AskWords(ModalScreen[str]):
    """A line of text; "" where the person thought better of it.

    Args:
        question: what is wanted.
        words: what stands in the field at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, question: str, words: str = "") -> None:
        super().__init__()
        self._question = question
        self._words = words

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog asks"):
            yield Static(self._question, markup=False)
            yield Input(self._words, id="words", compact=True)
            yield Static("Enter go on   Esc back", classes="dim", markup=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())

    def action_leave(self) -> None:
        self.dismiss("")


class AskChoice(ModalScreen[str | None]):
    """One of several; None where the person thought better of it.

    Args:
        question: what is wanted.
        choices: (what is returned, how it is called).
        chosen: which is marked at first.
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]], chosen: str = "") -> None:
        super().__init__()
        self._question = question
        self._choices = choices
        self._chosen = chosen

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog asks"):
            yield Static(self._question, markup=False)
            yield OptionList(
                *(Option(label, id=f"choice-{number}") for number, (_, label) in enumerate(self._choices)),
                id="choices",
                markup=False,
                compact=True,
            )
            yield Static("Up/Down choose   Enter take it   Esc back", classes="dim", markup=False)

    def on_mount(self) -> None:
        names = [name for name, _ in self._choices]
        choices = self.query_one(OptionList)
        choices.highlighted = names.index(self._chosen) if self._chosen in names else 0
        choices.focus()

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[event.option_index][0])

    def action_leave(self) -> None:
        self.dismiss(None)
