"""The builder's files, read as a stream: chat JSON lines and CSV, each row with the line it begins on."""

from __future__ import annotations

import codecs
import csv
import difflib
import glob
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from appliance.config import DatasetSection
from appliance.errors import ConfigError, DataError

MAX_LINE_BYTES = 16 * 1024 * 1024  # a longer line is a bad row: it would be no example but a file
_JSON_LINES = {".jsonl", ".ndjson"}
_TABLES = {".csv": ",;\t", ".tsv": "\t"}
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_NAME = re.compile(r"[^\W\d][\w .-]*")


@dataclass(frozen=True)
class RawRow:
    """One row as its file holds it.

    Attributes:
        file: name relative to the project.
        line: where it begins, from 1.
        messages: the conversation, not checked yet.
        group: the group it names; empty: none.
    """

    file: str
    line: int
    messages: Any
    group: str = ""


@dataclass(frozen=True)
class BadRow:
    """One row (or a whole file, `line` 0) that can't be used, and why; `kind` is what the card counts by."""

    file: str
    line: int
    kind: str
    reason: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.reason}"


@dataclass
class Reading:
    """How far a file has been read.

    Attributes:
        path: the file.
        name: how errors and rows call it: relative to the project.
        read: bytes read so far.
    """

    path: Path
    name: str
    read: int = 0
    columns: list[str] = field(default_factory=list)


def find_files(root: Path, patterns: list[str], key: str) -> list[Path]:
    """The files that `patterns` name, sorted, each once.

    Raises:
        DataError: a plain name that doesn't exist, a kind of file that isn't read, or nothing found at all.
    """
    found: set[Path] = set()
    for pattern in patterns:
        matches = [root / match for match in glob.glob(pattern, root_dir=root, recursive=True)]  # noqa: PTH207 - absolute patterns too
        files = {match for match in matches if match.is_file()}
        if not files and not glob.has_magic(pattern):
            raise DataError(f"{root / pattern}: no such file", f"correct `dataset.{key}` in anchorhold.toml")
        found |= files
    if not found:
        raise DataError(
            f"{root}: no file matches {', '.join(patterns)}",
            f"put chat JSONL or CSV files there, or correct `dataset.{key}` in anchorhold.toml",
        )
    for path in sorted(found):
        if path.suffix.lower() not in _JSON_LINES and path.suffix.lower() not in _TABLES:
            raise DataError(
                f"{path}: files of kind `{path.suffix or 'no suffix'}` aren't read",
                "chat JSON lines (.jsonl, .ndjson) and tables with a header (.csv, .tsv) are",
            )
    return sorted(found)


def _lines(stream: IO[bytes], reading: Reading) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers, their ends kept; None for one longer than `MAX_LINE_BYTES`."""
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        reading.read += len(line)
        if len(line) <= MAX_LINE_BYTES:
            yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            continue
        while not line.endswith(b"\n") and (line := stream.readline(MAX_LINE_BYTES)):
            reading.read += len(line)
        yield number, None


def _too_long(reading: Reading, number: int) -> BadRow:
    return BadRow(reading.name, number, "long-line", f"a line of more than {MAX_LINE_BYTES >> 20} MiB")


def _group_of(row: dict[str, Any]) -> str:
    group = row.get("group")
    return str(group).strip() if isinstance(group, (str, int)) and not isinstance(group, bool) else ""


def _json_row(reading: Reading, number: int, line: bytes) -> RawRow | BadRow:
    def bad(kind: str, reason: str) -> BadRow:
        return BadRow(reading.name, number, kind, reason)

    if b"\0" in line:
        return bad("binary", "it holds a NUL byte; is it binary data?")
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return bad("encoding", f"not UTF-8: byte {line[error.start]:#04x} at column {error.start + 1}")
    except json.JSONDecodeError as error:
        return bad("broken-json", f"broken JSON: {error.msg} at column {error.colno}")
    except (RecursionError, ValueError):
        return bad("broken-json", "broken JSON: nested too deeply or a number too long")
    if not isinstance(value, dict):
        return bad("messages", f"a JSON {type(value).__name__}, not an object with `messages`")
    if "messages" not in value:
        near = difflib.get_close_matches("messages", map(str, value), n=1)
        meant = f" (is `{near[0]}` meant?)" if near else ""
        return bad(
            "messages",
            f"no `messages`; its keys are {', '.join(map(repr, list(value)[:8])) or 'none'}{meant}",
        )
    return RawRow(reading.name, number, value["messages"], _group_of(value))


def _read_json_lines(stream: IO[bytes], reading: Reading) -> Iterator[RawRow | BadRow]:
    for number, line in _lines(stream, reading):
        if line is None:
            yield _too_long(reading, number)
        elif line.strip():
            yield _json_row(reading, number, line)


def fill_template(template: str, values: dict[str, str]) -> str:
    """`template` with each `{name}` replaced by its value; `{{` and `}}` stand for braces.

    Braces around something that is no name (JSON in a prompt) are left as they are.

    Raises:
        ConfigError: a name that isn't among `values`, with the nearest one.
    """

    def replace(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] in values:
            return values[match[1]]
        if not _NAME.fullmatch(match[1]):
            return match[0]
        near = difflib.get_close_matches(match[1], values, n=1)
        meant = f" (did you mean `{{{near[0]}}}`?)" if near else ""
        raise ConfigError(
            f"dataset.prompt_template: `{{{match[1]}}}` is no column{meant}; there are {', '.join(values)}",
            "write {{ and }} for braces that are meant as such",
        )

    return _PLACE.sub(replace, template)


def _table_columns(reading: Reading, header: list[str], section: DatasetSection) -> list[str]:
    columns = [name.strip() for name in header]
    wanted = [section.prompt_column, section.answer_column, *filter(None, [section.group_column])]
    if section.prompt_template.find("{prompt}") < 0:  # the prompt is made of other columns
        wanted.remove(section.prompt_column)
    for name in wanted:
        if name not in columns:
            near = difflib.get_close_matches(name.lower(), [column.lower() for column in columns], n=1)
            meant = next((column for column in columns if near and column.lower() == near[0]), "")
            raise DataError(
                f"{reading.name}:1: no column `{name}`; found: {', '.join(columns) or 'none'}"
                + (f" (is `{meant}` meant?)" if meant else ""),
                "name the columns in anchorhold.toml: dataset.prompt_column, answer_column, group_column",
            )
    if len(set(columns)) != len(columns):
        raise DataError(f"{reading.name}:1: two columns have the same name", "rename one of them")
    return columns


def _delimiter(header: str, candidates: str, section: DatasetSection) -> str:
    """The candidate that finds most of the wanted columns; many a spreadsheet writes semicolons."""

    def found(delimiter: str) -> int:
        names = {name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])}
        return len(names & {section.prompt_column, section.answer_column, section.group_column}) * 100 + len(
            names
        )

    return max(candidates, key=found)


def _read_table(stream: IO[bytes], reading: Reading, section: DatasetSection) -> Iterator[RawRow | BadRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    too_long: list[int] = []
    last = 0

    def text() -> Iterator[str]:
        nonlocal last
        for number, line in _lines(stream, reading):
            last = number
            if line is None:
                too_long.append(number)
                continue
            # What isn't UTF-8 becomes half surrogates, which name the row when its cells are looked at.
            yield line.decode("utf-8", errors="surrogateescape")

    lines = text()
    first = next(lines, "")
    delimiter = _delimiter(first, _TABLES[reading.path.suffix.lower()], section)

    def again() -> Iterator[str]:
        yield first
        yield from lines

    table = csv.reader(again(), delimiter=delimiter, strict=True)
    columns = _table_columns(reading, next(table, []), section)
    while True:
        begins = last + 1
        try:
            cells = next(table, None)
        except csv.Error as error:
            yield BadRow(
                reading.name, begins, "broken-csv", f"broken CSV: {error} (quotes not closed or doubled?)"
            )
            continue
        for number in too_long:
            yield _too_long(reading, number)
        too_long.clear()
        if cells is None:
            return
        if cells:
            yield _table_row(reading, begins, cells, columns, section)


def _table_row(
    reading: Reading, line: int, cells: list[str], columns: list[str], section: DatasetSection
) -> RawRow | BadRow:
    if len(cells) != len(columns):
        reason = f"{len(cells)} cells where the header has {len(columns)}"
        return BadRow(reading.name, line, "columns", reason)
    values = dict(zip(columns, cells, strict=True))
    if any("\udc80" <= character <= "\udcff" for cell in cells for character in cell):
        return BadRow(reading.name, line, "encoding", "not UTF-8")
    prompt = values.get(section.prompt_column, "")
    if section.prompt_column in values and not prompt.strip():
        return BadRow(reading.name, line, "empty", f"column `{section.prompt_column}` is empty")
    if not values[section.answer_column].strip():
        return BadRow(reading.name, line, "empty", f"empty answer (column `{section.answer_column}`)")
    messages = [
        {"role": "user", "content": fill_template(section.prompt_template, {**values, "prompt": prompt})},
        {"role": "assistant", "content": values[section.answer_column]},
    ]
    group = values[section.group_column].strip() if section.group_column else ""
    return RawRow(reading.name, line, messages, group)


def read_file(
    path: Path, name: str, section: DatasetSection, on_read: Callable[[int], None]
) -> Iterator[RawRow | BadRow]:
    """All rows of one file, good and bad, in order; a file that is no text at all is one bad row with line 0.

    Args:
        path: chat JSON lines or a table with a header.
        name: how to call it: relative to the project.
        section: `[dataset]` of the configuration.
        on_read: called after each row with the bytes of the file read so far.

    Raises:
        DataError: a table without the columns that the configuration names.
    """
    reading = Reading(path, name)
    with path.open("rb") as stream:
        head = stream.read(4096)
        stream.seek(0)
        if not head.strip():
            yield BadRow(name, 0, "empty-file", "an empty file")
            return
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            yield BadRow(name, 0, "encoding", "UTF-16 text; save it as UTF-8")
            return
        if head.count(0) * 50 > len(head):  # a stray NUL is one bad line, many are another kind of file
            yield BadRow(name, 0, "binary", "not text: it begins with binary data")
            return
        json_lines = path.suffix.lower() in _JSON_LINES
        for row in _read_json_lines(stream, reading) if json_lines else _read_table(stream, reading, section):
            yield row
            on_read(reading.read)
