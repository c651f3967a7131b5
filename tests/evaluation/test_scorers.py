"""Scores of single answers."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.evaluation.scorers import (
    NOTHING,
    canonical,
    compare_fields,
    field_name,
    fields,
    leaves,
    parse,
    score_exact,
    score_json,
)

ORDER = {"orders": [{"fault": "leak", "parts": ["A", "B"]}, {"fault": "wear", "parts": []}]}


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1}, True),
        (1, True, False),
        (0, False, False),
        (None, False, False),
        ("1", 1, False),
        ([1, 2], [2, 1], False),
        ("é", "é", True),
    ],
)
def test_equality_of_json_values(one: Any, other: Any, equal: bool) -> None:
    assert (canonical(one) == canonical(other)) is equal


@pytest.mark.parametrize(
    "text", ["", "no", "{", '{"a": NaN}', "Infinity", '{"a": 1} and more', "```json\n{}\n```", "[" * 99999]
)
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


def test_leaves_and_fields() -> None:
    assert leaves(ORDER) == {
        "orders[0].fault": '"leak"',
        "orders[0].parts": '["A","B"]',
        "orders[1].fault": '"wear"',
        "orders[1].parts": "[]",
    }
    assert sorted(fields(ORDER)) == [
        ("orders[0].fault", '"leak"'),
        ("orders[0].parts[]", '"A"'),
        ("orders[0].parts[]", '"B"'),
        ("orders[1].fault", '"wear"'),
        ("orders[1].parts", "[]"),
    ]
    assert fields({"tags": ["x", "x"]})["tags[]", '"x"'] == 2
    assert fields({}).total() == fields([]).total() == fields(3).total() == 1


def test_a_right_answer_however_it_is_spaced() -> None:
    score = score_json(
        ORDER, ' {"orders":[{"parts":["A","B"],"fault":"leak"},{"fault":"wear","parts":[]}]}\n'
    )
    assert (score.exact, score.parses, score.valid) == (True, True, True)
    assert (score.hits, score.expected, score.given) == (5, 5, 5)


def test_a_partly_right_answer() -> None:
    score = score_json(ORDER, '{"orders":[{"fault":"leak","parts":["B","C"]}]}')
    assert (score.exact, score.parses, score.valid) == (False, True, True)
    assert (score.hits, score.expected, score.given) == (2, 5, 3)


def test_an_answer_that_is_no_json_gives_no_fields() -> None:
    score = score_json(ORDER, "the pump leaks")
    assert (score.exact, score.parses, score.valid) == (False, False, False)
    assert (score.hits, score.expected, score.given) == (0, 5, 0)
    assert score.fault.startswith("not JSON")


def test_the_schema_decides_validity_and_not_exactness() -> None:
    score = score_json({"a": 1}, '{"a": 1}', lambda _value: "a: too small")
    assert (score.exact, score.parses, score.valid, score.fault) == (True, True, False, "a: too small")


def test_exact_text() -> None:
    assert score_exact("card_arrival", " card_arrival\n").exact
    assert not score_exact("card_arrival", "card arrival").exact
    assert score_exact("x", "x").valid is score_exact("x", "x").parses is None


def test_fields_compared_by_position() -> None:
    assert field_name("orders[1].parts[0].x") == "orders[].parts[].x"
    told = compare_fields(ORDER, '{"orders":[{"fault":"wear","parts":["A","B"],"note":1}]}')
    assert told == [
        ("orders[].fault", '"leak"', '"wear"'),
        ("orders[].parts", '["A","B"]', '["A","B"]'),
        ("orders[].fault", '"wear"', NOTHING),
        ("orders[].parts", "[]", NOTHING),
        ("orders[].note", NOTHING, "1"),
    ]
    assert compare_fields({"a": 1}, "no") == [("a", "1", NOTHING)]
