"""From a JSON Schema to the grammar that the engine holds an answer to (llguidance's form of it)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from appliance.errors import ServingError
from appliance.visible import on_one_line

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
        reason = on_one_line(str(error))
        raise ServingError(f"an answer can't be held to the schema: {reason}", hint) from error
    failed, told = LLMatcher.validate_grammar_with_warnings(grammar)
    if failed:
        reason = on_one_line(told[0])
        raise ServingError(f"an answer can't be held to the schema: {reason}", hint)
    return str(grammar)


def left_aside(grammar: str) -> list[str]:
    """What of its schema a grammar of `grammar_of` can't hold an answer to; empty where it holds to all of it."""
    from llguidance import LLMatcher

    return [on_one_line(warning) for warning in LLMatcher.validate_grammar_with_warnings(grammar)[1]]


def ordered_like(schema: dict[str, Any], answers: Sequence[Any]) -> dict[str, Any]:
    """`schema` with its properties in the order of the answers' keys, so that a model isn't held to another one.

    A property that some answers leave out has its place where others have it; one that none has stays behind. Looks
    into `properties`, `items`, and what a `$ref` inside the schema names.
    """
    ordered: dict[str, Any] = json.loads(json.dumps(schema))
    found: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    _gather(ordered, ordered, answers, found)
    for node, objects in found.values():
        properties = node["properties"]
        keys = [key for key in _merged(objects) if key in properties]
        node["properties"] = {key: properties[key] for key in [*keys, *properties]}
    return ordered


def _gather(
    root: dict[str, Any],
    node: Any,
    answers: Sequence[Any],
    found: dict[int, tuple[dict[str, Any], list[dict[str, Any]]]],
    named: tuple[int, ...] = (),
) -> None:
    """Find the parts of a schema that have properties, and the objects that they describe; ends where the answers do.

    Args:
        root: the schema, that a `$ref` looks into.
        node: a part of it.
        answers: what it describes.
        found: gets the parts, by `id`.
        named: parts on the way of references, so that one into itself ends.
    """
    if not (isinstance(node, dict) and answers) or id(node) in named:
        return
    reference = node.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        target: Any = root
        for step in filter(None, reference[1:].split("/")):
            target = target.get(step) if isinstance(target, dict) else None
        _gather(root, target, answers, found, (*named, id(node)))
    objects = [answer for answer in answers if isinstance(answer, dict)]
    properties = node.get("properties")
    if isinstance(properties, dict) and objects:
        found.setdefault(id(node), (node, []))[1].extend(objects)
        for key, below in properties.items():
            _gather(root, below, [answer[key] for answer in objects if key in answer], found)
    items = [item for answer in answers if isinstance(answer, list) for item in answer]
    _gather(root, node.get("items"), items, found)


def _merged(objects: Sequence[dict[str, Any]]) -> list[str]:
    """All keys of some objects: each new one behind the key that it follows where it first occurs."""
    merged: list[str] = []
    for answer in objects:
        place = 0
        for key in answer:
            if key in merged:
                place = merged.index(key) + 1
            else:
                merged.insert(place, key)
                place += 1
    return merged
