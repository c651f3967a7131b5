"""Tables: delimiters, quotes, headers, columns guessed and told, turns, what is broken in them; Parquet and Arrow."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.dataset.reading import BadRow, RawRow, Transcript
from tests.dataset.reading.conftest import Shelf, said

NOTES = [(f"is P{number} up, please?", ["yes", "no", "slow"][number % 3]) for number in range(24)]


def table(delimiter: str, header: str = "question{}answer") -> str:
    lines = [header.format(delimiter)] if header else []
    for note, state in NOTES:
        lines.append(f'"{note}"{delimiter}{state}')
    return "\n".join(lines) + "\n"


def notes_of(rows: list[RawRow]) -> list[tuple[str, str]]:
    return [(said(row)[0][1], said(row)[1][1]) for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_delimiters_line_ends_and_any_suffix(shelf: Shelf, delimiter: str, name: str, end: str) -> None:
    path = shelf.write(name, table(delimiter).replace("\n", end))
    found = shelf.detect(path)
    assert (found.container, found.dialect.delimiter) == ("table", delimiter), found.evidence
    rows = shelf.all_of(RawRow, path)
    assert notes_of(rows) == NOTES
    assert [row.line for row in rows] == list(range(2, 26))


def test_a_table_without_a_header(shelf: Shelf) -> None:
    path = shelf.write("a.csv", table(",", header=""))
    found = shelf.detect(path)
    assert found.columns == ("column 1", "column 2")
    assert "the first row taken for data, so columns are numbered" in found.assumed
    assert notes_of(shelf.all_of(RawRow, path)) == NOTES


@pytest.mark.parametrize(
    ("header", "prompt", "answer", "sure"),
    [
        ("text,category", "text", "category", True),
        ("intent,utterance", "utterance", "intent", True),
        ("Customer Question,Agent Reply", "Customer Question", "Agent Reply", True),
        ("frage,antwort", "frage", "antwort", True),
        ("what,verdict", "what", "verdict", False),
    ],
)
def test_columns_by_name_and_by_content(
    shelf: Shelf, header: str, prompt: str, answer: str, sure: bool
) -> None:
    swapped = header.split(",")[0] == answer
    body = "".join(
        f"{state},note {note}\n" if swapped else f"note {note},{state}\n"
        for note, state in ((number, ["yes", "no"][number % 2]) for number in range(30))
    )
    found = shelf.detect(shelf.write("a.csv", f"{header}\n{body}"))
    assert found.shape is not None
    assert found.shape.mapping == {"prompt": prompt, "answer": answer}
    assert found.shape.sure == sure
    assert f"`{prompt}`" in found.evidence


def test_columns_that_nothing_tells_are_not_guessed(shelf: Shelf) -> None:
    lines = [f"name {number},street {number},town {number},shop {number}" for number in range(30)]
    path = shelf.write("a.csv", "a,b,c,d\n" + "\n".join(lines) + "\n")
    (bad,) = shelf.all_of(BadRow, path)
    assert bad.kind == "columns" and "'a', 'b', 'c', 'd'" in bad.reason and "prompt_column" in bad.reason
    rows = shelf.all_of(RawRow, path, prompt_column="a", answer_column="d")
    assert notes_of(rows)[0] == ("name 0", "shop 0")
    rows = shelf.all_of(RawRow, path, prompt_template="{a}, {b}", answer_column="d")
    assert notes_of(rows)[1] == ("name 1, street 1", "shop 1")


def test_quotes_of_a_tsv_that_are_characters(shelf: Shelf) -> None:
    lines = [f'"so he said {number}\tyes "or" no' for number in range(20)]
    path = shelf.write("a.tsv", "question\tanswer\n" + "\n".join(lines) + "\n")
    assert not shelf.detect(path).dialect.quoted
    assert notes_of(shelf.all_of(RawRow, path))[3] == ('"so he said 3', 'yes "or" no')


def test_a_quote_that_is_never_closed_costs_its_own_line_only(shelf: Shelf) -> None:
    body = [f"note {number},answer {number}" for number in range(30)]
    body[11] = '"note 11,answer 11'
    body[20] = 'note "20,answer 20'
    things = shelf.read(shelf.write("a.csv", "prompt,answer\n" + "\n".join(body) + "\n"))
    assert [(thing.line, thing.kind) for thing in things if isinstance(thing, BadRow)] == [(13, "broken-csv")]
    assert [thing.line for thing in things if isinstance(thing, RawRow)] == [*range(2, 13), *range(14, 32)]


def test_twins_among_columns_are_refused(shelf: Shelf) -> None:
    (bad,) = shelf.all_of(BadRow, shelf.write("a.csv", "prompt,answer,answer\na,b,c\nd,e,f\ng,h,i\n"))
    assert "two columns have the same name" in bad.reason


TURNS = [
    ("c1", 2, "agent", "which policy?"),
    ("c2", 1, "customer", "a new address"),
    ("c1", 1, "customer", "my car"),
    ("c1", 3, "customer", "number 7"),
    ("c2", 2, "agent", "go on"),
]


def test_turns_become_conversations_in_their_order(shelf: Shelf) -> None:
    lines = "".join(f"{name},{turn},{role},{text}\n" for name, turn, role, text in TURNS)
    path = shelf.write("a.csv", "conversationId,turnNumber,authorRole,utterance\n" + lines)
    first, second = shelf.all_of(Transcript, path)
    assert [(turn.speaker, turn.text, turn.line) for turn in first.turns] == [
        ("customer", "my car", 4),
        ("agent", "which policy?", 2),
        ("customer", "number 7", 5),
    ]
    assert (second.name, len(second.turns)) == ("c2", 2)
    objects = [dict(zip(("dialogue_id", "turn_id", "speaker", "text"), row, strict=True)) for row in TURNS]
    again = shelf.all_of(Transcript, shelf.write("a.jsonl", objects))
    assert [turn.text for turn in again[0].turns] == [turn.text for turn in first.turns]


def test_a_meeting_as_a_table(shelf: Shelf) -> None:
    lines = [
        f"{10 + number // 60}:{number % 60:02},{'Ada' if number % 2 else 'Bo'},point {number}"
        for number in range(12)
    ]
    (found,) = shelf.all_of(Transcript, shelf.write("a.csv", "time,speaker,text\n" + "\n".join(lines) + "\n"))
    assert [turn.speaker for turn in found.turns[:2]] == ["Bo", "Ada"]
    assert found.turns[3].time == "10:03"


CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": f"note {n}"}, {"role": "assistant", "content": "ok"}], "n": n}
    for n in range(2500)
]


def write_arrow(path: Path, stream: bool) -> Path:
    whole = pa.Table.from_pylist(CHATS)
    with pa.OSFile(str(path), "wb") as sink:
        writer = pa.ipc.new_stream(sink, whole.schema) if stream else pa.ipc.new_file(sink, whole.schema)
        with writer:
            writer.write_table(whole, max_chunksize=700)
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow file", "arrow stream"])
def test_parquet_and_arrow(shelf: Shelf, kind: str) -> None:
    path = shelf.folder / "rows.bin"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(CHATS), path, row_group_size=600)
    else:
        write_arrow(path, stream=kind == "arrow stream")
    assert shelf.detect(path).format == f"{kind.split()[0]} messages"
    rows = shelf.all_of(RawRow, path)
    assert [said(row) for row in rows] == [[("user", f"note {n}"), ("assistant", "ok")] for n in range(2500)]
    assert rows[-1].line == 2500
    # A file cut short keeps its first rows where the format allows, and is named.
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    things = shelf.read(path)
    assert isinstance(things[-1], BadRow) and things[-1].kind == "damaged"


def test_columns_of_a_parquet_file(shelf: Shelf) -> None:
    path = shelf.folder / "a.parquet"
    pq.write_table(
        pa.table({"question": [note for note, _ in NOTES], "answer": [state for _, state in NOTES]}), path
    )
    assert notes_of(shelf.all_of(RawRow, path)) == NOTES


@pytest.mark.parametrize(
    ("first", "delimiter"),
    [("sep=;", ";"), ('"sep=,"', ","), ("SEP=\t", "\t"), ("sep=^", "^"), ("sep=|\t\t", "|")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.tsv"])
def test_a_line_that_tells_the_delimiter_is_no_header(
    shelf: Shelf, first: str, delimiter: str, end: str, name: str
) -> None:
    rows = [
        ["id", "question", "answer"],
        *([f"{n}", f"pump {n}, up; well?", f'yes, "{n}"'] for n in range(4)),
    ]
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=end).writerows(rows)
    path = shelf.write(name, first + end + text.getvalue())
    found = shelf.detect(path)
    assert found.columns == ("id", "question", "answer")
    assert "as its first line tells" in found.evidence
    read = shelf.all_of(RawRow, path)
    assert [[turn for _, turn in said(row)] for row in read] == [row[1:] for row in rows[1:]]
    assert [row.line for row in read] == [3, 4, 5, 6]
