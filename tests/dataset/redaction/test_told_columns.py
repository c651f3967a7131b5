"""Columns whose kind of personal data is told: replaced whole, whatever they look like; slips of typing stop it."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance import config_file
from appliance.commands.init import TEMPLATE
from appliance.dataset import read_rows
from appliance.dataset.redaction import KINDS, Surrogates
from appliance.dataset.terminal import card_lines
from appliance.errors import ConfigError, DataError
from tests.dataset.conftest import Bench
from tests.dataset.reading.test_workbook import book_of
from tests.dataset.test_arranging import sentences

TEMPLATED = 'prompt_template = "ID{customer} with {card_number}: {question}"'
SHOWN = 'prompt_template = "{customer}, {born}, {balance}: {question}"'


def told(columns: str, mode: str = "placeholder", before: str = "") -> str:
    return f'{before}\n[dataset.redact]\nmode = "{mode}"\ncolumns = {columns}\n'


def fill(bench: Bench) -> None:
    lines = [
        f'"{text}",4929 {n % 7}x{n},{n},"it is  q-{n},\nthe {n} of {n}0"\n'
        for n, text in enumerate(sentences(3, 40), 100)
    ]
    bench.write("a.csv", "question,card_number,customer,answer\n" + "".join(lines))


@pytest.mark.parametrize("mode", ["placeholder", "surrogate"])
def test_a_told_cell_goes_whole_wherever_it_stands_in_its_row(bench: Bench, mode: str) -> None:
    fill(bench)
    (bench.root / "redaction.key").write_text("7" * 64)
    bench.configure(told('{ card_number = "card", customer = "account" }', mode, TEMPLATED))
    card = bench.prepare()
    assert card.redactions["columns"] == {
        "card_number": {"kind": "card", "rows": 40}, "customer": {"kind": "account", "rows": 40},
    }  # fmt: skip
    assert "personal data, column `card_number`: card, in 40 rows" in card_lines(card)
    rows = [row for split in card.rows for row in read_rows(bench.project.dataset / f"{split}.jsonl")]
    assert len(rows) == 40
    for row in rows:
        asked, answer = (turn["content"] for turn in row.messages)
        number = int(row.source.rpartition(":")[2])
        customer = str((number - 2) // 2 + 100)
        assert f"4929 {int(customer) % 7}x{customer}" not in asked and f"{customer}0" in answer
        assert f"ID{customer} " not in asked and f"q-{customer}," not in answer
        if mode == "placeholder":
            assert asked.startswith("ID[ACCOUNT_1] with [CARD_1]: ")
            assert answer == f"it is  q-[ACCOUNT_1],\nthe [ACCOUNT_1] of {customer}0"
    findings = [
        json.loads(each) for each in (bench.project.dataset / "redactions.jsonl").read_text().splitlines()
    ]
    assert {each["why"] for each in findings} == {
        "column `card_number` holds it",
        "column `customer` holds it",
    }
    assert "card_number told to be card" in (bench.project.dataset / "card.html").read_text()


def test_keys_of_json_rows_are_told_alike(bench: Bench) -> None:
    lines = []
    for number, text in enumerate(sentences(4, 20)):
        turns = [{"role": "user", "content": f"{text} Kwx{number}"}, {"role": "assistant", "content": "done"}]
        lines.append(json.dumps({"messages": turns, "customer": {"called": [f"Kwx{number}", ""]}}) + "\n")
    bench.write("a.jsonl", "".join(lines))
    alpaca = [
        {"instruction": f"Who is it? {text}", "input": f"zzq {number}", "output": "nobody"}
        for number, text in enumerate(sentences(5, 20))
    ]
    bench.write("b.json", json.dumps(alpaca))
    bench.configure(told('{ customer = "name", input = "national_id" }'))
    card = bench.prepare()
    written = "".join((bench.project.dataset / f"{split}.jsonl").read_text() for split in card.rows)
    assert written.count("[NAME_1]") == 20 and "Kwx" not in written
    assert written.count("[NATIONAL_ID_1]") == 20 and "zzq" not in written


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
def test_numbers_and_dates_of_workbooks_and_parquet_are_told_as_their_rows_show_them(
    bench: Bench, name: str
) -> None:
    head = ("question", "customer", "born", "balance", "answer")
    lines = [
        (
            text,
            9000 + n,
            datetime.date(1980, 1, 1 + n),
            n + 0.5,
            f"it is {9000 + n}, since 1980-01-{1 + n:02}, {n}.5",
        )
        for n, text in enumerate(sentences(3, 20))
    ]
    if name == "a.xlsx":
        book_of(bench.root / name, Orders=[list(head), *map(list, lines)])
    else:
        columns = zip(*lines, strict=True)
        pq.write_table(pa.table(dict(zip(head, map(list, columns), strict=True))), bench.root / name)
    kinds = '{ customer = "account", born = "birth_date", balance = "account" }'
    bench.configure(told(kinds, before=f'sources = ["{name}"]\n' + SHOWN))
    card = bench.prepare()
    rows = [row for split in card.rows for row in read_rows(bench.project.dataset / f"{split}.jsonl")]
    assert len(rows) == 20
    for row in rows:
        asked, answer = (turn["content"] for turn in row.messages)
        assert asked.startswith("[ACCOUNT_1], [BIRTH_DATE_1], [ACCOUNT_2]: "), asked
        assert answer == "it is [ACCOUNT_1], since [BIRTH_DATE_1], [ACCOUNT_2]"


def test_what_is_allowed_stays_and_workers_do_the_same(bench: Bench, base_checkpoint: Path) -> None:
    from appliance.dataset import prepare
    from appliance.events import ignore

    fill(bench)
    bench.configure(told('{ customer = "account" }\nallow = ["107"]', before=TEMPLATED))
    written = []
    for workers in (0, 2):
        prepare(bench.project, ignore, checkpoint=base_checkpoint, workers=workers)
        written.append((bench.project.dataset / "train.jsonl").read_bytes())
    assert written[0] == written[1]
    text = "".join(path.read_text() for path in bench.project.dataset.glob("t*.jsonl"))
    text += (bench.project.dataset / "valid.jsonl").read_text()
    assert "ID107 with" in text and "ID108 with" not in text


def test_a_column_that_no_file_has_stops_it_with_the_nearest(bench: Bench) -> None:
    fill(bench)
    bench.prepare()
    before = (bench.project.dataset / "train.jsonl").read_bytes()
    bench.configure(told('{ card_nmber = "card", customer = "account" }'))
    with pytest.raises(
        DataError, match=r"`card_nmber`: no file has it \(is `card_number` meant\?\)"
    ) as caught:
        bench.prepare()
    assert "customer" not in caught.value.message and caught.value.hint
    assert (bench.project.dataset / "train.jsonl").read_bytes() == before
    bench.configure(told('{ card_nmber = "card" }', "off"))
    assert "columns" not in bench.prepare().redactions


def test_columns_of_a_table_of_turns_are_told_to_be_left(bench: Bench) -> None:
    fill(bench)
    turns = "".join(
        f"{number},{who},what of {number},{number}7\n"
        for number in range(30)
        for who in ("customer", "agent")
    )
    bench.write("b.csv", "conversation_id,speaker,text,card_number\n" + turns)
    bench.configure(told('{ card_number = "card" }'))
    bench.prepare()
    assert any("b.csv: `card_number` makes no part of a row" in each for each in bench.warnings)
    bench.write(
        "a.csv", "question,answer\n" + "".join(f"{text},yes {n}\n" for n, text in enumerate(sentences(3, 30)))
    )
    with pytest.raises(DataError, match="`card_number`: only in files of turns or texts"):
        bench.prepare()


def test_a_kind_that_there_is_not_is_named_with_the_nearest() -> None:
    assert "columns = {" in TEMPLATE
    with pytest.raises(ConfigError, match=r"'crad' is no kind of personal data; did you mean `card`\?"):
        config_file.parse('[project]\nname = "a"\n[dataset.redact]\ncolumns = { a = "crad" }\n')


@pytest.mark.parametrize(
    "value", ["4929", "q", "7", "Kwx 12", "名前", "12 June 90", "DE12", "x-1", "a@b", "::"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_any_value_has_a_surrogate_of_any_kind(kind: str, value: str) -> None:
    made = Surrogates(b"7" * 32).of(kind, value)
    assert made and made != value
    assert Surrogates(b"7" * 32).of(kind, value) == made
