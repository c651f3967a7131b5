"""CSV and TSV as people have them: delimiter, quotes, header found out, then row by row."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from appliance.dataset.reading.material import MAX_LINE_BYTES, BadRow, long_line
from appliance.dataset.reading.text_encoding import NO_UTF8, TextFile

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SAMPLE_ROWS = 500
_SAMPLE_LINES = 5000
# What may be read again behind quotes that were never closed, beside four times what has been read; then the file is
# given up.
_AGAIN_BYTES = 128 * 1024 * 1024
# What Excel writes and reads in front of a table, for itself: `sep=;`.
_TOLD_DELIMITER = re.compile(r"""["']?sep=(?P<delimiter>[^\w\r\n"'])["']?[ ,;\t]*[\r\n]*""", re.IGNORECASE)
_DATA = re.compile(r"[.!?]\s|\S+(?:\s+\S+){7}|^-?[\d.,]+$|@|://")


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    Attributes:
        delimiter: one character.
        quoted: quotes enclose cells; else they are characters like others.
        header: the first row names the columns.
        told: a line in front of the first row tells the delimiter.
    """

    delimiter: str = ","
    quoted: bool = True
    header: bool = True
    told: bool = False

    @property
    def parted(self) -> str:
        """What parts the columns, in words."""
        words = f"{DELIMITERS[self.delimiter]}s" if self.delimiter in DELIMITERS else repr(self.delimiter)
        return f"{words}, as its first line tells" if self.told else words


@dataclass(frozen=True)
class Cells:
    """One row of a table.

    Attributes:
        line: where it begins.
        cells: as text; what is no UTF-8 stands as half surrogates.
    """

    line: int
    cells: list[str]


def _quoting(quoted: bool) -> Literal[0, 3]:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _rows(lines: Sequence[str], delimiter: str, quoted: bool) -> list[list[str]] | None:
    csv.field_size_limit(MAX_LINE_BYTES)
    quoting = _quoting(quoted)
    table = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=False)
    try:
        return [row for row in islice(table, SAMPLE_ROWS) if row]
    except csv.Error:
        return None


def _regular(rows: Sequence[list[str]]) -> float:
    """The share of rows that are as wide as the first one."""
    return sum(len(row) == len(rows[0]) for row in rows) / len(rows)


def has_header(rows: Sequence[list[str]], known: frozenset[str]) -> bool:
    """Whether the first row looks like names: short, different, filled, and no cell that recurs below it."""
    first = [cell.strip() for cell in rows[0]]
    if known & {cell.lower() for cell in first}:
        return True
    if not all(first) or len(set(first)) != len(first) or any(len(cell) > 64 for cell in first):
        return False
    if any(_DATA.search(cell) for cell in first):
        return False
    below = [{row[place].strip() for row in rows[1:] if place < len(row)} for place in range(len(first))]
    return not any(cell in below[place] for place, cell in enumerate(first))


def find_dialect(
    lines: Sequence[str], columns: frozenset[str], known: frozenset[str], candidates: str = ",;\t|"
) -> tuple[Dialect, list[list[str]]] | None:
    """How the table that begins with `lines` is written, and its first rows; None: no table.

    Args:
        lines: with their ends.
        columns: names that are told; a delimiter that finds them wins.
        known: names, in lower case, that stand in headers.
        candidates: delimiters to try; a line in front of the table that tells one (`sep=;`) wins.
    """
    told = _TOLD_DELIMITER.fullmatch(lines[0])
    if told:
        lines, candidates = lines[1:], told["delimiter"]
    best: tuple[float, Dialect, list[list[str]]] | None = None
    for delimiter in candidates:
        for quoted in (True, False) if delimiter == "\t" else (True,):
            rows = _rows(lines, delimiter, quoted)
            if not rows:
                continue
            names = {cell.strip() for cell in rows[0]}
            width = len(rows[0])
            # The end of the sample may cut a row, which then is too short.
            regular = _regular(rows[:-1] or rows)
            score = 100 * len(names & columns) + (10 * regular if width > 1 else 0) + min(width, 20) / 20
            # Unclosed quotes swallow lines: the reading that gives more rows is right, and quotes win a tie.
            score += (len(rows) / len(lines)) + (0.01 if quoted else 0)
            if best is None or score > best[0]:
                best = (score, Dialect(delimiter, quoted, has_header(rows, known), bool(told)), rows)
    if best is None:
        return None
    return best[1], best[2]


def is_table(rows: Sequence[list[str]]) -> bool:
    """Whether rows are regular enough to be a table although nothing tells so."""
    inner = rows[:-1] or rows
    return len(rows) >= 3 and len(rows[0]) >= 2 and _regular(inner) >= 0.9


def sample_lines(file: TextFile, limit: int = 4 * 1024 * 1024) -> list[str]:
    """The first lines of a table, with their ends."""
    lines: list[str] = []
    size = 0
    for _, line in islice(file.lines(), _SAMPLE_LINES):
        if line is None:
            continue
        lines.append(line.decode("utf-8", errors="surrogateescape"))
        size += len(line)
        if size > limit:
            break
    return lines


def column_names(dialect: Dialect, first: Sequence[str]) -> list[str]:
    """The names of the columns; a table without a header gets `column 1` and so on."""
    if dialect.header:
        return [cell.strip() for cell in first]
    return [f"column {number}" for number in range(1, len(first) + 1)]


class _Feed:
    """Lines for `csv`, those of the row at hand remembered, so that a row that swallowed others gives them back."""

    def __init__(self, file: TextFile, name: str) -> None:
        self._lines = file.lines()
        self._name = name
        self._again: list[tuple[int, str]] = []
        self.last = 0
        self.row: list[tuple[int, str]] = []
        self.size = 0  # characters of the row at hand
        self.read = 0  # of all lines so far, those given back once
        self.again = 0  # of those given back
        self.bad: list[BadRow] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.size > MAX_LINE_BYTES:
            raise csv.Error(f"a row of more than {MAX_LINE_BYTES >> 20} MiB")
        if self._again:
            number, text = self._again.pop()
        else:
            while True:
                number, line = next(self._lines)
                if line is not None:
                    break
                self.last = number
                self.bad.append(long_line(self._name, number))
            # What isn't UTF-8 becomes half surrogates, which name the row when its cells are looked at.
            text = line.decode("utf-8", errors="surrogateescape")
            self.read += len(text)
        self.last = number
        self.row.append((number, text))
        self.size += len(text)
        return text

    def begin_row(self) -> None:
        """What follows is of another row."""
        self.row, self.size = [], 0

    def give_back(self) -> bool:
        """Put all lines of the row but its first back; whether that is still bearable."""
        lines = self.row[1:]
        self.again += sum(len(text) for _, text in lines)
        self.begin_row()
        self._again += reversed(lines)
        if lines:
            self.last = lines[0][0] - 1
        return self.again <= _AGAIN_BYTES + 4 * self.read


def table_rows(file: TextFile, name: str, dialect: Dialect) -> Iterator[Cells | BadRow]:
    """The rows of a table, its header left out, each with the line it begins on.

    A quote that is never closed swallows what follows; then only its own line is bad and reading goes on behind it.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    feed = _Feed(file, name)
    if dialect.told:
        next(feed, None)
    quoting = _quoting(dialect.quoted)

    def reader() -> Iterator[list[str]]:
        return csv.reader(feed, delimiter=dialect.delimiter, quoting=quoting, strict=dialect.quoted)

    table = reader()
    header = dialect.header
    while True:
        begins = feed.last + 1
        feed.begin_row()
        try:
            cells = next(table, None)
        except csv.Error as error:
            first = feed.row[0][0] if feed.row else begins
            bearable = feed.give_back()
            yield BadRow(name, first, "broken-csv", f"broken CSV: {error} (quotes not closed or doubled?)")
            if not bearable:
                yield BadRow(
                    name, first, "broken-csv", "too many unclosed quotes; the rest of the file is left out"
                )
                return
            table = reader()
            header = False
            continue
        yield from feed.bad
        feed.bad.clear()
        if cells is None:
            return
        if header:
            header = False
            continue
        if cells:
            yield Cells(feed.row[0][0] if feed.row else begins, cells)


def fault_of(cells: Sequence[str], columns: Sequence[str]) -> tuple[str, str] | None:
    """Why a row doesn't fit its table, as kind and reason; None: it does."""
    if len(cells) != len(columns):
        return "columns", f"{len(cells)} cells where the header has {len(columns)}"
    if any(NO_UTF8.search(cell) for cell in cells):
        return "encoding", "not UTF-8"
    return None
