"""Documents: Markdown, text, HTML, PDF and DOCX into blocks under their headings."""

from __future__ import annotations

from pathlib import Path

import docx
import pytest

from appliance.dataset.reading import BadRow, Block, Document, blocks
from tests.dataset.reading.conftest import Shelf
from tests.dataset.reading.small_pdf import write_pdf


def parts(document: Document) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(block.kind, block.text, block.headings) for block in document.blocks]


MARKDOWN = """\
---
title: "The pump"
keywords: water, deck
questions:
  - deck
---

{% alert %}
Ask **first**, in {% slack_channel "deck" %}.
{% endalert %}

<!-- a comment
over two lines -->
# Starting {#start}

See [the manual]({% page "/manual/" %}) and ![a drawing](pump.png), then
press `{{ start }}` twice.

- one
  - two *slowly*

1. first

Setext
------

| a | b |
|---|---|
| 1 | 2 |

```sh
# no heading
pump --start  {{ kept }}
```

> [!NOTE]
> It is loud.

<table>
  <tr><th>State</th>
      <th>Lamp</th></tr>
  <tr><td>up</td><td><b>green</b></td></tr>
</table>

## Stopping ##
Pull the lever &amp; wait\\*.
{: .note }

[ref]: https://example.invalid
"""


def test_markdown(shelf: Shelf) -> None:
    path = shelf.write("pump.md", MARKDOWN)
    (page,) = shelf.all_of(Document, path)
    assert page.title == "The pump"
    assert page.metadata["keywords"] == "water, deck"
    start, setext, stop = ("Starting",), ("Starting", "Setext"), ("Starting", "Stopping")
    assert parts(page) == [
        ("paragraph", "Ask first, in deck.", ()),
        ("paragraph", "See the manual and a drawing, then\npress {{ start }} twice.", start),
        ("list", "- one\n  - two slowly\n\n1. first", start),
        ("table", "a | b\n1 | 2", setext),
        ("code", "# no heading\npump --start  {{ kept }}", setext),
        ("quote", "It is loud.", setext),
        ("table", "State | Lamp\nup | green", setext),
        ("paragraph", "Pull the lever & wait*.", stop),
    ]
    lines = MARKDOWN.splitlines()
    assert [lines[block.line - 1].lstrip("{%<-|`> #")[:6] for block in page.blocks[1:4]] == [
        "See [t",
        "one",
        "a | b ",
    ]


@pytest.mark.parametrize("name", ["a", "a.txt", "a.md"])
def test_markdown_is_known_without_its_suffix(shelf: Shelf, name: str) -> None:
    found = shelf.detect(shelf.write(name, MARKDOWN))
    assert found.container == "markdown"
    assert found.evidence.startswith("Markdown: front matter, headings, links, fenced code, lists")


def test_front_matter_that_never_ends_is_text(shelf: Shelf) -> None:
    (page,) = shelf.all_of(Document, shelf.write("a.md", "---\nThe pump is loud.\n\nIt is."))
    assert [block.text for block in page.blocks] == ["The pump is loud.", "It is."]


def test_plain_text(shelf: Shelf) -> None:
    text = "Pumps\n=====\n\nA pump moves water.\nIt is loud.\n\nSTARTING IT\n\nPress twice.\n"
    (page,) = shelf.all_of(Document, shelf.write("pump.txt", text))
    assert page.title == "Pumps"
    assert parts(page) == [
        ("paragraph", "A pump moves water.\nIt is loud.", ("Pumps",)),
        ("paragraph", "Press twice.", ("Pumps", "STARTING IT")),
    ]


HTML = """<!DOCTYPE html>
<html lang="en"><head><title>The pump &amp; you</title><style>p {color: red}</style></head>
<body><nav><a href="/">Home</a></nav>
<h1>Starting</h1><p>Press <b>twice</b>,<br>then wait.</p>
<ul><li>one</li><li>two <ul><li>three</li></ul></li></ul>
<h2>Table</h2><table><tr><th>State</th><th>Lamp</th></tr><tr><td>up</td><td>green</td></tr></table>
<pre>pump --start
  now</pre><script>alert("x")</script>
<div>Loose text<div>inner</div>tail</div>
<blockquote><p>It is loud.</p></blockquote>
<footer>made by us</footer></body></html>
"""


@pytest.mark.parametrize("name", ["a.html", "a.txt", "a"])
def test_html(shelf: Shelf, name: str) -> None:
    (page,) = shelf.all_of(Document, shelf.write(name, HTML))
    assert (page.title, page.metadata["language"]) == ("The pump & you", "en")
    assert parts(page) == [
        ("paragraph", "Press twice,\nthen wait.", ("Starting",)),
        ("list", "- one\n- two\n- three", ("Starting",)),
        ("table", "State | Lamp\nup | green", ("Starting", "Table")),
        ("code", "pump --start\n  now", ("Starting", "Table")),
        ("paragraph", "Loose text", ("Starting", "Table")),
        ("paragraph", "inner", ("Starting", "Table")),
        ("paragraph", "tail", ("Starting", "Table")),
        ("quote", "It is loud.", ("Starting", "Table")),
    ]
    assert page.blocks[0].line == 4


def test_pdf(shelf: Shelf) -> None:
    path = write_pdf(
        shelf.folder / "manual.bin",
        [
            ["The pump is loud. It moves wa-", "ter all day.", "", "Start it with care."],
            [],
            ["Stop it at night."],
        ],
        bookmarks=[("Starting", 1), ("Stopping", 3)],
    )
    assert shelf.detect(path).container == "pdf"
    page, bad = shelf.read(path)
    assert isinstance(page, Document) or isinstance(bad, Document)
    document, fault = (page, bad) if isinstance(page, Document) else (bad, page)
    assert isinstance(document, Document)
    assert [(block.page, block.headings) for block in document.blocks] == [
        (1, ("Starting",)), (1, ("Starting",)), (3, ("Stopping",)),
    ]  # fmt: skip
    assert document.blocks[0].text == "The pump is loud. It moves water all day."
    assert isinstance(fault, BadRow) and "1 of 3 pages hold no text" in fault.reason


def test_a_scan_is_named(shelf: Shelf) -> None:
    (bad,) = shelf.all_of(BadRow, write_pdf(shelf.folder / "scan.pdf", [[], []]))
    assert "no text on any of its pages" in bad.reason


@pytest.mark.parametrize("damage", ["cut", "junk", "locked"])
def test_a_pdf_that_cannot_be_read_is_named(shelf: Shelf, damage: str) -> None:
    path = write_pdf(shelf.folder / "a.pdf", [["The pump is loud."]])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:60])
    elif damage == "junk":
        path.write_bytes(b"%PDF-1.7\n" + bytes(range(256)) * 40)
    else:
        import pypdf

        writer = pypdf.PdfWriter(clone_from=path)
        writer.encrypt("secret", algorithm="RC4-128")
        writer.write(path)
    (bad,) = shelf.all_of(BadRow, path)
    assert (bad.line, bad.kind) == (0, "document")
    if damage == "locked":
        assert "password" in bad.reason


def write_docx(path: Path) -> Path:
    document = docx.Document()
    document.core_properties.title = "The pump"
    document.add_paragraph("It moves water.")
    document.add_heading("Starting", level=1)
    document.add_paragraph("Press twice.")
    document.add_paragraph("one", style="List Bullet")
    document.add_paragraph("two", style="List Bullet")
    document.add_heading("States", level=2)
    table = document.add_table(rows=2, cols=2)
    for row, texts in zip(table.rows, [("State", "Lamp"), ("up", "green")], strict=True):
        for cell, text in zip(row.cells, texts, strict=True):
            cell.text = text
    document.add_paragraph("It is loud.", style="Quote")
    document.save(str(path))
    return path


def test_docx(shelf: Shelf) -> None:
    path = write_docx(shelf.folder / "pump.dat")
    assert shelf.detect(path).evidence == "a DOCX document"
    (page,) = shelf.all_of(Document, path)
    assert page.title == "The pump"
    assert parts(page) == [
        ("paragraph", "It moves water.", ()),
        ("paragraph", "Press twice.", ("Starting",)),
        ("list", "- one\n- two", ("Starting",)),
        ("table", "State | Lamp\nup | green", ("Starting", "States")),
        ("quote", "It is loud.", ("Starting", "States")),
    ]


def test_a_long_document_comes_in_parts(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_DOCUMENT_CHARACTERS", 1000)
    text = "".join(f"{'word ' * 40}{number}\n\n" for number in range(30))
    found = shelf.all_of(Document, shelf.write("a.txt", text))
    assert [one.part for one in found] == list(range(1, len(found) + 1))
    assert all(sum(len(block.text) for block in one.blocks) <= 1000 for one in found)
    all_blocks: list[Block] = [block for one in found for block in one.blocks]
    assert [block.text.split()[-1] for block in all_blocks] == [str(number) for number in range(30)]


HOSTILE = [
    "![",
    "[",
    "__a ",
    "`",
    "{{",
    "{% raw",
    "<!--",
    "{% a '",
    "<https:",
    "**a*",
    "<a ",
    "{:",
    "| ",
    "> ",
    "# ",
]


@pytest.mark.parametrize("mark", HOSTILE)
def test_marks_that_never_end_are_text(shelf: Shelf, mark: str) -> None:
    """Each pattern is bounded: with one that isn't, this takes minutes."""
    things = shelf.read(shelf.write("a.md", "Pump.\n\n" + mark * (50_000 // len(mark)) + "\n\nIt is loud.\n"))
    texts = [block.text for thing in things if isinstance(thing, Document) for block in thing.blocks]
    assert texts[0] == "Pump."
    assert texts[-1] == "It is loud." or mark in {"<!--", "{% a '", "<a "}
