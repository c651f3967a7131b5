"""Files that were made to break the reader: never a crash, never without end, always named."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import docx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.config import CHAT_LOGS, DatasetSection
from appliance.dataset import feeding, prepare, read_rows
from appliance.dataset.reading import (
    BadRow,
    Document,
    RawRow,
    Transcript,
    detect,
    pdf_text,
    read_detected,
    read_file,
    tables,
)
from appliance.dataset.reading.log_styles import STYLES
from appliance.dataset.reading.material import Faults
from appliance.events import Event
from tests.dataset.conftest import Bench
from tests.dataset.reading.conftest import Shelf
from tests.dataset.reading.small_pdf import write_pdf
from tests.house.sources import ROOT

ROW = '{"prompt": "note", "completion": "noted"}'


def test_headings_keep_their_words(shelf: Shelf) -> None:
    """Also those that a pattern would take its time for."""
    lines = ["# One #", "a", "## Two ## ", "b", "### C#", "c", "#", "####### no", "d"]
    (document,) = shelf.read(shelf.write("a.md", "\n\n".join(lines)))
    assert [(block.headings, block.text) for block in document.blocks] == [  # type: ignore[union-attr]
        (("One",), "a"),
        (("One", "Two"), "b"),
        (("One", "Two", "C#"), "c"),
        (("One", "Two", "C#"), "####### no"),
        (("One", "Two", "C#"), "d"),
    ]


def test_a_row_of_quoted_cells_without_end_is_given_up(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_LINE_BYTES", 1000)
    path = shelf.write("a.csv", 'prompt,completion\na,b\n"x\n' + 'y","z\n' * 300 + "last,row\n")
    things = shelf.read(path, formats={"a.csv": "csv"})
    assert any(
        isinstance(one, BadRow) and one.reason.startswith("broken CSV: a row of more than") for one in things
    )


def test_any_number_of_lone_quotes_costs_their_lines_only(shelf: Shelf) -> None:
    path = shelf.write("a.csv", "prompt,completion\na,b\n" + 'a,"b\n' * 501 + "good,row\n")
    things = shelf.read(path)
    assert sum(isinstance(one, RawRow) for one in things) == 2
    assert sum(isinstance(one, BadRow) for one in things) == 501


def test_faults_behind_a_long_value_cost_no_square(shelf: Shelf) -> None:
    """Each fault counted the lines of all that was still held: here twelve million characters, sixty thousand times."""
    long = json.dumps({"prompt": "a" * 12_000_000, "completion": "b"})
    path = shelf.write("a.json", f"[{ROW},{long}," + '{"a" 1},' * 60_000 + f"{ROW}]")
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_CPU, (45, 45))\n"
        "from pathlib import Path\nfrom appliance.config import DatasetSection\n"
        "from appliance.dataset.reading import RawRow, read_file\n"
        "things = read_file(Path(sys.argv[1]), 'a.json', DatasetSection(), lambda _: None)\n"
        "print(sum(isinstance(one, RawRow) for one in things))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr[-500:]


def test_a_file_that_is_gone_is_named(shelf: Shelf) -> None:
    path = shelf.write("a.jsonl", f"{ROW}\n")
    found = detect(path, "a.jsonl", DatasetSection())
    path.unlink()
    (bad,) = read_file(path, "a.jsonl", DatasetSection(), lambda _: None)
    assert bad == BadRow("a.jsonl", 0, "unreadable", "it can't be read: No such file or directory")
    assert list(read_detected(path, "a.jsonl", DatasetSection(), found, lambda _: None)) == [bad]


def test_a_file_that_goes_while_others_are_read_costs_only_itself(bench: Bench) -> None:
    rows = [json.dumps({"prompt": f"note {n}", "completion": f"answer {n}"}) for n in range(30)]
    bench.write("a.jsonl", "\n".join(rows))
    gone = bench.write("b.jsonl", f"{ROW}\n")
    events: list[Event] = []

    def emit(event: Event) -> None:
        gone.unlink(missing_ok=True)
        events.append(event)

    card = prepare(bench.project, emit, tokenizer=len)
    assert sum(card.rows.values()) == 30 and card.rejected == {"unreadable": 1}
    assert [source["sha256"] == "" for source in card.sources] == [False, True]


def test_a_file_that_changes_while_it_is_read_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "SMALL_FILE", 10)  # a small one is read at once, before anything is told
    monkeypatch.setattr(feeding, "_BLOCK_BYTES", 300)
    rows = [json.dumps({"prompt": f"note {n}", "completion": f"answer {n}"}) for n in range(30)]
    path = bench.write("a.jsonl", "\n".join(rows) + "\n")
    warnings: list[str] = []
    times = itertools.count(1)

    def emit(event: Event) -> None:
        if event.kind == "progress" and event.text == "reading":
            os.utime(path, ns=(1, next(times)))
        warnings.extend([event.text] * (event.kind == "warning"))

    prepare(bench.project, emit, tokenizer=len)
    assert warnings == [
        "data/a.jsonl: it changed while it was read; its digest may be that of another content"
    ]


def test_a_name_that_is_no_utf8_is_written_out(bench: Bench) -> None:
    rows = [
        json.dumps({"prompt": f"note {n}", "completion": "yes", "group": "\ud800"[: n % 2]})
        for n in range(30)
    ]
    bench.write("a.jsonl", "\n".join(rows))
    folder = os.fsencode(bench.root / "data")
    os.rename(folder + b"/a.jsonl", folder + b"/\xff.jsonl")  # noqa: PTH104 - a name of bytes
    card = bench.prepare()
    assert card.sources[0]["name"] == "data/\\udcff.jsonl"
    groups = {row.group for split in card.rows for row in read_rows(bench.project.dataset / f"{split}.jsonl")}
    assert "\\ud800" in groups


def test_a_tag_with_a_million_attributes_is_refused(shelf: Shelf) -> None:
    page = "<html><body><p title='a b c'>Words of a page.</p>{}</body></html>"
    many = " ".join(f"a{number}=1" for number in range(6000))
    for tag in (f"<p {many}>", f"<p x='>' {many}>", f"<p {many.replace(' ', '/')}>", f"<p {many}"):
        (bad,) = shelf.all_of(BadRow, shelf.write("a.html", page.format(tag)))
        assert bad.reason == "a tag with more than 5000 attributes: it is no page"
    for harmless in (f"<script>if (a<b) {{ {many} }}</script>", f'<p title="{many}">', f"<p>{many}</p>"):
        assert shelf.all_of(Document, shelf.write("a.html", page.format(harmless)))


def test_a_cell_that_spans_a_billion_columns_is_one(shelf: Shelf) -> None:
    document = docx.Document()
    table = document.add_table(rows=3, cols=3)
    for row in range(3):
        for column in range(3):
            table.cell(row, column).text = f"{row}{column}"
    table.cell(0, 0).merge(table.cell(0, 1)).text = "wide"
    table.cell(0, 2).merge(table.cell(2, 2)).text = "tall"
    raw = io.BytesIO()
    document.save(raw)
    path = shelf.write("a.docx", raw.getvalue())
    (read,) = shelf.all_of(Document, path)
    assert read.blocks[0].text == "wide | tall\n10 | 11 | tall\n20 | 21 | tall"
    table.cell(0, 0)._tc.grid_span = 1_000_000_000
    document.save(str(path))
    (read,) = shelf.all_of(Document, path)
    assert read.blocks[0].text.startswith("wide | ")


def test_pages_that_share_one_long_stream_are_not_all_read(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a megabyte of ten thousand pages, each of which shows the same million characters, would take hours."""
    path = write_pdf(shelf.folder / "a.pdf", [["words " * 200]] * 50)
    whole = shelf.all_of(Document, path)
    assert len(whole[0].blocks) == 50
    monkeypatch.setattr(pdf_text, "_LEAST_UNPACKED", 10_000)
    monkeypatch.setattr(pdf_text, "_RATIO", 0)
    bad, document = shelf.read(path)
    assert isinstance(bad, BadRow) and bad.reason.startswith(
        "from page 9 on left out: its pages unpack to more"
    )
    assert isinstance(document, Document) and len(document.blocks) == 8


def _columnar(folder: Path) -> list[Path]:
    count = range(50)
    table = pa.table(
        {
            "prompt": [f"note {number}" for number in count],
            "completion": [f"answer {number}" * 3 for number in count],
            "tags": [["a", "b" * number] for number in count],
            "kind": pa.array(["u", "v"] * 25).dictionary_encode(),
            "time": pa.array(count, pa.timestamp("us")),
        }
    )
    pq.write_table(table, folder / "a.parquet")
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_stream(folder / "b.arrow", table.schema) as writer:
        writer.write_table(table)
    return [folder / "a.parquet", folder / "a.arrow", folder / "b.arrow"]


_FUZZ = """
import random, sys
from pathlib import Path
from appliance.dataset.reading.columnar import ColumnarFault, columnar_rows
path, kind = Path(sys.argv[1]), sys.argv[2]
whole, chance, read = path.read_bytes(), random.Random(5), 0
for number in range(300):
    bad = bytearray(whole[: chance.randrange(len(whole))] if number % 10 == 0 else whole)
    if bad:
        bad[chance.randrange(len(bad))] ^= 1 << chance.randrange(8)
    path.write_bytes(bad)
    try:
        list(columnar_rows(path, kind))
        read += 1
    except ColumnarFault:
        pass
print(read)
"""


def test_a_flipped_bit_in_parquet_or_arrow_ends_no_program(tmp_path: Path) -> None:
    """In a program of its own, for pyarrow follows what a damaged file says into memory that isn't its."""
    for path in _columnar(tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", _FUZZ, str(path), path.suffix[1:]],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{path.name}: {done.returncode} {done.stderr[-300:]}"
        assert 0 < int(done.stdout) < 300


def test_bad_lines_are_told_where_they_stand(shelf: Shelf) -> None:
    text = b"First paragraph of words.\n\n\xff bad\n\nSecond one.\n\n" * 3
    things = shelf.read(shelf.write("a.txt", text), formats={"a.txt": "text"})
    assert [type(one) for one in things] == [BadRow, BadRow, BadRow, Document]


def test_bad_lines_without_end_are_counted_not_held() -> None:
    faults = Faults(most=3)
    for line in range(1, 101):
        faults.add(BadRow("a.txt", line, "encoding" if line % 2 else "long-line", "bad"))
    told = faults.take()
    assert [bad.line for bad in told] == [1, 2, 3, 4, 5]
    assert told[3].reason == "bad (and 48 more such lines up to line 100)"
    assert faults.take() == []


def test_an_order_beyond_what_a_float_holds_is_none(shelf: Shelf) -> None:
    turns = [
        {
            "conversation_id": "a",
            "turn": 10**400 if n == 2 else n,
            "speaker": "AB"[n % 2],
            "text": f"words {n}",
        }
        for n in range(6)
    ]
    (transcript,) = shelf.all_of(Transcript, shelf.write("a.jsonl", turns))
    assert len(transcript.turns) == 6


def test_the_styles_that_can_be_told_are_those_that_are_read() -> None:
    assert sorted(CHAT_LOGS) == sorted(style.name for style in STYLES)


def test_bytes_at_random_are_named_or_read(shelf: Shelf) -> None:
    chance = random.Random(3)
    heads = (
        b"%PDF-1.7\n",
        b"PK\x03\x04",
        b"PAR1",
        b"ARROW1\0\0",
        b"{",
        b"[",
        b"<html>",
        b"---\n",
        b"\xff\xfe",
        b"a,b\n",
    )
    for number in range(100):
        body = bytes(chance.choices(b'{}[]",:\\ \n\t<>ab1\xff\x00', k=chance.randrange(400)))
        assert shelf.read(shelf.write("a", heads[number % len(heads)] + body))
