"""JSON that isn't one object a line, as a stream: an array's values, those of a list inside an object, or one by one.

Each value is parsed by itself by the standard library, so memory holds one value, its line is known, and a broken
one is named while the rest goes on.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from appliance.dataset.reading.text_encoding import NO_UTF8

_CHUNK = 1 << 18
_BEHIND = 1 << 17  # characters that have been read and are not forgotten yet
_SPACE = re.compile(r"\s*")
# Whole strings are one mark, so that brackets inside them don't count.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?P<end>"?)|[\[\]{},]', re.DOTALL)
_LONGEST_EXPONENT = 32
_DECODER = json.JSONDecoder()
_LONGEST_STRING = 16 * 1024 * 1024  # of a string that is passed by


@dataclass(frozen=True)
class JsonValue:
    """One value.

    Attributes:
        line: where it begins, from 1.
        value: parsed; None where `kind` is set.
        kind, fault: why it could not be parsed, as in `BadRow`; empty: it could.
    """

    line: int
    value: Any
    kind: str = ""
    fault: str = ""


class _Text:
    """A window on the file's text: what has been read is forgotten, and lines are counted as they go."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="surrogateescape")
        self.text = ""
        self.at = 0
        self.line = 1
        self.ended = False

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        if self.ended:
            return False
        # Growing pieces, so that a long value is not looked at again for each small one.
        chunk = self._stream.read(max(_CHUNK, len(self.text) - self.at))
        self.ended = not chunk
        self.text = self.text[self.at :] + self._decoder.decode(chunk, final=self.ended)
        self.at = 0
        return not self.ended

    def peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            match = _SPACE.match(self.text, self.at)
            assert match is not None
            self.skip(match.end() - self.at)
            if self.at < len(self.text):
                return self.text[self.at]
            if not self.more() and self.at >= len(self.text):
                return ""

    def skip(self, count: int) -> str:
        """Go on by `count` characters and return them."""
        taken = self.text[self.at : self.at + count]
        self.line += taken.count("\n")
        self.at += count
        if self.at > _BEHIND:  # the parser counts lines from the window's beginning at each fault
            self.text, self.at = self.text[self.at :], 0
        return taken


def _pass_by(source: _Text) -> bool:
    """Go behind the value that begins here by its brackets alone; False if the file ends inside it."""
    depth = 0
    while True:
        match = _TOKEN.search(source.text, source.at)
        cut = match is not None and match[0][0] == '"' and not match["end"]
        if match is None or cut:
            # Of what is left only a string that is cut off must stay; it may grow, but no further than the file.
            source.skip((match.start() if match else len(source.text)) - source.at)
            if cut and len(source.text) - source.at > _LONGEST_STRING:
                source.skip(len(source.text) - source.at)
            if not source.more():
                source.skip(len(source.text) - source.at)
                return False
            continue
        mark = match[0]
        if depth == 0 and mark in ",]}":
            source.skip(match.start() - source.at)
            return True
        source.skip(match.end() - source.at)
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        if depth == 0:
            return True


def _value(source: _Text, longest: int) -> JsonValue:
    line = source.line
    reason = ""
    while True:
        try:
            value, end = _DECODER.raw_decode(source.text, source.at)
        except json.JSONDecodeError as error:
            reason = f"broken JSON: {error.msg} {error.pos - source.at} characters into the value"
            if len(source.text) - source.at <= longest and not source.ended:
                if error.pos < len(source.text) - 64 and not _is_open_string(error):
                    break  # a real fault, not the end of what has been read
                source.more()
                continue
            break
        except (RecursionError, ValueError):
            _pass_by(source)
            return JsonValue(line, None, "broken-json", "broken JSON: nested too deeply or a number too long")
        # A number near the end of what has been read may go on.
        if (
            end + _LONGEST_EXPONENT > len(source.text)
            and not source.ended
            and not isinstance(value, (dict, list, str))
        ):
            source.more()
            continue
        if end - source.at > longest:
            source.skip(end - source.at)
            return JsonValue(line, None, "long-line", _too_long(longest))
        taken = source.skip(end - source.at)
        if not taken.isascii() and NO_UTF8.search(taken):
            return JsonValue(line, None, "encoding", "not UTF-8")
        return JsonValue(line, value)
    if len(source.text) - source.at > longest:
        _pass_by(source)
        return JsonValue(line, None, "long-line", _too_long(longest))
    whole = _pass_by(source)
    return JsonValue(line, None, "broken-json", reason if whole else f"{reason}; the file ends inside it")


def _too_long(longest: int) -> str:
    return f"a value of more than {longest >> 20} MiB"


def _is_open_string(error: json.JSONDecodeError) -> bool:
    return error.msg.startswith("Unterminated string")


def _elements(source: _Text, longest: int) -> Iterator[JsonValue]:
    """The elements of the array that begins here, its bracket included."""
    source.skip(1)
    while (next_one := source.peek()) != "]":
        if not next_one:
            yield JsonValue(
                source.line, None, "broken-json", "broken JSON: the file ends before its list does"
            )
            return
        if next_one in ",}:":
            source.skip(1)
            continue
        yield _value(source, longest)
    source.skip(1)


def _members(source: _Text, longest: int) -> Iterator[JsonValue]:
    """The elements of the first list of objects or lists inside the object that begins here; others are named."""
    source.skip(1)
    taken = ""
    while (next_one := source.peek()) != "}":
        line = source.line
        if not next_one:
            yield JsonValue(line, None, "broken-json", "broken JSON: the file ends inside an object")
            return
        if next_one == ",":
            source.skip(1)
            continue
        key = _value(source, longest)
        if source.peek() != ":":
            yield JsonValue(line, None, "broken-json", "broken JSON: a key without a value")
            _pass_by(source)
            continue
        source.skip(1)
        if source.peek() != "[":
            _pass_by(source)
            continue
        name = str(key.value)
        first = source.line
        if not taken:
            elements = _elements(source, longest)
            head = next(elements, None)
            if head is not None and (head.kind or isinstance(head.value, (dict, list))):
                taken = name
                yield head
                yield from elements
            else:
                for _ in elements:
                    pass
        else:
            _pass_by(source)
            yield JsonValue(
                first,
                None,
                "second-list",
                f"a second list, {name!r}, beside {taken!r}; one list a file is read",
            )
    source.skip(1)


def json_values(stream: IO[bytes], longest: int, inside: bool) -> Iterator[JsonValue]:
    """The values of a JSON file, in order.

    Args:
        stream: UTF-8.
        longest: characters of one value; a longer one is named and passed by.
        inside: of an object, the elements of the list inside it; else the object itself.
    """
    source = _Text(stream)
    while next_one := source.peek():
        if next_one == "[":
            yield from _elements(source, longest)
        elif next_one == "{" and inside:
            yield from _members(source, longest)
        elif next_one in ",]}":
            line = source.line
            source.skip(1)
            yield JsonValue(line, None, "broken-json", f"broken JSON: `{next_one}` where a value should be")
        else:
            yield _value(source, longest)
