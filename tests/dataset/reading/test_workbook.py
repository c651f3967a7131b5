"""XLSX: real workbooks by openpyxl, and what a hostile one may claim."""

from __future__ import annotations

import datetime
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from appliance.config import DatasetSection
from appliance.dataset.reading import BadRow, RawRow, inspect_file, workbook
from tests.dataset.reading.conftest import Shelf, said

HEAD = ["question", "answer"]


def book_of(path: Path, **sheets: list[list[Any]]) -> Path:
    """A workbook of these sheets."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def with_sheet(path: Path, xml: str) -> Path:
    """The workbook with the XML of its first sheet replaced."""
    with zipfile.ZipFile(path) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    parts["xl/worksheets/sheet1.xml"] = (
        f'<worksheet xmlns="{space}"><sheetData>{xml}</sheetData></worksheet>'.encode()
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, data in parts.items():
            archive.writestr(one, data)
    return path


def test_a_sheet_is_a_table_with_rows_as_its_reader_sees_them(shelf: Shelf) -> None:
    day = datetime.datetime(2026, 3, 1)
    rows = [
        ["what a person keeps", None, None],
        [],
        [None, "question", "answer", None, "when"],
        [None, "how many?", 3.0, None, day],
        [None, "and now?", 2.5, None, day + datetime.timedelta(hours=3)],
        [],
        [None, "is it so?", True, None, None],
        [None, "=1+1", "=SUM(A1)", None, None],
    ]
    path = book_of(shelf.folder / "a.xlsx", Orders=rows)
    found = shelf.detect(path)
    assert (found.format, found.columns) == ("xlsx prompt-completion", ("question", "answer", "when"))
    things = shelf.read(path)
    good = [thing for thing in things if isinstance(thing, RawRow)]
    assert [(row.line, [text for _, text in said(row)]) for row in good] == [
        (4, ["how many?", "3"]),
        (5, ["and now?", "2.5"]),
        (7, ["is it so?", "TRUE"]),
    ]
    # A formula counts as the value that was saved with it, and here none was.
    assert all(isinstance(thing, RawRow) or thing.line == 8 for thing in things)


def test_sheets_alike_are_read_on_and_others_are_named(shelf: Shelf) -> None:
    path = shelf.folder / "year.xlsx"
    book_of(
        path,
        January=[HEAD, ["a?", "one"], ["b?", "two"]],
        Notes=[["ask Mary"], ["done"]],
        February=[HEAD, ["c?", "three"]],
        Prices=[["item", "price"], ["tea", 3], ["milk", 1]],
        Secret=[HEAD, ["hidden?", "yes"]],
    )
    book = openpyxl.load_workbook(path)
    book["Secret"].sheet_state = "hidden"
    book.save(path)
    things = shelf.read(path)
    rows = [(thing.file, thing.line) for thing in things if isinstance(thing, RawRow)]
    assert rows == [("year.xlsx[January]", 2), ("year.xlsx[January]", 3), ("year.xlsx[February]", 2)]
    (bad,) = [thing for thing in things if isinstance(thing, BadRow)]
    assert (bad.file, bad.kind) == ("year.xlsx[Prices]", "sheet") and "'January'" in bad.reason


def test_cells_with_errors_and_beyond_the_names_are_named(shelf: Shelf) -> None:
    rows = [
        HEAD,
        ["a?", "one"],
        ["b?", "#REF!"],
        ["c?", "three", None, "stray"],
        ["d?", None],
        ["e?", "five"],
    ]
    rows += [[f"more {number}?", "yes"] for number in range(600)]  # the stray cell lies below the sample
    rows.append(["f?", "six", "stray"])
    path = book_of(shelf.folder / "a.xlsx", One=[*rows[:3], *rows[4:], rows[3]])
    bad = [thing for thing in shelf.read(path) if isinstance(thing, BadRow)]
    assert [(one.line, one.kind) for one in bad[:1]] == [(3, "cell-error")]
    assert [one.kind for one in bad].count("columns") == 2
    assert "#REF!" in bad[0].reason


def test_what_is_no_table_is_refused_with_a_reason(shelf: Shelf) -> None:
    found = shelf.detect(book_of(shelf.folder / "a.xlsx", Notes=[["a list"], ["of"], ["words"]]))
    assert not found.is_read and "two columns" in found.refusal
    rows = [["question", "answer", "answer"], ["x", "y", "1"], ["z", "w", "2"]]
    found = shelf.detect(book_of(shelf.folder / "b.xlsx", One=rows))
    assert not found.is_read and "have the same name" in found.refusal


def test_a_cut_or_flipped_workbook_is_named(shelf: Shelf) -> None:
    path = book_of(shelf.folder / "a.xlsx", One=[HEAD, *[[f"{n}?", f"{n}"] for n in range(50)]])
    whole = path.read_bytes()
    for place in range(60, len(whole), 97):
        for damaged in (whole[:place], whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]):
            path.write_bytes(damaged)
            things = shelf.read(path)
            assert things and all(isinstance(thing, (RawRow, BadRow)) for thing in things)


@pytest.mark.parametrize(
    "xml",
    [
        '<row r="1"><c r="A1"><v>1</v></c></row><row r="999999999999"><c r="A999999999999"><v>1</v></c></row>',
        "".join(
            f'<row r="{n}"><c r="A{n}"><v>1</v></c><c r="ZZZ{n}"><v>2</v></c></row>' for n in range(1, 5000)
        ),
    ],
    ids=["a row beyond all", "rows as wide as can be"],
)
def test_a_sheet_that_claims_too_much_is_given_up(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, xml: str
) -> None:
    monkeypatch.setattr(workbook, "MAX_ROWS", 2000)
    monkeypatch.setattr(workbook, "MAX_CELLS", 1_000_000)
    path = with_sheet(book_of(shelf.folder / "a.xlsx", One=[HEAD, ["a", "b"]]), xml)
    things = shelf.read(path)
    assert [thing.kind for thing in things if isinstance(thing, BadRow)][-1:] == ["zip-bomb"]


def test_inspecting_shows_no_formula_or_control_code_raw(shelf: Shelf) -> None:
    path = book_of(
        shelf.folder / "a.xlsx", One=[HEAD, ["'=cmd()", "x"], ["+cmd|' /C calc'!A0", "y"], ["z", "w"]]
    )
    found = inspect_file(path, "a.xlsx", DatasetSection())
    text = "\n".join(found.lines())
    assert "'+cmd" in text and " +cmd" not in text
