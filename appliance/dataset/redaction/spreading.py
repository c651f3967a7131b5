"""Where else in a conversation a value stands that was found once; one walk over the words, however many values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.dataset.redaction.gazetteers import gazetteers
from appliance.dataset.redaction.words_of import words_of

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEAST_NAME, _LEAST = 3, 4  # characters that a value must have to be looked for


@dataclass
class _Values:
    """Values that begin with the same word, looked up by length: thousands may share a `+` or a first name."""

    kinds: dict[str, str] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)  # longest first

    def put(self, value: str, kind: str) -> None:
        if value in self.kinds:
            return
        self.kinds[value] = kind
        if len(value) not in self.lengths:
            self.lengths = sorted([*self.lengths, len(value)], reverse=True)


@dataclass
class KnownValues:
    """Values and their kinds, by their first word.

    Attributes:
        exact: values that must stand letter by letter.
        loose: those whose case doesn't matter; in lower case.
        small: those that may be in lower case only where a text has no capitals; in lower case.
    """

    exact: dict[str, _Values] = field(default_factory=dict)
    loose: dict[str, _Values] = field(default_factory=dict)
    small: dict[str, _Values] = field(default_factory=dict)

    def add(self, kind: str, value: str, caseless: bool) -> None:
        """Remember a value that was found.

        Args:
            kind: its kind.
            value: as it stood.
            caseless: whether it stood in a text where upper case means nothing.
        """
        if kind == "name":
            if len(value) < _LEAST_NAME:
                return
            _put(self.exact, value, kind)
            if " " in value:  # a name of several words is told by the words alone
                _put(self.loose, value.lower(), kind)
                for word in _telling_words(value):
                    _put(self.exact, word, kind)
                    if caseless:
                        _put(self.small, word.lower(), kind)
            elif caseless:
                _put(self.small, value.lower(), kind)
        elif sum(character.isalnum() for character in value) >= _LEAST:
            _put(self.exact, value, kind)
            if kind == "email":
                _put(self.loose, value.lower(), kind)

    def places(self, text: str, cased: bool) -> Iterator[tuple[int, int, str]]:
        """Where a value stands in `text`, as a word or words of its own: start, end and kind; none overlap.

        Args:
            text: where to look.
            cased: whether upper case means something in it.
        """
        lower = text.lower()
        if len(lower) != len(text):  # a letter whose lower case is two: then only letter by letter
            lower = ""
        end = 0
        for match in _TOKEN.finditer(text):
            start, token = match.span()[0], match.group()
            if start < end:
                continue
            longest = _longest(self.exact.get(token), text, start)
            if lower:
                small = token.lower()
                longest = max(longest, _longest(self.loose.get(small), lower, start))
                if not cased:
                    longest = max(longest, _longest(self.small.get(small), lower, start))
            if longest[0]:
                end = start + longest[0]
                yield start, end, longest[1]


def _put(index: dict[str, _Values], value: str, kind: str) -> None:
    first = _TOKEN.match(value)
    if first:
        index.setdefault(first.group(), _Values()).put(value, kind)


def _longest(values: _Values | None, text: str, start: int) -> tuple[int, str]:
    """Length and kind of the longest of `values` that stands at `start`; (0, "") for none."""
    if values is None:
        return (0, "")
    for length in values.lengths:
        value = text[start : start + length]
        if value in values.kinds and not (
            value[-1].isalnum() and text[start + length : start + length + 1].isalnum()
        ):
            return length, values.kinds[value]
    return (0, "")


def _telling_words(name: str) -> list[str]:
    """The words of a name that stand for the person alone: no particles, initials or plain words."""
    lists = gazetteers()
    return [
        word.text
        for word in words_of(name)
        if len(word.text) >= _LEAST_NAME and not lists.is_plain(word.lower) and not lists.is_word(word.lower)
    ]
