"""Scores of one answer against the expected one. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Scorer = Literal["json", "exact"]
Fault = Callable[[Any], str]
"""What is wrong with a JSON value; empty: nothing."""
NOTHING = "(nothing)"
_INDEX = re.compile(r"\[\d+\]")


@dataclass(frozen=True)
class RowScore:
    """How one answer did.

    Attributes:
        exact: equal to the expected answer.
        parses: JSON, whatever it says; None where JSON isn't asked for.
        valid: JSON that also satisfies the schema, if there is one; None where JSON isn't asked for.
        hits, expected, given: fields that are right, fields expected, fields given; for F1.
        fault: why it isn't valid; empty when it is.
    """

    exact: bool
    parses: bool | None
    valid: bool | None
    hits: int
    expected: int
    given: int
    fault: str = ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def parse(text: str) -> Any:
    """The JSON value of an answer; white space around it is allowed, nothing else is.

    Raises:
        ValueError: not JSON (NaN and Infinity aren't).
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def canonical(value: Any) -> str:
    """A text that is equal for equal JSON values: 1 equals 1.0, but true is not 1; order of keys is free."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def leaves(value: Any, path: str = "") -> dict[str, str]:
    """path -> canonical value of every field; lists of objects by index, lists of plain values are one field.

    >>> leaves({"orders": [{"fault": "leak", "parts": ["A"]}]})
    {'orders[0].fault': '"leak"', 'orders[0].parts': '["A"]'}
    """
    if isinstance(value, dict) and value:
        found: dict[str, str] = {}
        for key, held in value.items():
            found |= leaves(held, f"{path}.{key}" if path else str(key))
        return found
    if isinstance(value, list) and any(isinstance(held, (dict, list)) for held in value):
        found = {}
        for index, held in enumerate(value):
            found |= leaves(held, f"{path}[{index}]")
        return found
    return {path or "(answer)": canonical(value)}


def fields(value: Any) -> Counter[tuple[str, str]]:
    """The multiset of (path, value) that field F1 counts; the entries of a plain list count one by one."""
    counted: Counter[tuple[str, str]] = Counter()
    for path, held in leaves(value).items():
        entries = json.loads(held)
        if isinstance(entries, list) and entries:
            counted.update((f"{path}[]", canonical(entry)) for entry in entries)
        else:
            counted[path, held] += 1
    return counted


def score_json(expected: Any, answer: str, fault: Fault | None = None) -> RowScore:
    """Score an answer that should be the JSON value `expected`; one that doesn't parse gives no fields.

    Args:
        expected: the right value.
        answer: the text that the model gave.
        fault: the schema's check, if there is one.
    """
    wanted = fields(expected)
    try:
        value = parse(answer)
    except ValueError as error:
        return RowScore(False, False, False, 0, wanted.total(), 0, f"not JSON: {error}")
    given = fields(value)
    wrong = fault(value) if fault is not None else ""
    exact = canonical(value) == canonical(expected)
    return RowScore(exact, True, not wrong, (wanted & given).total(), wanted.total(), given.total(), wrong)


def score_exact(expected: str, answer: str) -> RowScore:
    """Score an answer that should be this text, but for white space at its ends."""
    right = expected.strip() == answer.strip()
    return RowScore(right, None, None, int(right), 1, int(bool(answer.strip())))


def field_name(path: str) -> str:
    """The path of a field without its indices: `orders[1].fault` -> `orders[].fault`."""
    return _INDEX.sub("[]", path)


def compare_fields(expected: Any, answer: str) -> list[tuple[str, str, str]]:
    """(field, expected, given) of every field, by position; `NOTHING` where one side has none.

    An answer that doesn't parse gives nothing.
    """
    wanted = leaves(expected)
    try:
        given = leaves(parse(answer))
    except ValueError:
        given = {}
    paths = [*wanted, *(path for path in given if path not in wanted)]
    return [(field_name(path), wanted.get(path, NOTHING), given.get(path, NOTHING)) for path in paths]
