"""From a JSON Schema to the grammar that the engine holds an answer to (llguidance's form of it)."""

from __future__ import annotations

import json
from typing import Any

from appliance.errors import ServingError

MAX_SCHEMA = 256 * 1024
"""Characters of a schema, written compactly."""
ANY_OBJECT: dict[str, Any] = {"type": "object"}
"""For `response_format` of type `json_object`."""
# Models trained on answers without spaces write none, others do; more in a row is an answer that never ends.
_SPACES = r"[\x20\x0A\x0D\x09]{1,20}"


def grammar_of(schema: dict[str, Any], *, strict: bool = False) -> str:
    """The grammar of all JSON texts that satisfy `schema`, its properties in the order in which it names them.

    Args:
        schema: JSON Schema; a `$ref` may point into itself only.
        strict: refuse a keyword that no grammar can hold an answer to (as `uniqueItems`), instead of leaving it aside.

    Raises:
        ServingError: it is too large, contradicts itself, or (with `strict`) has such a keyword.
    """
    from llguidance import LLMatcher

    hint = "mend the schema; docs/formats/api.md says what an answer can be held to"
    plain = {key: value for key, value in schema.items() if key != "x-guidance"}
    try:
        text = json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
        if len(text) > MAX_SCHEMA:
            raise ServingError(f"the schema has {len(text)} characters, more than {MAX_SCHEMA}", hint)
        overrides: Any = {"whitespace_pattern": _SPACES, "lenient": not strict}
        grammar = LLMatcher.grammar_from_json_schema(text, overrides=overrides)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ServingError(f"an answer can't be held to the schema: {reason}", hint) from error
    failed, told = LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        reason = " ".join(told[0].split())[:300]
        raise ServingError(f"an answer can't be held to the schema: {reason}", hint)
    return str(grammar)


def left_aside(schema: dict[str, Any]) -> list[str]:
    """What of `schema` an answer can't be held to; empty where it is held to all of it.

    Raises:
        ServingError: as `grammar_of`.
    """
    from llguidance import LLMatcher

    return [
        " ".join(warning.split())[:300]
        for warning in LLMatcher.validate_grammar_with_warnings(grammar_of(schema))[1]
    ]


def ordered_like(schema: dict[str, Any], answer: Any) -> dict[str, Any]:
    """`schema` with its properties in the order of an answer's keys, so that a model isn't held to another one.

    Properties that the answer hasn't stay behind those that it has. Looks into `properties` and `items`.
    """
    ordered = dict(schema)
    properties = schema.get("properties")
    if isinstance(properties, dict) and isinstance(answer, dict):
        keys = [key for key in answer if key in properties]
        keys += [key for key in properties if key not in answer]
        ordered["properties"] = {
            key: ordered_like(properties[key], answer[key])
            if key in answer and isinstance(properties[key], dict)
            else properties[key]
            for key in keys
        }
    items = schema.get("items")
    if isinstance(items, dict) and isinstance(answer, list) and answer:
        ordered["items"] = ordered_like(items, answer[0])
    return ordered
