"""Portions of the files' content, and what is made of each: as numbers and bytes, so that a process can hand it over.

What becomes of a row depends on nothing but the row and the project, so portions are worked on anywhere; in which
order their rows are accepted is the collector's affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.dataset import conflicts
from appliance.dataset.cleaning import BadConversation
from appliance.dataset.filtering import Fault, Filters
from appliance.dataset.kept_rows import Columns, group_key
from appliance.dataset.lengths import CountTokens
from appliance.dataset.near.views import Texts, compared_texts
from appliance.dataset.reading import (
    BadRow,
    Cut,
    Detected,
    Document,
    Material,
    RawRow,
    Transcript,
    detect,
    read_detected,
    read_lines,
)
from appliance.dataset.redaction import Finding
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row
from appliance.paths import Project

_COUNTED_AT_ONCE = 256  # rows
_COUNTED_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class Lines:
    """Whole lines of a file that `by_lines` is true for.

    Attributes:
        name, found: of the file.
        first: number of the first line.
        data: the lines.
    """

    name: str
    found: Detected
    first: int
    data: bytes


@dataclass(frozen=True)
class Things:
    """What has been read already."""

    name: str
    things: list[Material]


@dataclass(frozen=True)
class WholeFile:
    """A small file, not looked at yet."""

    name: str
    path: Path


Portion = Lines | Things | WholeFile


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know.

    Attributes:
        project: as the starting process sees it.
        checkpoint: the base's folder, for its tokenizer.
    """

    project: Project
    checkpoint: Path


@dataclass(frozen=True)
class SourceFile:
    """A file that was read, for the card.

    Attributes:
        size: bytes.
        sha256: of the content.
        found: what it was taken for.
        changed: whether it became another while it was read.
    """

    size: int
    sha256: str
    found: Detected
    changed: bool = False


def file_state(path: Path) -> tuple[int, int]:
    """Bytes and time of a file; zeros where it can't be looked at, which reading it will tell."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def source_file(path: Path, before: tuple[int, int], found: Detected) -> SourceFile:
    """What the card has of a file that was read; no digest where it is gone, which is told already.

    Args:
        path: the file.
        before: its `file_state` before it was read.
        found: what it was taken for.
    """
    try:
        digest = storage.sha256_file(path)
    except OSError:
        digest = ""
    return SourceFile(before[0], digest, found, file_state(path) != before)


@dataclass(frozen=True)
class Batch:
    """What one portion gives.

    Attributes:
        rows: the good rows, their offsets counted from the batch's first line.
        lines: the rows as the spool holds them.
        answer_lengths: (rows,) characters of the answers.
        texts: what is compared of them; None where nothing is.
        sources: `file:line` of each row.
        findings: place of a row -> the personal data that was in it.
        flawed: place of a row -> what is wrong with its answer though it stays: (kind, reason).
        cut: place of a row -> what reading left out of it: (kind, in words).
        made: places of the rows that were made of transcripts and documents.
        others: (place of the row that it stands before, what is no row), in order.
        raw: how many rows there were, good and bad.
        told: in how many of them a column stands whose kind of personal data is told.
        source: of a whole file.
    """

    rows: Columns
    lines: bytes
    answer_lengths: NDArray[np.int32]
    texts: Texts | None
    sources: list[str]
    findings: dict[int, list[Finding]]
    flawed: dict[int, list[Fault]]
    cut: dict[int, list[Cut]]
    made: frozenset[int]
    others: list[tuple[int, BadRow | Transcript | Document]]
    raw: int
    told: Counter[str]
    source: SourceFile | None = None


@dataclass
class _Making:
    rows: list[Row] = field(default_factory=list)
    findings: dict[int, list[Finding]] = field(default_factory=dict)
    flawed: dict[int, list[Fault]] = field(default_factory=dict)
    cut: dict[int, list[Cut]] = field(default_factory=dict)
    others: list[tuple[int, BadRow | Transcript | Document]] = field(default_factory=list)
    raw: int = 0
    told: Counter[str] = field(default_factory=Counter)


class BatchMaker:
    """Makes batches of portions.

    Args:
        project: its `[dataset]` says how.
        maker: makes the rows.
        count: counts their tokens.
    """

    def __init__(self, project: Project, maker: RowMaker, count: CountTokens) -> None:
        self._section = project.config.dataset
        self._maker = maker
        self._filters = Filters(self._section.filters)
        self._count = count

    def make(self, portion: Portion) -> Batch:
        """The batch of a portion.

        Raises:
            DataError, ConfigError, ModelError: as reading and counting do.
        """
        if isinstance(portion, Things):
            return self.batch(portion.things)
        if isinstance(portion, Lines):
            return self.batch(
                read_lines(portion.name, portion.first, portion.data, portion.found, self._section)
            )
        path, name = portion.path, portion.name
        before = file_state(path)
        found = detect(path, name, self._section)
        things = list(read_detected(path, name, self._section, found, lambda _: None))
        return self.batch(things, source_file(path, before, found))

    def told(self, text: str) -> str:
        """What may be told of a text from a file; see `RowMaker.told`."""
        return self._maker.told(text)

    def batch(self, things: Iterable[Material], source: SourceFile | None = None) -> Batch:
        """The batch of what was read: rows made, bad ones told apart, the rest as it is."""
        making = _Making()
        for thing in things:
            self._take(thing, making)
        return self._batch_of(making, source)

    def _take(self, thing: Material, making: _Making) -> None:
        if not isinstance(thing, RawRow):
            making.others.append((len(making.rows), thing))
            return
        making.raw += 1
        making.told.update({cell.column for cell in thing.told})
        try:
            row, findings = self._maker.row(thing)
            if self._maker.schema is not None:
                self._maker.schema.check_answer(row.answer)
            flaws = self._passed(row)
        except BadConversation as fault:
            bad = BadRow(thing.file, thing.line, fault.kind, fault.reason, made=bool(thing.kind))
            making.others.append((len(making.rows), bad))
            return
        if findings:
            making.findings[len(making.rows)] = findings
        if flaws:
            making.flawed[len(making.rows)] = flaws
        if thing.cuts:
            making.cut[len(making.rows)] = [(kind, self.told(what)) for kind, what in thing.cuts]
        making.rows.append(row)

    def _passed(self, row: Row) -> list[Fault]:
        """What is wrong with a row that the filters let through.

        Raises:
            BadConversation: they don't.
        """
        listed: list[Fault] = []
        fault = self._filters.fault(row)
        if fault is None and row.kind in ("", "turns"):  # answers of other pairs are pieces of a text
            fault, listed = self._filters.flaws(row)
        if fault is not None:
            raise BadConversation(*fault)
        return listed

    def _batch_of(self, making: _Making, source: SourceFile | None) -> Batch:
        rows = making.rows
        lines = [row.to_line() for row in rows]
        sizes = np.array([*map(len, lines)], dtype=np.uint32)
        columns = Columns(
            ids=np.array([int(row.id, 16) for row in rows], dtype=np.uint64),
            groups=np.array([group_key(row.group) for row in rows], dtype=np.uint64),
            tokens=np.fromiter(self._tokens(rows), dtype=np.int32, count=len(rows)),
            test=np.zeros(len(rows), dtype=bool),
            offsets=np.cumsum(sizes, dtype=np.int64) - sizes,
            sizes=sizes,
            prompts=np.array([conflicts.prompt_digest(row.messages) for row in rows], dtype=np.int64),
            answers=np.array([conflicts.digest(row.answer) for row in rows], dtype=np.int64),
        )
        compared = self._section.duplicates.near != "ignore"
        return Batch(
            columns,
            b"".join(lines),
            np.array([len(row.answer) for row in rows], dtype=np.int32),
            compared_texts([row.messages for row in rows]) if compared else None,
            [row.source for row in rows],
            making.findings,
            making.flawed,
            making.cut,
            frozenset(place for place, row in enumerate(rows) if row.kind),
            making.others,
            making.raw,
            making.told,
            source,
        )

    def _tokens(self, rows: Sequence[Row]) -> Iterator[int]:
        waiting: list[list[dict[str, Any]]] = []
        characters = 0
        for row in rows:
            waiting.append(row.messages)
            characters += sum(len(message["content"]) for message in row.messages)
            if len(waiting) >= _COUNTED_AT_ONCE or characters >= _COUNTED_CHARACTERS:
                yield from self._count(waiting)
                waiting, characters = [], 0
        if waiting:
            yield from self._count(waiting)
