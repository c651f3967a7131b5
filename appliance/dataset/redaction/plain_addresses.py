"""Addresses in chat that has no capitals and no commas: `no 12 lake road springfield il 62701`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction import address_words as known
from appliance.dataset.redaction.gazetteers import Gazetteers
from appliance.dataset.redaction.spans import Span

_NO_PLACE = (
    r"(?!(?:and|is|are|was|my|the|i|you|to|for|with|dollars?|rupees?|times?|days?|years?|months?|hours?|minutes?|weeks?"
    r"|digits?|number|am|pm|no|it|this|that|please|but|or|have|has|need|want|model|cc|gb|of|on|in|at|a)\b)"
)
_TYPES = "|".join(sorted((re.escape(word) for word in known.STREET_TYPES), key=len, reverse=True))
_STATES = "|".join(sorted(known.STATE_CODES))
_START = (
    r"(?<![\w.,-])(?:(?:no|flat|house|door|apt|unit)\.?\s?(?:no\.?\s?)?)?\d{1,5}[a-z]?(?:[/-]\d{1,4})?,?\s"
)
_WORDS = rf"(?:(?:and\s)?(?:{_NO_PLACE}[^\W\d_][\w'.-]*|\d{{1,3}}\s?(?:st|nd|rd|th)),?\s)"
_STREET = re.compile(
    rf"{_START}(?:\d{{1,3}}\s)?{_WORDS}{{1,4}}?(?:{_TYPES}|stre+t?\w*|av[ea]?n\w{{1,6}})\b", re.IGNORECASE
)
_TAIL = re.compile(
    rf"(?:[,\s]+{_NO_PLACE}[^\W\d_][\w'-]*){{0,3}}[,\s]+(?:{_STATES})(?:\s\d{{4,6}})?\b|(?:[,\s]+{_NO_PLACE}[^\W\d_]\w+){{0,3}}\s\d{{5,6}}\b",
    re.IGNORECASE,
)
_TO_CODE = re.compile(rf"{_START}{_WORDS}{{1,6}}(?:{_STATES}|[a-z]{{2}})\s\d{{5,6}}(?!\w)", re.IGNORECASE)
_ASKED = re.compile(
    rf"\baddress\s+(?:is|was|to|:|as)?\s*:?\s*(?P<value>(?:(?:no|flat)\.?\s)?\d{{1,6}}[a-z]?,?\s{_WORDS}{{0,6}}{_NO_PLACE}[^\W\d_][\w'-]*(?:\s\d{{2,6}})?)",
    re.IGNORECASE,
)
_BARE = re.compile(
    rf"^\W*(?:(?:ok|yes|sure|its?|it is|actually|sorry)\W+)*"
    rf"(?P<value>no\.?\s\d{{1,5}},?\s{_WORDS}{{1,5}}(?:\d{{2,6}}|{_NO_PLACE}[^\W\d_]+))\W*$",
    re.IGNORECASE,
)

_NEAR = 200  # characters in which the next place must begin
_PLACE = re.compile(r"[,\s]+([^\W\d_]{2,})")


def find_plain(text: str, before: str, lists: Gazetteers) -> Iterator[Span]:
    """Addresses in a text without capitals.

    Args:
        text: where to look.
        before: what was said before it.
        lists: names of places.
    """
    for match in _STREET.finditer(text):
        end = match.end()
        tail = _TAIL.match(text, end)
        end = tail.end() if tail else _places(text, end, lists)
        yield Span(match.start(), end, "address", 0.65, "a number and a kind of street")
    for match in _TO_CODE.finditer(text):
        code = match.group().split()[-2].lower()
        if code in known.STATE_CODES and code not in {"in", "or", "me", "hi", "ok", "as", "on"}:
            yield Span(
                match.start(), match.end(), "address", 0.6, "from a number to a state and a postal code"
            )
    for match in _ASKED.finditer(text):
        yield Span(*match.span("value"), "address", 0.65, "follows the word address")
    if bare := _BARE.match(text):
        yield Span(*bare.span("value"), "address", 0.5, "a door's number and names")
    if before and re.search(r"\baddress\b", before, re.IGNORECASE):
        answer = re.match(
            rf"\W*(?P<value>\d{{1,5}}[a-z]?,?\s{_WORDS}{{0,6}}[^\W\d_]+(?:\s\d{{2,6}})?)\W*$", text, re.I
        )
        if answer:
            yield Span(*answer.span("value"), "address", 0.6, "answers a question for an address")


def _places(text: str, end: int, lists: Gazetteers) -> int:
    """Where the names of places that follow an address end."""
    while match := _PLACE.search(text, end, end + _NEAR):
        word = match[1].lower()
        if word not in lists.place_words and word not in lists.countries:
            break
        end = match.end()
    return end
