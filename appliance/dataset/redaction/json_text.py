"""The strings inside a JSON text, so that they can change while everything else stays as it is written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.dataset.redaction.numbers_alone import spreadsheet_exponent

_LITERAL = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_COLON = re.compile(r"\s*:")
# Keys that name a person's name; a bare `name` may as well be a product's.
_PERSON_KEY = re.compile(
    r"(?:customer|client|patient|contact|person|user|guest|employee|passenger|recipient|sender|holder|caller|author|driver"
    r"|full|first|last|given|family|sur|maiden|account holder) ?name$"
)


@dataclass(frozen=True)
class JsonString:
    """One string value.

    Attributes:
        start, end: its literal in the text, quotes included.
        value: what it says.
        key: the nearest key above it, as words in lower case.
        number: whether it is a number and not a string; it is looked at and never changed.
    """

    start: int
    end: int
    value: str
    key: str
    number: bool = False


def json_strings(text: str) -> list[JsonString] | None:
    """The string values (and whole numbers) of a JSON object or array, in order; None where `text` is none."""
    stripped = text.strip()
    if not (stripped.startswith(("{", "[")) and stripped.endswith(("}", "]"))):
        return None
    try:
        json.loads(text)
    except (ValueError, RecursionError):  # nested too deeply to be an answer: plain text
        return None
    found: list[JsonString] = []
    key, place = "", 0
    while place < len(text):
        if text[place] == '"':
            match = _LITERAL.match(text, place)
            assert match is not None  # the text was parsed
            value = json.loads(match.group())
            place = match.end()
            if _COLON.match(text, place):
                key = _words(value)
            else:
                found.append(JsonString(match.start(), match.end(), value, key))
            continue
        number = _NUMBER.match(text, place)
        if number:
            if number.group().isdigit() or spreadsheet_exponent(number.group()) is not None:
                found.append(JsonString(number.start(), number.end(), number.group(), key, number=True))
            place = number.end()
            continue
        place += 1
    return found


def _words(key: str) -> str:
    return re.sub(r"[_\W]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key)).strip().lower()


def context(key: str) -> str:
    """What a key says of its value, as a text before it would."""
    if not key or (re.search(r"\bname$", key) and not _PERSON_KEY.search(key)):
        return ""
    return f"{key}: "


def with_values(text: str, changes: Mapping[int, str], strings: list[JsonString]) -> str:
    """`text` with other values for some of its strings, by their place in `strings`; all else as it was."""
    pieces, taken = [], 0
    for place, string in enumerate(strings):
        if place in changes:
            plain = text[string.start : string.end].isascii()
            pieces += [text[taken : string.start], json.dumps(changes[place], ensure_ascii=plain)]
            taken = string.end
    return "".join(pieces) + text[taken:]
