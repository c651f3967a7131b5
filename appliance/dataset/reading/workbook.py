"""XLSX sheets as tables through openpyxl, row by row, after the archive has been looked at.

A formula counts as the value that was saved with it; hidden sheets are left out.
"""

from __future__ import annotations

import datetime
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from appliance.dataset.reading.material import BadRow
from appliance.dataset.reading.office_archive import OfficeFault, check_archive
from appliance.dataset.reading.tables import SAMPLE_ROWS, Cells, Dialect, column_names, has_header
from appliance.visible import on_one_line

MAX_ROWS = 1_048_576  # of a sheet: what a spreadsheet program can hold
MAX_CELLS = 64 * MAX_ROWS  # looked at in one sheet, empty ones too: a row may claim eighteen thousand
_NAME_ROWS = 20  # titles and notes may stand above the columns' names
_ERRORS = frozenset({"#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"})


@dataclass(frozen=True)
class Sheet:
    """A sheet with a table.

    Attributes:
        name: as its tab shows it.
        first: the number of the row with the columns' names; 0: it has none.
        places: which columns are read, from 0; those that hold nothing are left out.
        columns: their names.
        sample: the first rows below the names.
    """

    name: str
    first: int
    places: tuple[int, ...]
    columns: tuple[str, ...]
    sample: tuple[tuple[str, ...], ...]


def _text(value: Any) -> str:
    """A cell as its reader sees it: no `.0` behind whole numbers, dates as ISO 8601."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, datetime.datetime):
        day_only = value.time() == datetime.time()
        return value.date().isoformat() if day_only else value.isoformat(" ")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def _numbered(sheet: Any) -> Iterator[Cells]:
    """The rows that hold something, without the empty cells at their ends."""
    seen = 0
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        seen += len(values)
        if number > MAX_ROWS or seen > MAX_CELLS:
            raise OfficeFault("zip-bomb", f"a sheet of more than {MAX_ROWS} rows or {MAX_CELLS} cells")
        cells = [_text(value) for value in values]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield Cells(number, cells)


def _table_of(name: str, rows: Sequence[Cells], known: frozenset[str]) -> Sheet | None:
    """Where the table of a sheet begins and what its columns are called; None: it holds none."""
    filled = [sum(bool(cell.strip()) for cell in row.cells) for row in rows]
    usual = Counter(filled).most_common(1)[0][0] if filled else 0
    if usual < 2:  # a list or a note
        return None
    begin = next(place for place, count in enumerate(filled) if count >= usual)
    if begin >= _NAME_ROWS:
        begin = 0
    width = max(len(row.cells) for row in rows[begin:])
    wide = [[*row.cells, *[""] * (width - len(row.cells))] for row in rows[begin:]]
    places = tuple(place for place in range(width) if any(row[place].strip() for row in wide))
    chosen = [[row[place] for place in places] for row in wide]
    header = len(chosen) > 1 and has_header(chosen, known)
    columns = column_names(Dialect(header=header), chosen[0])
    sample = tuple(tuple(row) for row in (chosen[1:] if header else chosen))
    return Sheet(name, rows[begin].line if header else 0, places, tuple(columns), sample)


class Workbook:
    """An open XLSX file.

    Raises:
        OfficeFault: a bomb, entities, damaged, locked.
    """

    def __init__(self, path: Path) -> None:
        check_archive(path)
        import openpyxl

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it doesn't know and leaves out: styles, validations
            try:
                self._book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
            except Exception as error:  # many kinds at a damaged part
                raise _damaged(error) from error

    def __enter__(self) -> Workbook:
        return self

    def __exit__(self, *_: object) -> None:
        self._book.close()

    def sheets(self, known: frozenset[str]) -> list[Sheet]:
        """The visible sheets that hold a table, in their order.

        Args:
            known: names, in lower case, that stand in headers.

        Raises:
            OfficeFault: damaged.
        """
        found = []
        for sheet in self._book.worksheets:
            if getattr(sheet, "sheet_state", "visible") != "visible" or not hasattr(
                sheet, "reset_dimensions"
            ):
                continue
            rows = list(islice(self._rows(sheet.title), SAMPLE_ROWS))
            if (table := _table_of(sheet.title, rows, known)) is not None:
                found.append(table)
        return found

    def rows(
        self, sheet: Sheet, name: str, on_share: Callable[[float], None] = lambda _: None
    ) -> Iterator[Cells | BadRow]:
        """The rows of a table below its names, each as wide as they are.

        Args:
            sheet: which.
            name: how bad rows call the file.
            on_share: told which share of the sheet has been read, by what the sheet says of its size.

        Raises:
            OfficeFault: damaged.
        """
        total = max(1, self._book[sheet.name].max_row or 1)
        last = sheet.places[-1] if sheet.places else 0
        for row in self._rows(sheet.name):
            if row.line <= sheet.first:
                continue
            on_share(min(1.0, row.line / total))
            cells = [*row.cells, *[""] * (last + 1 - len(row.cells))]
            over = next((place for place in range(last + 1, len(cells)) if cells[place].strip()), None)
            error = next((cells[place] for place in sheet.places if cells[place] in _ERRORS), None)
            if over is not None:
                reason = f"a cell in column {over + 1}, where the names end at column {last + 1}"
                yield BadRow(name, row.line, "columns", reason)
            elif error is not None:
                yield BadRow(name, row.line, "cell-error", f"a cell holds the error {error}")
            elif any(cells[place].strip() for place in sheet.places):
                yield Cells(row.line, [cells[place] for place in sheet.places])

    def _rows(self, title: str) -> Iterator[Cells]:
        sheet = self._book[title]
        sheet.reset_dimensions()  # what the file says of its size may be wrong, and would cut it off
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield from _numbered(sheet)
        except OfficeFault:
            raise
        except Exception as error:
            raise _damaged(error) from error


def _damaged(error: Exception) -> OfficeFault:
    return OfficeFault("damaged", f"a damaged XLSX: {on_one_line(str(error), 200) or type(error).__name__}")
