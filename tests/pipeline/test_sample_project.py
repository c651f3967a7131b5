"""The sample project keeps what its rule sheet and schema promise."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import jsonschema

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "workorders"


UNTOUCHED = "untouched.jsonl"


def rows(file: str = "data/notes.jsonl") -> list[tuple[str, dict[str, list[dict[str, object]]]]]:
    lines = (FOLDER / file).read_text(encoding="utf-8").splitlines()
    parsed = [json.loads(line)["messages"] for line in lines]
    return [(messages[-2]["content"], json.loads(messages[-1]["content"])) for messages in parsed]


def rule_table() -> dict[str, list[str]]:
    text = (FOLDER / "RULES.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| `([a-z ]+)` \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)
    return {equipment: [part.strip() for part in components.split(",")] for equipment, components in found}


def test_every_order_satisfies_the_schema_and_the_table_of_components():
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    table = rule_table()
    assert set(table) == set(schema["properties"]["orders"]["items"]["properties"]["equipment"]["enum"])
    check = jsonschema.Draft202012Validator(schema)
    for note, answer in [*rows(), *rows(UNTOUCHED)]:
        check.validate(answer)
        for order in answer["orders"]:
            assert order["component"] in table[order["equipment"]], note


def test_every_part_number_stands_in_its_note():
    for note, answer in [*rows(), *rows(UNTOUCHED)]:
        for order in answer["orders"]:
            for part in order["parts"]:
                assert part.lower() in note.lower()


def test_there_are_many_rows_and_hardly_two_alike():
    words = [frozenset(re.findall(r"\w+", note.lower())) for note, _ in rows()]
    assert len(words) >= 700
    alike = sum(len(a & b) >= 0.85 * len(a | b) for a, b in itertools.combinations(words, 2))
    assert alike < 0.02 * len(words)


def test_no_untouched_note_is_like_one_that_is_learnt():
    known = [frozenset(re.findall(r"\w+", note.lower())) for note, _ in rows()]
    untouched = [frozenset(re.findall(r"\w+", note.lower())) for note, _ in rows(UNTOUCHED)]
    assert len(untouched) >= 100
    assert not [a for a in untouched for b in known if len(a & b) >= 0.7 * len(a | b)]


def test_no_field_is_one_sided():
    orders = [order for _, answer in rows() for order in answer["orders"]]
    for field, share in (("severity", 0.55), ("action", 0.4), ("fault", 0.25), ("equipment", 0.2)):
        _, most = Counter(order[field] for order in orders).most_common(1)[0]
        assert most / len(orders) < share, field
    doubles = sum(len(answer["orders"]) == 2 for _, answer in rows())
    assert 0.1 < doubles / len(rows()) < 0.3
