"""What threads tell screens. Threads post; the screens' handlers change what is shown."""

from __future__ import annotations

from typing import Any

from textual.message import Message

from appliance.errors import AnchorholdError
from appliance.events import Event
from tui.backend import Overview, StickFacts


class Piece(Message):
    """More text of answer `number`."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__()
        self.number = number
        self.text = text


class AnswerEnded(Message):
    """Answer `number` is whole, or was stopped; `ending` is what `Backend.ask` returned, {} if stopped."""

    def __init__(self, number: int, ending: dict[str, Any]) -> None:
        super().__init__()
        self.number = number
        self.ending = ending


class AnswerFailed(Message):
    """Answer `number` broke off."""

    def __init__(self, number: int, error: AnchorholdError) -> None:
        super().__init__()
        self.number = number
        self.error = error


class Looked(Message, bubble=False):
    """The device was looked at. It goes to the application, which hands it down: it must not bubble up again."""

    def __init__(self, overview: Overview) -> None:
        super().__init__()
        self.overview = overview


class CardRead(Message):
    """What is to be shown as the active release's report card: its lines, or why there is none."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self.lines = lines


class SticksFound(Message):
    """Mounted folders that hold a stick's files."""

    def __init__(self, sticks: list[str]) -> None:
        super().__init__()
        self.sticks = sticks


class StickChecked(Message):
    """A stick is genuine and newer, or at least the same."""

    def __init__(self, facts: StickFacts) -> None:
        super().__init__()
        self.facts = facts


class Progress(Message):
    """An event of an install."""

    def __init__(self, event: Event) -> None:
        super().__init__()
        self.event = event


class Changed(Message):
    """Another release is active; `text` says which and how."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Refused(Message):
    """A check, an install or a rollback failed; what was installed stays."""

    def __init__(self, what: str, error: AnchorholdError) -> None:
        super().__init__()
        self.what = what
        self.error = error
