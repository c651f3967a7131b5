"""What a file can hold: conversations as rows, transcripts of people talking, documents, and what is none of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from appliance.dataset.reading.told_cells import ToldCell
from appliance.visible import visible

MAX_LINE_BYTES = 16 * 1024 * 1024  # a longer line is a bad row: it would be no example but a file
MAX_TURNS = 10_000  # a longer transcript comes in parts
MAX_DOCUMENT_CHARACTERS = 4 * 1024 * 1024  # so does a longer document

BlockKind = Literal["paragraph", "list", "code", "table", "quote"]
TurnKind = Literal["said", "action", "event"]
Cut: TypeAlias = tuple[str, str]
"""(kind, in words): what reading left out of a row or changed, though the row stays."""


@dataclass(frozen=True)
class RawRow:
    """One row as its file holds it.

    Attributes:
        file: name relative to the project.
        line: where it begins, from 1; in a file without lines (Parquet, Arrow), which row it is.
        messages: the conversation, not checked yet.
        group: the group it names; empty: none.
        rejected: of a preference pair, the answer that was not preferred; empty: no pair.
        cuts: what of the row was left out in reading.
        kind: of a row that was made of a transcript or a document, how (`qa`, `turns`, ...); empty: the file's own.
        told: its cells whose kind of personal data the configuration tells.
    """

    file: str
    line: int
    messages: Any
    group: str = ""
    rejected: str = ""
    cuts: tuple[Cut, ...] = ()
    kind: str = ""
    told: tuple[ToldCell, ...] = ()


@dataclass(frozen=True)
class Turn:
    """What somebody said.

    Attributes:
        speaker: the name as it stands in the file, a nick without its mark in the channel; empty: it names nobody.
        text: without name and time; may hold line feeds.
        line: where it begins.
        time: as it stands in the file; empty: none.
        kind: `said`, `action` (IRC's `* anna waves`) or `event` (joined, left, changed a name).
        fields: other columns of a table of turns, such as a label.
    """

    speaker: str
    text: str
    line: int
    time: str = ""
    kind: TurnKind = "said"
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Transcript:
    """One conversation between people, in the order in which it was held.

    Attributes:
        file: name relative to the project.
        line: where it begins.
        name: the conversation's id where the file holds several; empty: the file is one conversation.
        turns: at most `MAX_TURNS`.
        part: from 1; a longer conversation comes in several.
    """

    file: str
    line: int
    name: str
    turns: tuple[Turn, ...]
    part: int = 1


@dataclass(frozen=True)
class Block:
    """A paragraph, list, table, quotation or piece of code.

    Attributes:
        text: plain text.
        headings: the titles it stands under, outermost first.
        line: where it begins, from 1; 0 where the format has no lines.
        page: from 1; 0 where the format has no pages.
        kind: what it is.
    """

    text: str
    headings: tuple[str, ...]
    line: int = 0
    page: int = 0
    kind: BlockKind = "paragraph"


@dataclass(frozen=True)
class Document:
    """A text to learn about: the blocks of one file, in order.

    Attributes:
        file: name relative to the project.
        title: the file's own title, else its first heading, else the file's name.
        blocks: about `MAX_DOCUMENT_CHARACTERS` of text at most.
        metadata: front matter, author and the like, as text.
        part: from 1; a longer document comes in several.
    """

    file: str
    title: str
    blocks: tuple[Block, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)
    part: int = 1


@dataclass(frozen=True)
class BadRow:
    """One row (or a whole file, `line` 0) that can't be used, and why; `kind` is what the card counts by.

    `made`: nobody can mend it in a file: it was made of a transcript or document, is a directive in one, or is the
    project's own.
    """

    file: str
    line: int
    kind: str
    reason: str
    made: bool = False

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return visible(f"{where}: {self.reason}", width=0)


def long_line(file: str, line: int) -> BadRow:
    """A line beyond `MAX_LINE_BYTES`."""
    return BadRow(file, line, "long-line", f"a line of more than {MAX_LINE_BYTES >> 20} MiB")


def not_utf8(file: str, line: int, error: UnicodeDecodeError) -> BadRow:
    """A line with a byte that is no UTF-8."""
    byte = error.object[error.start]
    return BadRow(file, line, "encoding", f"not UTF-8: byte {byte:#04x} at column {error.start + 1}")


def cannot_read(error: OSError) -> str:
    """Why the system gives a file no further."""
    return f"it can't be read: {error.strerror or error}"


class Faults:
    """Bad lines met on the way to the next transcript or document, however many there are.

    Args:
        most: that are held one by one; what comes then is counted by its kind.
    """

    def __init__(self, most: int = 1000) -> None:
        self._most = most
        self._held: list[BadRow] = []
        self._more: dict[str, tuple[BadRow, int, int]] = {}  # kind -> first, how many, line of the last

    def add(self, bad: BadRow) -> None:
        """Take one, in the order of the lines."""
        if len(self._held) < self._most:
            self._held.append(bad)
        else:
            first, count, _ = self._more.get(bad.kind, (bad, 0, 0))
            self._more[bad.kind] = first, count + 1, bad.line

    def take(self) -> list[BadRow]:
        """All of them, which then are told; lines that were only counted come as one."""
        told = self._held
        for first, count, last in self._more.values():
            more = f" (and {count - 1} more such lines up to line {last})" if count > 1 else ""
            told.append(BadRow(first.file, first.line, first.kind, first.reason + more))
        self._held, self._more = [], {}
        return told


Material: TypeAlias = RawRow | Transcript | Document | BadRow


class Unfit(Exception):  # noqa: N818 - a reason for one row, not a fault of the program
    """Why one record makes no row.

    Attributes:
        kind, reason: as in `BadRow`.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
