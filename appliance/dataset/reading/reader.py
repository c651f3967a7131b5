"""One file as a stream of rows, transcripts, documents and bad rows, whatever it is."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.reading import material
from appliance.dataset.reading.blocks import documents
from appliance.dataset.reading.chat_logs import read_log
from appliance.dataset.reading.chat_rows import turn_keys
from appliance.dataset.reading.columnar import ColumnarFault, columnar_rows
from appliance.dataset.reading.columns import HEADER_NAMES, missing_column, told_columns
from appliance.dataset.reading.detecting import Detected, detect, lines_of
from appliance.dataset.reading.docx_text import docx_blocks
from appliance.dataset.reading.html_text import HtmlFault, html_blocks
from appliance.dataset.reading.json_values import json_values
from appliance.dataset.reading.markdown_marks import plain_markdown
from appliance.dataset.reading.markdown_text import markdown_blocks, text_blocks
from appliance.dataset.reading.material import (
    BadRow,
    Block,
    Document,
    Faults,
    Material,
    RawRow,
    Transcript,
    Turn,
    Unfit,
    cannot_read,
    long_line,
    not_utf8,
)
from appliance.dataset.reading.office_archive import OfficeFault
from appliance.dataset.reading.pdf_text import PdfFault, pdf_blocks
from appliance.dataset.reading.shapes import TITLES, Shape, to_conversation
from appliance.dataset.reading.tables import fault_of, table_rows
from appliance.dataset.reading.text_encoding import TextFile
from appliance.dataset.reading.told_cells import told_cells
from appliance.dataset.reading.turn_tables import collect_turns
from appliance.dataset.reading.workbook import Sheet, Workbook
from appliance.errors import DataError

_LINES_TOLD = 64  # lines of a document after which it is told how far it has been read
OnRead = Callable[[int], None]
_Records = Iterator["tuple[int, Any] | BadRow"]


def read_file(path: Path, name: str, section: DatasetSection, on_read: OnRead) -> Iterator[Material]:
    """All that one file holds, good and bad, in order; a file that can't be read is one bad row with line 0.

    Args:
        path: the file; what it is, is judged by its content.
        name: how to call it: relative to the project.
        section: `[dataset]` of the configuration.
        on_read: called after each row with the bytes of the file read so far.

    Raises:
        DataError: a table without the columns that the configuration names.
        ConfigError: the prompt's template names a column that isn't there.
    """
    yield from read_detected(path, name, section, detect(path, name, section), on_read)


def read_detected(
    path: Path, name: str, section: DatasetSection, found: Detected, on_read: OnRead
) -> Iterator[Material]:
    """The same, for a file that has been looked at; see `read_file`."""
    try:
        yield from _read(path, name, section, found, on_read)
    except OSError as error:  # gone or cut off since it was found, or a disk that fails
        yield BadRow(name, 0, "unreadable", cannot_read(error))


def _read(
    path: Path, name: str, section: DatasetSection, found: Detected, on_read: OnRead
) -> Iterator[Material]:
    check_told_columns(name, section, found)
    if not found.is_read:
        yield BadRow(name, 0, found.kind, found.refusal)
        return
    if found.container == "xlsx":
        yield from _from_workbook(path, name, section, found, on_read)
        return
    if found.shape is not None:
        yield from _from_records(name, _records(path, name, found, on_read), found.shape, section)
        return
    yield from _from_text(path, name, found, on_read)
    on_read(path.stat().st_size)


def check_told_columns(name: str, section: DatasetSection, found: Detected) -> None:
    """Columns that the configuration tells must be in each table; a table of turns needs none.

    Raises:
        DataError: one isn't there.
    """
    if (
        not found.columns
        or found.shape is None
        or found.shape.name in {"turns", "messages", "sharegpt", "preference"}
    ):
        return
    wanted = [*filter(None, told_columns(section, found.columns)), *filter(None, [section.group_column])]
    for column in wanted:
        if column not in found.columns:
            raise DataError(
                f"{name}:1: {missing_column(column, found.columns)}",
                "name the columns in anchorhold.toml: dataset.prompt_column, answer_column, group_column",
            )


def _records(path: Path, name: str, found: Detected, on_read: OnRead) -> _Records:
    if found.container in {"parquet", "arrow"}:
        yield from _columnar_records(path, name, found, on_read)
        return
    with TextFile(path, found.encoding) as file:
        if found.container == "jsonl":
            yield from _line_records(file, name, on_read)
        elif found.container == "json":
            for one in json_values(file.stream, material.MAX_LINE_BYTES, found.inside):
                yield BadRow(name, one.line, one.kind, one.fault) if one.kind else (one.line, one.value)
                on_read(file.read)
        else:
            for row in table_rows(file, name, found.dialect):
                if isinstance(row, BadRow):
                    yield row
                elif fault := fault_of(row.cells, found.columns):
                    yield BadRow(name, row.line, *fault)
                else:
                    yield row.line, dict(zip(found.columns, row.cells, strict=True))
                on_read(file.read)


def _line_records(file: TextFile, name: str, on_read: OnRead) -> _Records:
    for number, line in file.lines():
        if line is None:
            yield long_line(name, number)
        elif line.strip():
            yield _json_record(name, number, line)
        on_read(file.read)


def by_lines(found: Detected) -> bool:
    """Whether each line of a file can be read without the others."""
    return (
        found.is_read
        and found.container == "jsonl"
        and found.shape is not None
        and found.shape.name != "turns"
    )


def read_lines(
    name: str, first: int, data: bytes, found: Detected, section: DatasetSection
) -> Iterator[Material]:
    """What some lines of a file hold for which `by_lines` is true; together they give what `read_detected` does.

    Args:
        name: of the file.
        first: number of the first line.
        data: whole lines.
        found: what the file was taken for.
        section: `[dataset]` of the configuration.

    Raises:
        ConfigError: as `read_file`.
    """
    assert found.shape is not None
    records = (
        _json_record(name, number, line)
        for number, line in enumerate(io.BytesIO(data), start=first)
        if line.strip()
    )
    yield from _from_records(name, records, found.shape, section)


def _json_record(name: str, number: int, line: bytes) -> tuple[int, Any] | BadRow:
    def bad(kind: str, reason: str) -> BadRow:
        return BadRow(name, number, kind, reason)

    if b"\0" in line:
        return bad("binary", "it holds a NUL byte; is it binary data?")
    try:
        return number, json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return not_utf8(name, number, error)
    except json.JSONDecodeError as error:
        return bad("broken-json", f"broken JSON: {error.msg} at column {error.colno}")
    except (RecursionError, ValueError):
        return bad("broken-json", "broken JSON: nested too deeply or a number too long")


def _columnar_records(path: Path, name: str, found: Detected, on_read: OnRead) -> _Records:
    size = path.stat().st_size
    number = 0
    try:
        for record in columnar_rows(path, found.container, lambda share: on_read(int(size * share))):
            number += 1
            yield number, record
    except ColumnarFault as error:
        yield BadRow(name, number + 1, "damaged", f"it can't be read from this row on: {error}")


def _from_workbook(
    path: Path, name: str, section: DatasetSection, found: Detected, on_read: OnRead
) -> Iterator[Material]:
    """The rows of all sheets with the first one's columns; of several each goes by its name too."""
    assert found.shape is not None
    size = path.stat().st_size
    try:
        with Workbook(path) as book:
            sheets = book.sheets(HEADER_NAMES)
            for number, sheet in enumerate(sheets):
                called = name if len(sheets) == 1 else f"{name}[{sheet.name}]"
                if sheet.columns != found.columns:
                    reason = f"other columns than in sheet {sheets[0].name!r}: save it as a file of its own"
                    yield BadRow(called, 0, "sheet", reason)
                    continue

                def read(share: float, done: int = number) -> None:
                    on_read(int(size * (done + share) / len(sheets)))

                yield from _from_records(
                    called, _sheet_records(book, sheet, called, read), found.shape, section
                )
    except OfficeFault as fault:
        yield BadRow(name, 0, fault.kind, str(fault))


def _sheet_records(book: Workbook, sheet: Sheet, called: str, on_share: Callable[[float], None]) -> _Records:
    for row in book.rows(sheet, called, on_share):
        yield row if isinstance(row, BadRow) else (row.line, dict(zip(sheet.columns, row.cells, strict=True)))


def _from_records(name: str, records: _Records, shape: Shape, section: DatasetSection) -> Iterator[Material]:
    if shape.name == "turns" and shape.columns is not None:
        faults = Faults()

        def good() -> Iterator[tuple[int, Mapping[str, Any]]]:
            for record in records:
                if isinstance(record, BadRow):
                    faults.add(record)
                elif isinstance(record[1], dict):
                    yield record[0], record[1]
                else:
                    reason = f"a JSON {type(record[1]).__name__}, not an object"
                    faults.add(BadRow(name, record[0], "messages", reason))

        for transcript in collect_turns(name, good(), shape.columns):
            yield from faults.take()
            yield transcript
        yield from faults.take()
        return
    for record in records:
        if isinstance(record, BadRow):
            yield record
            continue
        line, value = record
        try:
            if shape.name == "dialogue":
                yield _dialogue(name, line, value, shape)
            elif shape.name == "texts":
                yield _text_document(name, line, value, shape)
            else:
                made = to_conversation(value, shape, section)
                told = told_cells(value, section)
                yield RawRow(name, line, made.messages, made.group, made.rejected, made.cuts, told=told)
        except Unfit as fault:
            yield BadRow(name, line, fault.kind, fault.reason)


def _dialogue(name: str, line: int, value: Any, shape: Shape) -> Transcript:
    """A conversation between people with names."""
    turns = value.get(shape.key) if isinstance(value, dict) else None
    keys = turn_keys(turns)
    if keys is None or not isinstance(turns, list):
        raise Unfit("messages", f"no `{shape.key}` with turns")
    said = tuple(Turn(str(turn.get(keys[0]) or ""), str(turn.get(keys[1]) or ""), line) for turn in turns)
    return Transcript(name, line, str(value.get("id", "") or ""), said)


def _text_document(name: str, line: int, value: Any, shape: Shape) -> Document:
    text = value.get(shape.key) if isinstance(value, dict) else None
    if not isinstance(text, str) or not text.strip():
        raise Unfit("empty", f"no text in `{shape.key}`")
    title = next(
        (str(value[key]) for key in TITLES if key != shape.key and isinstance(value.get(key), str)), ""
    )
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    blocks = tuple(Block(part.strip("\n"), (title,) if title else (), line) for part in paragraphs)
    extra = {
        str(key): str(one)
        for key, one in value.items()
        if key in {"id", "source", "url"} and isinstance(one, (str, int))
    }
    return Document(name, title or f"{name}:{line}", blocks, extra)


def _from_text(path: Path, name: str, found: Detected, on_read: OnRead) -> Iterator[Material]:
    metadata: dict[str, str] = {}
    count = 0
    try:
        if found.container == "pdf":
            for one in documents(name, pdf_blocks(path, name, metadata), metadata):
                count += isinstance(one, Document)
                yield one
        elif found.container == "docx":
            for one in documents(name, docx_blocks(path, metadata), metadata):
                count += 1
                yield one
        elif found.container == "html":
            for one in documents(name, html_blocks(path, found.encoding, metadata), metadata):
                count += 1
                yield one
        else:
            for thing in _from_lines(path, name, found, metadata, on_read):
                count += not isinstance(thing, BadRow)
                yield thing
    except (PdfFault, HtmlFault) as fault:
        yield BadRow(name, 0, "document", str(fault))
        return
    except OfficeFault as fault:
        yield BadRow(name, 0, fault.kind, str(fault))
        return
    if not count:
        yield BadRow(name, 0, "empty-file", "no text in it")


def _from_lines(
    path: Path, name: str, found: Detected, metadata: dict[str, str], on_read: OnRead
) -> Iterator[Material]:
    faults = Faults()
    with TextFile(path, found.encoding) as file:

        def lines() -> Iterator[tuple[int, str]]:
            for one in lines_of(file, name):
                if isinstance(one, BadRow):
                    faults.add(one)
                    continue
                yield one
                if one[0] % _LINES_TOLD == 0:
                    on_read(file.read)

        def told(blocks: Iterator[Block]) -> Iterator[Block | BadRow]:
            for block in blocks:
                yield from faults.take()
                yield block
            yield from faults.take()

        def included(number: int, target: str) -> None:
            reason = (
                f"a directive to include {target!r} is not followed; name the file in dataset.sources instead"
            )
            faults.add(BadRow(name, number, "include", reason, made=True))

        things: Iterator[Material]
        if found.style is not None:
            things = read_log(name, found.style, lines())
        elif found.container == "markdown":
            things = documents(name, told(markdown_blocks(lines(), metadata, included)), metadata)
        else:
            things = documents(name, told(text_blocks(lines(), included)), metadata)
        for thing in things:
            if isinstance(thing, Document) and "title" in metadata and found.container == "markdown":
                metadata["title"] = plain_markdown(metadata["title"])
            yield from faults.take()
            yield thing
    yield from faults.take()
