"""What suite files and public sets are read as: plain values with their lines; a broken line costs no other. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 64 * 1024 * 1024  # of a file
MOST_CHARACTERS = 400_000  # of a case; about 100k tokens, which no context here holds
MOST_DEPTH = 40
_MOST_BITS = 1023  # of a whole number; a larger one is no float
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Entry:
    """A value of a file.

    Attributes:
        line: where it begins, from 1.
        value: what stands there; None where it can't be read.
        fault: why it can't be read; empty: it can.
    """

    line: int
    value: Any
    fault: str = ""


def shown(value: Any) -> str:
    """A value as JSON, cut, for a message."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _is_float(value: Any) -> bool:
    """Whether a number, if it is one, can be computed with."""
    if isinstance(value, int):
        return value.bit_length() <= _MOST_BITS
    return not isinstance(value, float) or math.isfinite(value)


def fault_of(value: Any) -> str:
    """Why a value can't be worked with, though it is well-formed; empty: it can."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        held, depth = waiting.pop()
        if isinstance(held, (dict, list)):
            if depth > MOST_DEPTH:
                return f"nested too deeply: more than {MOST_DEPTH} levels"
            if isinstance(held, dict):
                waiting += [(key, depth) for key in held]
                held = list(held.values())
            waiting += [(each, depth + 1) for each in held]
        elif isinstance(held, str):
            if "\0" in held:
                return "it holds a NUL character; is it binary data?"
            if (half := _LONE_SURROGATE.search(held)) is not None:
                return f"it holds half a character (\\u{ord(half[0]):x}, one of a surrogate pair)"
        elif not _is_float(held):
            return "it holds a number that is too large"
    return ""


def utf8(data: bytes) -> tuple[str, str]:
    """(text, why it is none): of a line, or of a whole file whose lines can't be read one by one."""
    try:
        return data.decode("utf-8"), ""
    except UnicodeDecodeError as error:
        return "", f"not UTF-8: byte {data[error.start]:#04x} at column {column_of(data, error.start)}"


def column_of(data: bytes, at: int) -> int:
    """The column of a byte in its line, from 1."""
    return at - max(data.rfind(b"\n", 0, at), data.rfind(b"\r", 0, at))


def without_bom(data: bytes) -> tuple[bytes, str]:
    """(data without UTF-8's mark at its beginning, what is wrong with the whole of it)."""
    if data.startswith(_UTF_16):
        return b"", "UTF-16 text; save it as UTF-8"
    return data.removeprefix(_BOM), ""


def json_lines(data: bytes) -> Iterator[Entry]:
    """The values of a file of JSON lines, whichever line ends it has; empty lines are passed over."""
    data, fault = without_bom(data)
    if fault:
        yield Entry(1, None, fault)
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            yield _json(number, line)


def _json(number: int, line: bytes) -> Entry:
    text, fault = utf8(line)
    if fault:
        return Entry(number, None, fault)
    if len(text) > MOST_CHARACTERS:
        return Entry(number, None, too_long(len(text)))
    if "\0" in text:
        return Entry(number, None, "it holds NUL bytes; is it binary data, or was its writing cut short?")
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        cut = error.msg.startswith("Unterminated") or error.pos >= len(text.rstrip())
        end = "; is the line cut off?" if cut else ""
        return Entry(number, None, f"not JSON: {error.msg.removesuffix(' at')} at column {error.colno}{end}")
    except RecursionError:
        return Entry(number, None, f"nested too deeply: more than {MOST_DEPTH} levels")
    except ValueError as error:
        return Entry(number, None, f"not JSON: {error}")
    fault = fault_of(value)
    return Entry(number, None if fault else value, fault)


def too_long(characters: int) -> str:
    """Of a case with so many."""
    return f"{characters} characters, more than a case may have ({MOST_CHARACTERS})"


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands there twice")
        found[key] = value
    return found
