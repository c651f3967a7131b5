"""One conversation: what is found in one turn is looked for in all of them, and equal values get equal replacements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from appliance.dataset.redaction.finding import PLACEHOLDER, Options, close, find, passes
from appliance.dataset.redaction.json_text import JsonString, context, json_strings, with_values
from appliance.dataset.redaction.spans import Span
from appliance.dataset.redaction.spreading import KnownValues
from appliance.dataset.redaction.surrogates import normal
from appliance.dataset.redaction.words_of import minds_case

_SAID_BEFORE = 200  # characters of the turn before that may be the question to this one
_ELSEWHERE = 0.5
_MOST_WORDS = 6  # of a name that is compared with parts of itself


@dataclass
class Field:
    """A text that is looked through as one: a turn, or a string inside a turn of JSON.

    Attributes:
        turn: the turn's number, from 1.
        text: what it says.
        place: which of the turn's strings it is; None where the turn is plain text.
        key: the JSON key above it.
        fixed: whether it can't be changed (a JSON number).
        spans: what was found in it.
    """

    turn: int
    text: str
    place: int | None = None
    key: str = ""
    fixed: bool = False
    spans: list[Span] = field(default_factory=list)


@dataclass
class Turn:
    """A turn taken apart."""

    content: str
    strings: list[JsonString] | None
    fields: list[Field]


def take_apart(messages: Sequence[dict[str, Any]], skip: Callable[[dict[str, Any]], bool]) -> list[Turn]:
    """The turns of a conversation with the texts to look through; none in a turn that `skip` says to leave alone."""
    turns = []
    for number, message in enumerate(messages, start=1):
        content = str(message["content"])
        strings = json_strings(content)
        if skip(message):
            fields = []
        elif strings is None:
            fields = [Field(number, content)]
        else:
            fields = [
                Field(number, string.value, place, string.key, string.number)
                for place, string in enumerate(strings)
            ]
        turns.append(Turn(content, strings, fields))
    return turns


def find_all(turns: Sequence[Turn], options: Options) -> list[Field]:
    """Fill in what is found in each text of a conversation; returns the texts, in order.

    Ends when a whole pass finds nothing new: a conversation that was redacted has nothing to find.

    Raises:
        Unsettled: there is no end to it.
    """
    fields = [part for turn in turns for part in turn.fields]
    for _ in passes(sum(len(part.text) for part in fields)):
        new = False
        for number, turn in enumerate(turns):
            for part in turn.fields:
                before = _before(turns, number) if part.place is None else context(part.key)
                found = find(part.text, options, before=before, closed=part.spans)
                part.spans = sorted([*part.spans, *found])
                new = new or bool(found)
        if not _spread(fields, options) and not new:
            break
    return fields


def _before(turns: Sequence[Turn], number: int) -> str:
    if not number:
        return ""
    earlier = turns[number - 1]
    if earlier.strings is not None or not earlier.fields:
        return ""
    part = earlier.fields[0]
    return PLACEHOLDER.sub("\ue000", close(part.text, part.spans)[0])[-_SAID_BEFORE:]


def _spread(fields: Sequence[Field], options: Options) -> bool:
    """Close every other place of a value that was found; whether there was one."""
    known = KnownValues()
    cased = [minds_case(part.text) for part in fields]
    for part, minds in zip(fields, cased, strict=True):
        for span in part.spans:
            known.add(span.kind, part.text[span.start : span.end], not minds)
    changed = False
    for part, minds in zip(fields, cased, strict=True):
        view, back = close(part.text, part.spans)
        found = [
            Span(back(start), back(end - 1) + 1, kind, _ELSEWHERE, "found elsewhere too")
            for start, end, kind in known.places(view, minds)
        ]
        found = [span for span in found if not options.allows(part.text[span.start : span.end])]
        changed = changed or bool(found)
        part.spans = sorted([*part.spans, *found])
    return changed


class Placeholders:
    """Numbers the values of one conversation, `[NAME_1]`, `[NAME_2]`; the same value gets the same placeholder.

    Args:
        texts: the conversation; numbers that placeholders in it bear already are not given again.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._given: dict[tuple[str, str], int] = {}
        self._by_words: dict[frozenset[str], set[int]] = {}  # whole names
        self._by_word: dict[str, set[int]] = {}  # names that hold a word
        self._last: dict[str, int] = {}
        for text in texts:
            for match in PLACEHOLDER.finditer(text):
                kind, _, number = match.group()[1:-1].rpartition("_")
                self._last[kind.lower()] = max(self._last.get(kind.lower(), 0), int(number))

    def of(self, kind: str, value: str) -> str:
        """The placeholder of a value; a name's part has that of the whole name, where only one has it."""
        known = (kind, normal(kind, value))
        if known not in self._given:
            number = self._same_person(known[1]) if kind == "name" else 0
            if not number:
                number = self._last[kind] = self._last.get(kind, 0) + 1
            self._given[known] = number
            if kind == "name":
                words = frozenset(known[1].split())
                self._by_words.setdefault(words, set()).add(number)
                for word in words:
                    self._by_word.setdefault(word, set()).add(number)
        return f"[{kind.upper()}_{self._given[known]}]"

    def _same_person(self, name: str) -> int:
        """The number of the one person whose name holds this one or is held by it; 0 where there is none or more."""
        words = sorted(frozenset(name.split()))
        holders = sorted((self._by_word.get(word, set()) for word in words), key=len)
        numbers = set.intersection(*holders) if holders else set()
        for count in range(1, min(len(words), _MOST_WORDS)):
            for part in combinations(words[:_MOST_WORDS], count):
                numbers = numbers | self._by_words.get(frozenset(part), set())
        return next(iter(numbers)) if len(numbers) == 1 else 0


def put_together(turn: Turn, replacements: dict[int | None, str]) -> str:
    """The turn's content with other texts for some of its fields."""
    if turn.strings is None:
        return replacements.get(None, turn.content)
    changes = {place: text for place, text in replacements.items() if place is not None}
    return with_values(turn.content, changes, turn.strings)
