"""What a file is, judged by its content: container, encoding, and what its objects are. The suffix breaks ties."""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from appliance.config import CONTAINERS, SHAPES, SKIP, DatasetSection
from appliance.dataset.reading import columns as column_names_of
from appliance.dataset.reading import material
from appliance.dataset.reading.columnar import ColumnarFault, columnar_rows
from appliance.dataset.reading.json_values import json_values
from appliance.dataset.reading.log_styles import BY_NAME, LogStyle, find_style, looks_like_log
from appliance.dataset.reading.office_archive import OfficeFault
from appliance.dataset.reading.shapes import Shape, find_shape
from appliance.dataset.reading.signatures import by_signature
from appliance.dataset.reading.tables import (
    Dialect,
    column_names,
    find_dialect,
    is_table,
    sample_lines,
)
from appliance.dataset.reading.text_encoding import TextEncoding, TextFile, sniff
from appliance.dataset.reading.workbook import Workbook

SAMPLE = 50  # objects looked at
_HEAD = 64 * 1024
_LINE_LOOKED_AT = 2000  # characters of a line of text that tell what it is
_SAMPLE_BYTES = 4 * 1024 * 1024
_JSON_LINES = {".jsonl", ".ndjson"}
_TABLES = {".csv": ",;\t|", ".tsv": "\t", ".tab": "\t"}
_TEXTS = {".txt", ".text", ".md", ".markdown", ".rst", ".log", ".asc", ""}
_MARKDOWN = {".md", ".markdown", ".mdown", ".mkd", ".qmd"}
_PAGES = {".html", ".htm", ".xhtml"}
_HTML = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--(?:(?!-->).)*+-->\s*+)*+<(?:!doctype\s+html|html|head|body)\b",
    re.I | re.S,
)
_MARKS = (
    ("headings", re.compile(r"^#{1,6} \S", re.M)),
    ("links", re.compile(r"\[[^\[\]\n]{1,200}\]\([^()\s]{1,400}\)")),
    ("fenced code", re.compile(r"^(?:```|~~~)", re.M)),
    ("lists", re.compile(r"^[-*] \S", re.M)),
    ("emphasis", re.compile(r"\*\*\S[^*\n]{0,200}\*\*")),
    ("tables", re.compile(r"^\|.*\|\s*$", re.M)),
)
# Control characters but those that texts, terminals and chat logs hold.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\x0c\x1b\x08\x02\x03\x0f\x16\x1d\x1f"))
_FRONT_MATTER = re.compile(r"---[ \t]*\n(?:.*\n){0,200}?---[ \t]*\n")


@dataclass(frozen=True)
class Detected:
    """What a file was taken for.

    Attributes:
        container: one of `CONTAINERS`; empty: it isn't read.
        evidence: in words, the container's and the shape's.
        encoding: of a text.
        shape: what its objects are, where it holds objects.
        dialect, columns: of a table.
        style: of a chat log.
        inside: of a JSON object, that the list inside it is read.
        told: the configuration told it.
        kind, refusal: why it isn't read, as in `BadRow`.
    """

    container: str
    evidence: str = ""
    encoding: TextEncoding = field(default_factory=TextEncoding)
    shape: Shape | None = None
    dialect: Dialect = field(default_factory=Dialect)
    columns: tuple[str, ...] = ()
    style: LogStyle | None = None
    inside: bool = False
    told: bool = False
    kind: str = ""
    refusal: str = ""

    @property
    def format(self) -> str:
        """The name for people and cards, such as `jsonl messages` or `markdown`."""
        if not self.container:
            return "not read"
        parts = [self.container, self.shape.name if self.shape else self.style.name if self.style else ""]
        return " ".join(part for part in parts if part)

    @property
    def assumed(self) -> list[str]:
        """What nothing in the file says, so that somebody may look."""
        notes = []
        if self.encoding.assumed:
            notes.append(f"encoding taken for {self.encoding.told}")
        if self.container in {"table", "xlsx"} and not self.dialect.header:
            notes.append("the first row taken for data, so columns are numbered")
        if self.container == "table" and not self.dialect.quoted:
            notes.append("quotes taken for characters of the text")
        if self.shape is not None and self.shape.name and not self.shape.sure:
            notes.append("prompt and answer guessed")
        return notes

    @property
    def is_read(self) -> bool:
        """Whether rows, transcripts or documents can be expected."""
        return bool(self.container) and not self.refusal


def told_format(name: str, section: DatasetSection) -> str:
    """What `dataset.formats` says of a file; empty: nothing. The last pattern that fits wins."""
    told = [kind for pattern, kind in section.formats.items() if fnmatch.fnmatchcase(name, pattern)]
    return told[-1] if told else ""


def _refuse(kind: str, reason: str) -> Detected:
    return Detected("", reason, kind=kind, refusal=reason)


def _with_shape(found: Detected, shape: Shape, container_told: str) -> Detected:
    evidence = f"{container_told}: {shape.evidence}" if container_told else shape.evidence
    return replace(found, evidence=evidence, shape=shape, kind=shape.kind, refusal=shape.refusal)


def _line_records(lines: Sequence[str]) -> list[Any]:
    records = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return records


def _head_lines(path: Path, encoding: TextEncoding, most: int) -> list[str]:
    """The first lines that hold something, without those too long or no UTF-8."""
    lines: list[str] = []
    size = 0
    with TextFile(path, encoding) as file:
        for _, line in file.text_lines():
            if line is None:
                size += _SAMPLE_BYTES // 4
            elif line.strip():
                lines.append(line)
                size += len(line)
            if len(lines) >= most or size >= _SAMPLE_BYTES:
                break
    return lines


def _json_lines(lines: Sequence[str], suffix: str) -> list[Any] | None:
    """The values of the first lines, where most lines are a whole JSON object or list; None: it is no JSON lines."""
    if not lines:
        return None
    records = [one for one in _line_records(lines[:SAMPLE]) if isinstance(one, (dict, list))]
    looked = min(len(lines), SAMPLE)
    if suffix in _JSON_LINES:
        return records
    if len(records) * 2 <= looked or not records:
        return None
    if len(lines) == 1:
        # One object on one line: a row by itself, or something that holds a list of rows.
        return records if isinstance(records[0], dict) and not _list_inside(records[0]) else None
    return records if lines[0].strip()[-1] in "}]" else None


def _list_inside(record: dict[str, Any]) -> str:
    """The field of an object that holds a list of objects or lists and isn't itself a conversation."""
    if find_shape([record], DatasetSection()).name in {
        "messages",
        "sharegpt",
        "preference",
        "dialogue",
        "alpaca",
    }:
        return ""
    return next(
        (
            key
            for key, value in record.items()
            if isinstance(value, list) and value and isinstance(value[0], (dict, list))
        ),
        "",
    )


def _values(path: Path, encoding: TextEncoding, inside: bool, most: int) -> list[Any]:
    with TextFile(path, encoding) as file:
        values = json_values(file.stream, material.MAX_LINE_BYTES, inside)
        return [one.value for one in islice(values, most) if not one.kind]


def _looks_like_json(path: Path, encoding: TextEncoding) -> bool:
    """Whether most of the first values can be read and are more than numbers (a log's `[12:30]` is no list)."""
    with TextFile(path, encoding) as file:
        first = list(islice(json_values(file.stream, material.MAX_LINE_BYTES, True), 20))
    good = sum(not one.kind and isinstance(one.value, (dict, list, str)) for one in first)
    return good * 2 > len(first)


def _json(path: Path, encoding: TextEncoding, section: DatasetSection, told: str) -> Detected:
    with TextFile(path, encoding) as file:
        first = file.stream.read(4096).lstrip()[:1]
    inside = False
    container = "a JSON array"
    if first == b"{":
        # Whole objects one after the other, or one that holds the list. A file's head decides.
        whole = _values(path, encoding, False, 2) if path.stat().st_size <= material.MAX_LINE_BYTES else []
        inside = not whole or (
            len(whole) == 1 and isinstance(whole[0], dict) and bool(_list_inside(whole[0]))
        )
        container = "a JSON object with a list inside" if inside else "JSON objects"
    records = _values(path, encoding, inside, SAMPLE)
    found = Detected("json", encoding=encoding, inside=inside)
    if not records:
        return _refuse("broken-json", "it begins like JSON, but no value in it can be read")
    return _with_shape(found, find_shape(records, section, told), container)


def _table(
    path: Path, encoding: TextEncoding, section: DatasetSection, told: str, suffix: str, must: bool
) -> Detected | None:
    with TextFile(path, encoding) as file:
        lines = sample_lines(file)
    if not lines:
        return None
    wanted = frozenset(filter(None, (section.prompt_column, section.answer_column, section.group_column)))
    found = find_dialect(lines, wanted, column_names_of.HEADER_NAMES, _TABLES.get(suffix, ",;\t|"))
    if found is None:
        return None
    dialect, rows = found
    if not must and not is_table(rows):
        return None
    names = column_names(dialect, rows[0])
    if must and len(names) < 2 and suffix not in _TABLES:
        return None
    body = rows[1:] if dialect.header else rows
    records = [dict(zip(names, row, strict=True)) for row in body if len(row) == len(names)]
    result = Detected("table", encoding=encoding, dialect=dialect, columns=tuple(names))
    told_container = f"a table of {len(names)} columns parted by {dialect.parted}"
    if len(set(names)) != len(names):
        return replace(
            result,
            kind="columns",
            refusal="two columns have the same name: rename one of them",
            evidence=told_container,
        )
    if not records:
        return replace(
            result,
            kind="columns",
            refusal="a table without a row that is as wide as its header",
            evidence=told_container,
        )
    return _with_shape(result, find_shape(records, section, told), told_container)


def _workbook(path: Path, words: str, section: DatasetSection, told: str) -> Detected:
    try:
        with Workbook(path) as book:
            sheets = book.sheets(column_names_of.HEADER_NAMES)
    except OfficeFault as fault:
        return _refuse(fault.kind, f"{words}: {fault}")
    if not sheets:
        return _refuse("columns", f"{words} without a visible sheet of two columns or more")
    first = sheets[0]
    found = Detected("xlsx", columns=first.columns, dialect=Dialect(header=first.first > 0))
    container = f"{words}, its sheet {first.name!r} of {len(first.columns)} columns"
    if len(set(first.columns)) != len(first.columns):
        reason = f"two columns of its sheet {first.name!r} have the same name: rename one of them"
        return replace(found, kind="columns", refusal=reason, evidence=container)
    records = [dict(zip(first.columns, row, strict=True)) for row in first.sample[:SAMPLE]]
    return _with_shape(found, find_shape(records, section, told), container)


def _columnar(path: Path, container: str, words: str, section: DatasetSection, told: str) -> Detected:
    try:
        records = list(islice(columnar_rows(path, container), SAMPLE))
    except ColumnarFault as error:
        return _refuse("damaged", f"{words}, damaged: {error}")
    columns = tuple(dict.fromkeys(str(key) for record in records for key in record))
    found = Detected(container, columns=columns)
    return _with_shape(found, find_shape(records, section, told), words)


def _markdown_evidence(text: str, suffix: str) -> str:
    marks = [name for name, pattern in _MARKS if pattern.search(text)]
    front = bool(_FRONT_MATTER.match(text))
    heading = bool(_MARKS[0][1].search(text))
    if front:
        marks.insert(0, "front matter")
    if suffix in _MARKDOWN:
        return f"Markdown: {', '.join(marks) or 'plain text'}, and its name"
    if front or (heading and len(marks) >= 2) or len(marks) >= 3:
        return f"Markdown: {', '.join(marks)}"
    return ""


def _is_prose(text: str) -> bool:
    """Whether a text is sentences rather than settings or a program: mostly letters and spaces, in lines of words."""
    letters = sum(character.isalpha() or character in " \n" for character in text)
    words = [len(line.split()) for line in text.splitlines() if line.strip()]
    return letters >= 0.8 * len(text) and bool(words) and sum(words) >= 4 * len(words)


def _binary_kind(head: bytes, encoding_mark: bool) -> str:
    if encoding_mark:
        return ""
    controls = len(head) - len(head.translate(None, _CONTROLS))
    if head.count(0) * 50 > len(head) or controls * 20 > len(head):
        return "not text: it begins with binary data"
    return ""


def _text_formats(path: Path, encoding: TextEncoding, suffix: str, container: str, style: str) -> Detected:
    lines = _head_lines(path, encoding, 2000)
    lines = [line[:_LINE_LOOKED_AT] for line in lines]
    text = "\n".join(lines)[: 256 * 1024]
    page = bool(_HTML.match(text))
    if container == "transcript" or (not container and not page):
        if style:
            return Detected("transcript", "", encoding, style=BY_NAME[style])
        found = find_style(lines) if container or suffix not in _MARKDOWN | _PAGES else None
        if found is not None:
            return Detected("transcript", found.evidence, encoding, style=found.style)
        if container:
            return _refuse(
                "format", "no style of chat log fits its lines; dataset.formats tells a transcript"
            )
    if container == "html" or (not container and (page or (suffix in _PAGES and "<" in text))):
        return Detected("html", "HTML: it begins as a page does", encoding)
    if container == "markdown":
        return Detected("markdown", "", encoding)
    if not container and (evidence := _markdown_evidence(text, suffix)):
        return Detected("markdown", evidence, encoding)
    if not container and looks_like_log(lines):
        return _refuse(
            "unknown",
            "its lines have times as a log's do, and no style of chat log fits; dataset.formats tells one, or `text`",
        )
    if container == "text" or suffix in _TEXTS or _is_prose(text):
        return Detected("text", "plain text", encoding)
    return _refuse(
        "unknown", "text, but neither rows nor a conversation nor prose; dataset.formats can tell what it is"
    )


def detect(path: Path, name: str, section: DatasetSection) -> Detected:
    """What a file is taken for, and why.

    Args:
        path: the file.
        name: how the configuration and errors call it: relative to the project.
        section: `[dataset]`.
    """
    told = told_format(name, section)
    if told == SKIP:
        return _refuse("skipped", "left out, as dataset.formats tells")
    try:
        found = _detect(path, section, told)
    except OSError as error:
        return _refuse("unreadable", material.cannot_read(error))
    if not told:
        return found
    note = f"told by dataset.formats: {told}"
    return replace(found, told=True, evidence=f"{note}; {found.evidence}" if found.evidence else note)


def _detect(path: Path, section: DatasetSection, told: str) -> Detected:
    suffix = path.suffix.lower()
    shape = told if told in SHAPES else ""
    container = told if told in CONTAINERS else "transcript" if told in BY_NAME else ""
    style = told if told in BY_NAME else ""
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head.strip():
        return _refuse("empty-file", "an empty file")
    if (signature := by_signature(path, head)) is not None:
        kind, words = signature
        if container and container != kind:
            return _refuse("format", f"{words}, not {container} as dataset.formats tells")
        if not kind:
            return _refuse("binary", words)
        if kind in {"parquet", "arrow"}:
            return _columnar(path, kind, words, section, shape)
        if kind == "xlsx":
            return _workbook(path, words, section, shape)
        return Detected(kind, words)
    if container in {"xlsx", "parquet", "arrow", "pdf", "docx"}:
        return _refuse("format", f"it doesn't begin as {container} does, which dataset.formats tells")
    encoding = sniff(path)
    if reason := _binary_kind(head, encoding.mark > 0 or encoding.name.startswith("utf-16")):
        return _refuse("binary", reason)
    if container in {"transcript", "markdown", "text", "html"}:
        return _text_formats(path, encoding, suffix, container, style)
    if container in {"table", "csv", "tsv"}:
        table = _table(
            path,
            encoding,
            section,
            "",
            ".tsv" if container == "tsv" else suffix if suffix in _TABLES else ".csv",
            True,
        )
        return table or _refuse("format", "no table, as dataset.formats tells")
    lines = _head_lines(path, encoding, SAMPLE)
    begins = lines[0].lstrip()[:1] if lines else ""
    if container in {"", "jsonl"} and (begins in "{[" or suffix in _JSON_LINES or container == "jsonl"):
        records = _json_lines(lines, suffix if not container else ".jsonl")
        if records is not None:
            result = Detected("jsonl", encoding=encoding)
            if not records:
                told_shape = Shape("messages", "JSON lines by its name; none of its first lines is an object")
                return _with_shape(result, told_shape, "")
            return _with_shape(result, find_shape(records, section, shape), "JSON lines")
    may_be_json = bool(begins) and begins in "{["
    if container == "json" or (may_be_json and (suffix == ".json" or _looks_like_json(path, encoding))):
        return _json(path, encoding, section, shape)
    if suffix in _TABLES:
        table = _table(path, encoding, section, shape, suffix, True)
        if table is not None:
            return table
    lines = [line[:_LINE_LOOKED_AT] for line in lines]
    by_lines = suffix not in _MARKDOWN | _PAGES and not _HTML.match("\n".join(lines))
    if by_lines and find_style(lines) is None:
        table = _table(path, encoding, section, shape, "", bool(shape))
        if table is not None and (shape or (table.shape is not None and table.shape.name)):
            return table
    if shape:
        return _refuse("format", f"neither JSON nor a table, so no {shape} as dataset.formats tells")
    return _text_formats(path, encoding, suffix, "", "")


def lines_of(file: TextFile, name: str) -> Iterator[tuple[int, str] | material.BadRow]:
    """Numbered lines of a text; those too long or no UTF-8 as bad rows."""
    for number, line in file.lines():
        if line is None:
            yield material.long_line(name, number)
            continue
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            yield material.not_utf8(name, number, error)
