"""A text cut into words with their places, and whether it minds upper and lower case."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*")
_POSSESSIVE = re.compile(r"['’][sS]$")
_MOST_UPPER = 0.7


def words_in(text: str) -> frozenset[str]:
    """The words of a list that is written as text."""
    return frozenset(text.split())


@dataclass(frozen=True)
class Word:
    """One word.

    Attributes:
        start, end: its characters, without a possessive `'s`.
        text: as it stands.
        lower: in lower case.
        capital: whether it begins with an upper-case letter.
        shouted: whether all of it (two letters or more) is in upper case.
        possessive: whether an `'s` follows.
    """

    start: int
    end: int
    text: str
    lower: str
    capital: bool
    shouted: bool
    possessive: bool


def words_of(text: str) -> list[Word]:
    """The words of `text`, in order."""
    found = []
    for match in _WORD.finditer(text):
        word = match.group()
        possessive = bool(_POSSESSIVE.search(word)) and len(word) > 2
        if possessive:
            word = word[:-2]
        found.append(
            Word(
                match.start(),
                match.start() + len(word),
                word,
                word.lower().replace("’", "'"),
                word[0].isupper(),
                len(word) > 1 and word.isupper(),
                possessive,
            )
        )
    return found


def minds_case(text: str) -> bool:
    """Whether upper-case letters mean something in `text`: not in chat that has none, nor in what is shouted."""
    upper = sum(character.isupper() for character in text)
    if not upper:
        return False
    letters = sum(character.isalpha() for character in text)
    return upper < _MOST_UPPER * letters
