"""A JSON Schema as a grammar, and what a schema must be."""

from __future__ import annotations

import json

import pytest

from appliance.errors import ServingError
from appliance.serving.schema_grammar import MAX_SCHEMA, grammar_of, left_aside, ordered_like

ORDER = {
    "type": "object",
    "properties": {"part": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["part", "count"],
    "additionalProperties": False,
}


def test_the_same_schema_gives_the_same_grammar() -> None:
    assert grammar_of(ORDER) == grammar_of(json.loads(json.dumps(ORDER)))
    assert grammar_of(ORDER) != grammar_of(ordered_like(ORDER, [{"count": 1, "part": "x"}]))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"type": "string", "pattern": "("},
        {"$ref": "http://example.org/schema.json"},
        {"$ref": "#/nowhere"},
        {"type": "integer", "minimum": 5, "maximum": 1},
        {"const": float("nan")},
        {"type": "string", "maxLength": -1},
        {"allOf": [{"anyOf": [{"properties": {f"{j}-{i}": {}}} for i in range(8)]} for j in range(8)]},
    ],
)
def test_a_schema_that_nothing_can_be_held_to_is_refused(schema: dict[str, object]) -> None:
    with pytest.raises(ServingError, match="held to the schema"):
        grammar_of(schema)


def test_nesting_without_end_is_refused() -> None:
    schema: dict[str, object] = {}
    for _ in range(20_000):
        schema = {"items": schema}
    with pytest.raises(ServingError, match="held to the schema"):
        grammar_of(schema)


def test_a_schema_of_any_size_is_not_taken() -> None:
    with pytest.raises(ServingError, match=f"more than {MAX_SCHEMA}"):
        grammar_of({"enum": ["x" * MAX_SCHEMA]})


def test_what_a_grammar_can_t_say_is_told_and_refused_where_all_is_wanted() -> None:
    schema = {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}
    assert "uniqueItems" in left_aside(grammar_of(schema))[0]
    assert left_aside(grammar_of(ORDER)) == []
    with pytest.raises(ServingError, match="uniqueItems"):
        grammar_of(schema, strict=True)


def test_a_schema_s_own_switches_are_not_obeyed() -> None:
    assert grammar_of({**ORDER, "x-guidance": {"lenient": True, "item_separator": ";"}}) == grammar_of(ORDER)


def test_properties_come_in_the_order_that_was_learnt_to_any_depth() -> None:
    inner = {"type": "object", "properties": {"a": {}, "b": {}, "c": {}}}
    schema = {"properties": {"first": {"type": "array", "items": inner}, "second": inner, "third": {}}}
    ordered = ordered_like(schema, [{"third": 1, "first": [{"c": 1, "a": 2}], "unknown": 0}, "no object"])
    assert list(ordered["properties"]) == ["third", "first", "second"]
    assert list(ordered["properties"]["first"]["items"]["properties"]) == ["c", "a", "b"]
    assert list(schema["properties"]) == ["first", "second", "third"], "the schema itself stays as it was"
    assert ordered_like(schema, []) == schema


def test_what_some_answers_leave_out_has_its_place_where_others_have_it() -> None:
    schema = {"properties": {"d": {}, "c": {}, "b": {}, "a": {}}}
    ordered = ordered_like(schema, [{"a": 1, "d": 1}, {"a": 1, "b": 1, "d": 1}, {"c": 1, "d": 1}])
    assert list(ordered["properties"]) == ["c", "a", "b", "d"]


def test_what_a_reference_names_is_ordered_too_and_one_into_itself_ends() -> None:
    part = {"properties": {"name": {}, "count": {}, "within": {"$ref": "#/$defs/part"}}}
    schema = {
        "$defs": {"part": part},
        "properties": {"parts": {"type": "array", "items": {"$ref": "#/$defs/part"}}},
    }
    answer = {"parts": [{"within": {"count": 1, "name": "y"}, "count": 2, "name": "x"}]}
    ordered = ordered_like(schema, [answer])
    assert list(ordered["$defs"]["part"]["properties"]) == ["within", "count", "name"]
    for loop in (
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    ):
        assert ordered_like(loop, [answer]) == loop
    assert ordered_like({"$ref": "#/no/where", "items": 5}, [answer, [1]]) == {
        "$ref": "#/no/where",
        "items": 5,
    }
