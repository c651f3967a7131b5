"""Directives to include another file: never followed, each named, none left in the text."""

from __future__ import annotations

import pytest

from appliance.dataset.reading import BadRow, Document
from appliance.dataset.reading.includes import Includes
from tests.dataset.conftest import Bench
from tests.dataset.reading.conftest import Shelf

FORMS = [
    ("{% include inc_b.md %}", "inc_b.md"),
    ('{%- include_relative "a b.md" with=1 -%}', "a b.md"),
    ("!include inc_b.md", "inc_b.md"),
    ("!include(inc_b.md)", "inc_b.md"),
    ("!!!include(inc_b.md)!!!", "inc_b.md"),
    (".. include:: inc_b.rst", "inc_b.rst"),
    ("![[inc_b]]", "inc_b"),
    ("![[inc_b#Part|shown]]", "inc_b#Part"),
    ("{{< include inc_b.md >}}", "inc_b.md"),
    ('{{% include file="inc_b.md" %}}', "inc_b.md"),
    ("{{#include inc_b.md}}", "inc_b.md"),
    ("{!inc_b.md!}", "inc_b.md"),
    ('--8<-- "inc_b.md"', "inc_b.md"),
    ("include::inc_b.adoc[leveloffset=1]", "inc_b.adoc"),
    ("\\input{inc_b}", "inc_b"),
]


@pytest.mark.parametrize("name", ["a.md", "a.txt"])
@pytest.mark.parametrize(("directive", "target"), FORMS)
def test_a_directive_is_named_and_taken_out(shelf: Shelf, name: str, directive: str, target: str) -> None:
    text = f"# Pump\n\nIt is loud on this deck.\n\n{directive}\n\nIt is **warm** on the other.\n"
    things = shelf.read(shelf.write(name, text), formats={"*.md": "markdown", "*.txt": "text"})
    (page,) = [one for one in things if isinstance(one, Document)]
    (named,) = [one for one in things if isinstance(one, BadRow)]
    assert (named.line, named.kind) == (5, "include") and repr(target) in named.reason
    joined = "\n".join(block.text for block in page.blocks)
    assert "It is loud" in joined and "on the other" in joined and "inc" not in joined and "{" not in joined


@pytest.mark.parametrize(
    "line",
    [
        "The kit may include a monitor.",
        "Type `![[name]]` to embed, or `{% include x %}`.",
        "See [[a note]] and ![a drawing](a.png).",
        "It costs 5 !included",
        "#include <stdio.h>",
        "we include:: nothing",
        "press {{ start }}",
    ],
)
def test_other_lines_stay(line: str) -> None:
    found: list[tuple[int, str]] = []
    assert Includes(lambda number, target: found.append((number, target))).without(1, line) == line
    assert not found


def test_in_the_middle_of_a_line_beside_pictures_and_in_code(shelf: Shelf) -> None:
    said = "Read ![[rules]] and {{< include b.md >}} first ![[map.png]] now."
    text = f"# P\n\n{said}\n\n```\n!include x\n```\n\n    !include y\n"
    things = shelf.read(shelf.write("a.md", text))
    (page,) = [one for one in things if isinstance(one, Document)]
    named = [one.reason.split("'")[1] for one in things if isinstance(one, BadRow)]
    assert sorted(named) == ["b.md", "rules"]
    assert [block.text.split() for block in page.blocks] == [
        ["Read", "and", "first", "now."],
        ["!include", "x"],
        ["!include", "y"],
    ]


def test_options_of_a_directive_go_with_it(shelf: Shelf) -> None:
    text = "Pumps\n=====\n\n.. include:: b.rst\n   :start-line: 3\n   :literal:\n\nA pump moves water.\n"
    things = shelf.read(shelf.write("a.rst", text))
    (page,) = [one for one in things if isinstance(one, Document)]
    assert [block.text for block in page.blocks] == ["A pump moves water."]


def test_preparing_counts_and_names_them_and_strict_goes_on(bench: Bench) -> None:
    rows = "".join(f"q{n},a{n}\n" for n in range(30))
    bench.write("a.csv", f"question,answer\n{rows}")
    bench.write(
        "b.md", "# Pump\n\nA pump is a machine that moves water.\n\n{% include inc_b.md %}\n\n!include c.md\n"
    )
    card = bench.prepare(strict=True)
    assert card.rejected == {"include": 2}
    assert any(text.startswith("data/b.md:5:") and "'inc_b.md'" in text for text in bench.warnings)
    assert any(text.startswith("2 directives to include a file") for text in bench.warnings)
    written = "".join(
        (bench.project.dataset / f"{split}.jsonl").read_text() for split in ("train", "valid", "test")
    )
    assert "include" not in written and "inc_b" not in written
