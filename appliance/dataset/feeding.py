"""From files to portions: a small file whole, a large one of JSON lines in blocks, others as they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.collecting import Collector
from appliance.dataset.reading import (
    BadRow,
    Detected,
    Material,
    RawRow,
    by_lines,
    cannot_read,
    check_told_columns,
    detect,
    long_line,
    read_detected,
)
from appliance.dataset.reading.text_encoding import TextFile
from appliance.dataset.row_batches import (
    Batch,
    Lines,
    Portion,
    SourceFile,
    Things,
    WholeFile,
    file_state,
    source_file,
)
from appliance.dataset.telling import STAGE, Telling
from appliance.dataset.told_kinds import check_told_kinds, columns_without_rows
from appliance.events import Event
from appliance.visible import visible

SMALL_FILE = 1024 * 1024
"""Bytes up to which a file is one portion."""
_BLOCK_BYTES = 512 * 1024
_BLOCK_THINGS = 1000


def _line_portions(
    path: Path, name: str, found: Detected, on_read: Callable[[int], None]
) -> Iterator[Portion]:
    lines: list[bytes] = []
    size, first = 0, 1
    with TextFile(path, found.encoding) as file:
        for number, line in file.lines():
            if line is not None:
                lines.append(line)
                size += len(line)
            if size >= _BLOCK_BYTES or line is None:
                yield Lines(name, found, first, b"".join(lines))
                lines, size, first = [], 0, number + 1
                on_read(file.read)
            if line is None:
                yield Things(name, [long_line(name, number)])
    yield Lines(name, found, first, b"".join(lines))


def _portions(
    path: Path, name: str, found: Detected, section: DatasetSection, on_read: Callable[[int], None]
) -> Iterator[Portion]:
    """What a large file holds, in order."""
    if by_lines(found):
        check_told_columns(name, section, found)
        yield from _line_portions(path, name, found, on_read)
        return
    things: list[Material] = []
    begun = now = 0

    def told(read: int) -> None:
        nonlocal now
        now = read

    for thing in read_detected(path, name, section, found, told):
        things.append(thing)
        small = isinstance(thing, (RawRow, BadRow))
        if not small or len(things) >= _BLOCK_THINGS or now - begun >= _BLOCK_BYTES:
            yield Things(name, things)
            things, begun = [], now
            on_read(now)
    yield Things(name, things)


def read_all(collector: Collector, files: list[tuple[Path, str, bool]]) -> list[dict[str, Any]]:
    """Feed every file to the collector; returns the card's list of sources.

    Args:
        collector: has taken all of it when this returns.
        files: (path, name, whether it is a test file).
    """
    sizes = [file_state(path)[0] for path, _, _ in files]
    tell = Telling(collector.emit, "reading", sum(sizes), "bytes")
    tell.begin()
    sources: list[dict[str, Any]] = []
    before = 0
    for (path, name, test), size in zip(files, sizes, strict=True):
        source: dict[str, Any] = {"name": name, "bytes": size, "sha256": "", "rows": 0, "test": test}
        sources.append(source)
        if size <= SMALL_FILE:
            collector.take(WholeFile(name, path), test, _Ledger(collector, source, tell, before + size))
        else:
            _read_large(collector, path, name, test, source, before, tell)
        before += size
    collector.flush()
    for pair in collector.pairs.make():
        collector.add_pair(pair)
    collector.flush()
    check_told_kinds(collector.project.config.dataset.redact, collector.told, collector.columns)
    for source in sources:
        if made := collector.pairs.by_file.get(str(source["name"])):
            source["pairs"] = dict(sorted(made.items()))
    return sources


class _Ledger:
    """Writes down what a batch brings to a source's entry, and how far the reading is."""

    def __init__(
        self,
        collector: Collector,
        source: dict[str, Any],
        tell: Telling,
        done: int,
        described: SourceFile | None = None,
    ) -> None:
        self._collector, self._source, self._tell, self._done = collector, source, tell, done
        self._described = described

    def __call__(self, batch: Batch) -> None:
        self._source["rows"] += batch.raw
        if described := batch.source or self._described:
            describe(self._collector, self._source, described)
        self._tell(self._done)


def describe(collector: Collector, source: dict[str, Any], file: SourceFile) -> None:
    """Complete a source's entry, and warn of what was assumed."""
    found, name, evidence = file.found, source["name"], collector.maker.told(file.found.evidence)
    source |= {"bytes": file.size, "sha256": file.sha256, "format": found.format, "evidence": evidence}
    if collector.maker.told(name) != name:
        text = (
            f"{visible(name, 0)}: the file's name looks like personal data; names of files are not redacted"
        )
        collector.emit(Event(STAGE, "warning", text))
    collector.columns.update(dict.fromkeys(found.columns))
    for column in columns_without_rows(found, collector.project.config.dataset):
        text = f"`{visible(column, 0)}` makes no part of a row here, so what it holds isn't looked for"
        collector.emit(Event(STAGE, "warning", f"{visible(name, 0)}: {text}"))
    for note in found.assumed:
        text = f"{visible(name, 0)}: {note}: {visible(evidence, 300)}"
        collector.emit(Event(STAGE, "warning", text))
    if file.changed:
        _tell_changed(collector, name)


def _tell_changed(collector: Collector, name: str) -> None:
    text = f"{visible(name, 0)}: it changed while it was read; its digest may be that of another content"
    collector.emit(Event(STAGE, "warning", text))


def _read_large(
    collector: Collector,
    path: Path,
    name: str,
    test: bool,
    source: dict[str, Any],
    before: int,
    tell: Telling,
) -> None:
    section = collector.project.config.dataset
    # In two passes over the file that give no rows yet: tens of seconds for one of many gigabytes.
    collector.emit(Event(STAGE, "progress", f"looking at {visible(name, 0)}"))
    state = file_state(path)
    found = detect(path, name, section)
    described: SourceFile | None = source_file(path, state, found)
    done = 0

    def on_read(read: int) -> None:
        nonlocal done
        done = read

    for portion in _readable(name, _portions(path, name, found, section, on_read)):
        on_batch = _Ledger(collector, source, tell, before + done, described)
        described = None
        if isinstance(portion, Things) and not any(isinstance(thing, RawRow) for thing in portion.things):
            collector.hand_over(collector.maker.make(portion), test, on_batch)
        else:
            collector.take(portion, test, on_batch)

    def last(_: Batch) -> None:
        if file_state(path) != state:
            _tell_changed(collector, name)

    collector.hand_over(collector.maker.batch([]), test, last)


def _readable(name: str, portions: Iterator[Portion]) -> Iterator[Portion]:
    """The portions, and what became of a file that is gone or cut off since it was found."""
    try:
        yield from portions
    except OSError as error:
        yield Things(name, [BadRow(name, 0, "unreadable", cannot_read(error))])
