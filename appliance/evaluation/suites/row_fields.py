"""Fields of a public set's rows, each of its kind: what is missing or of another kind is named, not made into text."""

from __future__ import annotations

from typing import Any

from appliance.evaluation.suites.plain_values import shown

Row = dict[str, Any]


class FieldError(ValueError):
    """What is wrong with a row."""


def _wrong(key: str, row: Row, words: str) -> FieldError:
    told = f"not {shown(row[key])}" if key in row else "and is missing"
    return FieldError(f"the field `{key}` is {words}, {told}")


def text(row: Row, key: str) -> str:
    """A text.

    Raises:
        FieldError: it is none; so in all of these.
    """
    found = row.get(key)
    if not isinstance(found, str):
        raise _wrong(key, row, "a text")
    return found


def texts(row: Row, key: str) -> list[str]:
    """A list of texts."""
    found = row.get(key)
    if not isinstance(found, list) or not all(isinstance(entry, str) for entry in found):
        raise _wrong(key, row, "a list of texts")
    return found


def index(row: Row, key: str) -> int:
    """A whole number from 0."""
    found = row.get(key)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        raise _wrong(key, row, "a whole number from 0")
    return found


def inner(row: Row, key: str) -> Row:
    """An object."""
    found = row.get(key)
    if not isinstance(found, dict):
        raise _wrong(key, row, "an object")
    return found


def one_of(row: Row, key: str, *known: str) -> str:
    """One of some texts."""
    found = row.get(key)
    if not isinstance(found, str) or found not in known:
        raise _wrong(key, row, " or ".join(f'"{each}"' for each in known))
    return found


def number_of(row: Row, line: int) -> str:
    """The row's `id` as text; its line where it has none."""
    found = row.get("id", line)
    if not isinstance(found, (str, int)) or isinstance(found, bool) or not str(found).strip():
        raise _wrong("id", row, "a text or a whole number")
    return str(found)
