"""CSV as people have it: semicolons, multi-line cells, wrong columns, broken quotes."""

from __future__ import annotations

import pytest

from appliance.dataset import read_rows
from appliance.dataset.reading.columns import fill_template
from appliance.errors import ConfigError, DataError
from tests.dataset.conftest import Bench


def table(count: int, delimiter: str = ",") -> str:
    return "".join(f"note {number}{delimiter}answer {number}\n" for number in range(count))


def sources_of(bench: Bench) -> dict[str, str]:
    rows = [
        row
        for split in ("train", "valid", "test")
        for row in read_rows(bench.project.dataset / f"{split}.jsonl")
    ]
    return {row.prompt[-1]["content"]: row.source for row in rows}


@pytest.mark.parametrize(
    ("name", "delimiter"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t")]
)
def test_delimiters(bench: Bench, name: str, delimiter: str) -> None:
    bench.configure('sources = ["data/*.?sv"]')
    bench.write(name, b"\xef\xbb\xbf" + (f"prompt{delimiter}answer\n" + table(12, delimiter)).encode())
    assert sum(bench.prepare().rows.values()) == 12


def test_a_row_is_named_by_the_line_it_begins_on(bench: Bench) -> None:
    text = "prompt,answer\n" + table(10) + '"three\nlines\nlong","an\nanswer"\nlast,one\nempty,\n'
    bench.write("a.csv", text)
    bench.prepare()
    places = sources_of(bench)
    assert places["note 0"] == "data/a.csv:2"
    assert places["three\nlines\nlong"] == "data/a.csv:12"
    assert places["last"] == "data/a.csv:16"
    assert bench.warnings == ["data/a.csv:17: empty answer (column `answer`)"]


def test_wrong_columns_are_an_error_that_names_them_and_the_nearest(bench: Bench) -> None:
    bench.configure('prompt_column = "prompt"')
    bench.write("a.csv", "Prompts,reply\n" + table(5))
    with pytest.raises(DataError) as caught:
        bench.prepare()
    assert (
        "data/a.csv:1: no column `prompt`; found: Prompts, reply (is `Prompts` meant?)"
        in caught.value.message
    )
    assert "prompt_column" in caught.value.hint


def test_other_columns_a_template_and_a_group(bench: Bench) -> None:
    bench.configure(
        'prompt_column = "text"\nanswer_column = "label"\ngroup_column = "ship"\n'
        'prompt_template = "On {ship}: {prompt} {{as told}} {\\"k\\": 1}"'
    )
    rows = "".join(f"ship{number % 8},note {number},l{number}\n" for number in range(40))
    bench.write("a.csv", "ship,text,label\n" + rows)
    card = bench.prepare()
    assert 'On ship3: note 3 {as told} {"k": 1}' in sources_of(bench)
    assert sum(card.groups.values()) == 8


def test_an_unknown_name_in_the_template(bench: Bench) -> None:
    with pytest.raises(ConfigError, match=r"`\{nte\}` is no column \(is `note` meant\?\)"):
        fill_template("see {nte}", {"note": "x"})


def test_bad_rows_of_a_table(bench: Bench) -> None:
    body = (
        table(10).encode() + b"one,two,three\n" + b"bad \xff byte,answer\n" + b'"x"y,answer\n' + b"fine,too\n"
    )
    bench.write("a.csv", b"prompt,answer\n" + body)
    card = bench.prepare()
    assert sum(card.rows.values()) == 11
    assert [warning.split(": ")[0] for warning in bench.warnings] == [f"data/a.csv:{n}" for n in (12, 13, 14)]
    assert "3 cells where the header has 2" in bench.warnings[0]
    assert "not UTF-8" in bench.warnings[1]
    assert "broken CSV" in bench.warnings[2]


def test_a_quote_that_is_never_closed_names_where_it_began(bench: Bench) -> None:
    bench.write("a.csv", "prompt,answer\n" + table(10) + '"open,answer\n' + table(5))
    card = bench.prepare()
    assert sum(card.rows.values()) == 10
    assert bench.warnings[0].startswith("data/a.csv:12: broken CSV")
