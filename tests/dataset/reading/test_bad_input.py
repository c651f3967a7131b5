"""What must not stop, fill or fool the reader: binaries, bombs, endless lines, wrong encodings, links in circles."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from appliance.dataset.reading import BadRow, Document, RawRow, Transcript, find_files, office_archive
from appliance.errors import DataError
from appliance.visible import visible, visible_cell
from tests.dataset.conftest import Bench
from tests.dataset.reading.conftest import Shelf, said
from tests.dataset.reading.test_documents import write_docx
from tests.house.sources import ROOT

CHAT = '{"messages": [{"role": "user", "content": "note"}, {"role": "assistant", "content": "Größe naïve café"}]}\n'


def zipped(**parts: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("__", "/"), content)
    return raw.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "an image"),
        (b"\x1f\x8b\x08" + bytes(50), "a gzip archive: unpack it first"),
        (b"\xd0\xcf\x11\xe0" + bytes(50), "an old Office file"),
        (b"SQLite format 3\0" + bytes(50), "an SQLite database"),
        (zipped(**{"ppt__presentation.xml": b"<x/>"}), "a PPTX presentation: save it as PDF"),
        (zipped(**{"notes.txt": b"x"}), "a ZIP archive: unpack it first"),
        (b"PK\x03\x04" + bytes(50), "a damaged ZIP archive"),
        (bytes(range(256)) * 20, "not text: it begins with binary data"),
        (b"  \n\n", "an empty file"),
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.json", "a.md", "a"])
def test_what_is_no_text_is_named(shelf: Shelf, content: bytes, reason: str, name: str) -> None:
    (bad,) = shelf.all_of(BadRow, shelf.write(name, content))
    assert bad.line == 0 and bad.reason.startswith(reason)


@pytest.mark.parametrize(
    ("encoding", "told", "assumed"),
    [
        ("utf-8", "UTF-8", False),
        ("utf-8-sig", "UTF-8 with a byte-order mark", False),
        ("utf-16", "UTF-16", False),
        ("utf-32", "UTF-32", False),
        ("utf-16-le", "UTF-16 without a byte-order mark", True),
        ("utf-16-be", "UTF-16 without a byte-order mark", True),
        ("cp1252", "Windows-1252", True),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings(shelf: Shelf, encoding: str, told: str, assumed: bool, end: str) -> None:
    text = (CHAT * 30).replace("\n", end)
    path = shelf.write("a.jsonl", text.encode(encoding))
    found = shelf.detect(path)
    assert (found.encoding.told, found.encoding.assumed, found.encoding.line_end) == (told, assumed, end)
    rows = shelf.all_of(RawRow, path)
    assert [said(row)[1][1] for row in rows] == ["Größe naïve café"] * 30
    assert [row.line for row in rows] == list(range(1, 31))


CYRILLIC = (
    "Насос стоит на второй палубе и шумит уже третий день. Вахтенный записал это в журнал и доложил старшему."
)


@pytest.mark.parametrize(("encoding", "text"), [("cp1251", CYRILLIC), ("koi8_r", CYRILLIC)])
def test_older_encodings_of_other_scripts(shelf: Shelf, encoding: str, text: str) -> None:
    path = shelf.write("a.txt", ("\n\n".join([text] * 8)).encode(encoding))
    (page,) = shelf.all_of(Document, path)
    assert page.blocks[0].text == text
    assert shelf.detect(path).encoding.assumed


def test_a_late_letter_of_an_old_encoding(shelf: Shelf) -> None:
    text = (
        "A plain line of words that goes on for a while.\n" * 40_000
        + "The café was closed, the naïve said.\n"
    )
    path = shelf.write("a.txt", text.encode("cp1252"))
    assert shelf.detect(path).encoding.name == "cp1252"
    things = shelf.read(path)
    assert isinstance(things[-1], Document)
    assert things[-1].blocks[-1].text.endswith("The café was closed, the naïve said.")


def test_a_damaged_byte_in_a_utf8_file_costs_its_line_only(shelf: Shelf) -> None:
    lines = [CHAT.encode()] * 20
    lines[7] = lines[7].replace(b"naiv", b"na\xffv").replace("ï".encode(), b"\xef")
    things = shelf.read(shelf.write("a.jsonl", b"".join(lines)))
    assert [(thing.line, thing.kind) for thing in things if isinstance(thing, BadRow)] == [(8, "encoding")]
    assert sum(isinstance(thing, RawRow) for thing in things) == 19
    text = "Größe\n\nna\xefve \u00e9\n\nweiter\n".encode() + b"ka\xffputt\n" + b"\n\nnoch da\n"
    things = shelf.read(shelf.write("a.txt", text))
    assert [thing.line for thing in things if isinstance(thing, BadRow)] == [6]
    (page,) = [thing for thing in things if isinstance(thing, Document)]
    assert page.blocks[-1].text == "noch da"


MEASURED = """
import resource, sys
from pathlib import Path
from appliance.config import DatasetSection
from appliance.dataset.reading import BadRow, read_file
for name in sys.argv[2:]:
    list(read_file(Path(name), "warm", DatasetSection(), lambda _: None))
status = Path("/proc/self/status").read_text()
held = int(status.partition("VmSize:")[2].split()[0])
resource.setrlimit(resource.RLIMIT_AS, (held * 1024 + 100_000_000,) * 2)
things = list(read_file(Path(sys.argv[1]), "a", DatasetSection(), lambda _: None))
print(len(things), [(bad.line, bad.kind) for bad in things if isinstance(bad, BadRow)])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt", "a.md"])
def test_a_line_of_100_mb_is_passed_by_in_bounded_memory(tmp_path: Path, name: str) -> None:
    rows = {
        "a.jsonl": (CHAT, '{"messages": "'),
        "a.csv": ("prompt,answer\n" + "note,ok\n" * 9, "note,"),
        "a.txt": ("The pump is loud.\n\n" * 5, "pump "),
        "a.md": ("# Pump\n\nIt is loud.\n\n", "pump "),
    }
    before, opening = rows[name]
    small = tmp_path / f"small{Path(name).suffix}"
    small.write_text(before)
    with (tmp_path / name).open("w") as stream:
        stream.write(before + opening)
        for _ in range(100):
            stream.write("x" * 1_000_000)
        stream.write("\n" + before.removeprefix("prompt,answer\n"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path / name), str(small)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count, _, bad = done.stdout.partition(" ")
    assert bad.strip() == f"[({before.count(chr(10)) + 1}, 'long-line')]"
    assert int(count) > 1


def rezipped(path: Path, name: str, content: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        parts = {one: archive.read(one) for one in archive.namelist()}
    parts[name] = content
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one, data in parts.items():
            archive.writestr(one, data)


ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:body></w:document>"""


def test_bombs_are_refused_before_they_unpack(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_docx(shelf.folder / "a.docx")
    rezipped(path, "word/media/image1.bin", bytes(30_000_000))
    assert path.stat().st_size < 100_000
    (bad,) = shelf.all_of(BadRow, path)
    assert bad.kind == "zip-bomb" and "times its size" in bad.reason
    for encoding in ("utf-8", "utf-16"):
        path = write_docx(shelf.folder / "b.docx")
        rezipped(path, "word/document.xml", ENTITIES.decode().encode(encoding))
        (bad,) = shelf.all_of(BadRow, path)
        assert bad.kind == "entities"
    path = write_docx(shelf.folder / "c.docx")
    monkeypatch.setattr(office_archive, "MAX_UNPACKED_BYTES", 10_000)
    (bad,) = shelf.all_of(BadRow, path)
    assert bad.kind == "zip-bomb" and "would unpack to" in bad.reason


@pytest.mark.parametrize("content", [b"<broken", b"", b"<w:document/>", b"\xff\xfe\x00"])
def test_a_docx_with_a_damaged_part_is_named(shelf: Shelf, content: bytes) -> None:
    path = write_docx(shelf.folder / "a.docx")
    rezipped(path, "word/document.xml", content)
    (bad,) = shelf.all_of(BadRow, path)
    assert bad.kind in {"damaged", "empty-file"}


def test_a_page_nested_without_end_is_read_or_named(shelf: Shelf) -> None:
    page = "<html><body>" + "<div>" * 50_000 + "deep" + "</div>" * 50_000 + "<p>flat</p></body></html>"
    assert shelf.read(shelf.write("a.html", page))


def test_folders_that_lie_in_each_other_are_entered_once(tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.jsonl").write_text(CHAT)
    (tmp_path / "data" / "sub" / "b.jsonl").write_text(CHAT)
    (tmp_path / "data" / ".hidden").write_text("x")
    (tmp_path / "data" / "sub" / "up").symlink_to("..")
    (tmp_path / "data" / "sub" / "again").symlink_to("../sub")
    (tmp_path / "data" / "self").symlink_to("self")
    (tmp_path / "data" / "lost").symlink_to("nowhere")
    (tmp_path / "data" / "twin.jsonl").symlink_to("a.jsonl")
    os.mkfifo(tmp_path / "data" / "pipe")
    expected = [tmp_path / "data" / "a.jsonl", tmp_path / "data" / "sub" / "b.jsonl"]
    for patterns in (
        ["data"],
        ["data/**"],
        ["data/**/*.jsonl"],
        ["**/*.json?"],
        ["data", "data/*.jsonl"],
        ["d*/**/*"],
    ):
        skipped: list[BadRow] = []
        assert find_files(tmp_path, patterns, "sources", skipped.append) == expected, patterns
        assert {(bad.file, bad.kind) for bad in skipped} >= {
            ("data/sub/up", "link-cycle"),
            ("data/sub/again", "link-cycle"),
        }
        assert {(bad.file, bad.kind) for bad in skipped} >= {("data/lost", "link"), ("data/pipe", "special")}
    assert find_files(tmp_path, ["data/*"], "sources") == expected[:1]
    with pytest.raises(DataError, match="no such file"):
        find_files(tmp_path, ["data/none.csv"], "sources")
    with pytest.raises(DataError, match="a pipe, socket or device"):
        find_files(tmp_path, ["data/pipe"], "sources")


def test_folders_that_link_to_each_other_are_not_entered_in_every_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve of them can be walked through in more than a billion ways."""
    for one in range(12):
        (tmp_path / f"d{one:02}").mkdir()
        (tmp_path / f"d{one:02}" / "a.jsonl").write_text(CHAT)
        for other in range(12):
            (tmp_path / f"d{one:02}" / f"to{other:02}").symlink_to(f"../d{other:02}")
    entered: list[object] = []

    def scandir(folder: Path) -> os.ScandirIterator[str]:
        entered.append(folder)
        assert len(entered) < 10_000
        return real(str(folder))

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    found = find_files(tmp_path, ["."], "sources")
    assert sorted(path.resolve() for path in found) == sorted(tmp_path.glob("d??/a.jsonl"))
    assert find_files(tmp_path, ["**/to05/a.jsonl"], "sources")


def test_preparing_names_all_of_it_and_goes_on(bench: Bench) -> None:
    bench.write("good.jsonl", "".join(CHAT.replace("note", f"note {n}") for n in range(40)))
    bench.write("picture.jsonl", b"\x89PNG" + bytes(40))
    bench.write("pairs.json", json.dumps([{"prompt": "p", "response_a": "x", "response_b": "y"}] * 3))
    bench.write("talk.log", "[10:00] <ada> is P3 up?\n[10:01] <bo> no\n[10:02] <ada> why?\n")
    bench.write("manual.md", "# Pump\n\nIt is loud.\n\n## Start\n\nPress twice.\n")
    bench.write("evil\x1b[2J.csv", "\x1b[31mname,what\nx,y\n1,2\n3,4\n")
    (bench.root / "data" / "circle").symlink_to(".")
    bench.configure("[dataset.pairs]\nkinds = []")
    card = bench.prepare()
    assert sum(card.rows.values()) == 40
    assert card.rejected == {"binary": 1, "columns": 1, "link-cycle": 1, "unlabeled-pair": 3}
    assert card.unpaired == {"blocks": 2, "documents": 1, "transcripts": 1, "turns": 3}
    formats = {source["name"]: source["format"] for source in card.sources}
    assert formats["data/talk.log"] == "transcript irc"
    assert formats["data/good.jsonl"] == "jsonl messages"
    assert not [text for text in bench.warnings if "\x1b" in text]
    assert any("evil\\e[2J.csv" in text for text in bench.warnings)


def test_a_pair_keeps_its_rejected_answer_to_the_split(bench: Bench) -> None:
    from appliance.dataset import read_rows

    rows = [{"prompt": f"note {n}", "chosen": "yes", "rejected": f"no {n}\r\n"} for n in range(30)]
    bench.write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    bench.prepare()
    found = [
        row
        for split in ("train", "valid", "test")
        for row in read_rows(bench.project.dataset / f"{split}.jsonl")
    ]
    assert {(row.prompt[0]["content"], row.rejected) for row in found} == {
        (f"note {n}", f"no {n}") for n in range(30)
    }


def test_control_characters_are_seen_and_never_obeyed() -> None:
    assert visible("a\x1b[31mb\x07\r\nc\u202e\x9b\ud800") == "a\\e[31mb\\x07\\r\\nc\\u202e\\x9b\\ud800"
    assert visible("x" * 50, 10) == "x" * 9 + "…"
    assert visible_cell("=HYPERLINK(1)") == "'=HYPERLINK(1)"
    assert visible_cell("+cmd|' /C calc'!A0") == "'+cmd|' /C calc'!A0"
    assert visible_cell("-5 degrees") == "-5 degrees"
    assert visible_cell("- a list") == "- a list"
    assert str(BadRow("a\x1b.csv", 3, "k", "\x07why")) == "a\\e.csv:3: \\x07why"


def test_other_material_is_no_transcript(shelf: Shelf) -> None:
    assert not isinstance(
        shelf.read(shelf.write("a.toml", '[a]\nb = 1\nc = "d"\n'))[0], (Transcript, Document)
    )


@pytest.mark.slow
def test_a_pdf_whose_page_unpacks_without_end_is_named(shelf: Shelf) -> None:
    from tests.dataset.reading.small_pdf import write_pdf

    path = write_pdf(shelf.folder / "a.pdf", [["MARK"], ["The pump is loud."]])
    bomb = zlib.compress(b"(x) Tj " * 40_000_000, 9)
    raw = path.read_bytes()
    begins = raw.index(b"5 0 obj")
    ends = raw.index(b"endobj", begins)
    stream = b"5 0 obj\n<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream\n" % (len(bomb), bomb)
    path.write_bytes(raw[:begins] + stream + raw[ends:])
    things = shelf.read(path)
    (bad,) = [thing for thing in things if isinstance(thing, BadRow)]
    (page,) = [thing for thing in things if isinstance(thing, Document)]
    assert bad.kind == "page" and bad.reason.startswith("page 1 can't be read")
    assert [block.text for block in page.blocks] == ["The pump is loud."]
