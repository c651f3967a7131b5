"""What the makers of pairs hand out, and the reasons why they made none. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from appliance.config import PairKind
from appliance.dataset.reading import RawRow

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Pair:
    """A row made of a transcript or a document.

    Attributes:
        row: as the files' own rows are, so that it is cleaned, redacted and checked like them.
        test: made of a test file.
        held: a question's wording that is kept out of training while other wordings of it are learnt.
    """

    row: RawRow
    test: bool = False
    held: bool = False


@dataclass
class Tally:
    """What was made and what was not, for the card and the preview.

    Attributes:
        made: pairs by kind.
        dropped: what was left out, by reason.
        shown: for each reason a few examples, as (file, line, text).
    """

    made: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    shown: dict[str, list[tuple[str, int, str]]] = field(default_factory=dict)

    def drop(self, reason: str, file: str, line: int, text: str) -> None:
        """Count something that was left out; the first few are kept to be shown."""
        self.dropped[reason] += 1
        examples = self.shown.setdefault(reason, [])
        if len(examples) < 3:
            examples.append((file, line, text[:200]))


def place_of(file: str) -> str:
    """What groups call a file: outside of the project its folder and name, so that the split is the same elsewhere."""
    path = PurePath(file)
    return "/".join(path.parts[-2:]) if path.is_absolute() else file


def single_turn(file: str, line: int, group: str, kind: PairKind, prompt: str, answer: str) -> RawRow:
    """A row of one question and one answer."""
    messages: Messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return RawRow(file, line, messages, group, kind=kind)


def conversation(file: str, line: int, group: str, messages: Sequence[dict[str, Any]]) -> RawRow:
    """A row of turns."""
    return RawRow(file, line, list(messages), group, kind="turns")
