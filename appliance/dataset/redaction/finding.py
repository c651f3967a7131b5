"""All finders over one text, and what they found put in order. Pure: the same text gives the same spans."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from appliance.dataset.redaction.addresses import find_addresses
from appliance.dataset.redaction.bank_numbers import find_cards, find_ibans
from appliance.dataset.redaction.birth_dates import find_birth_dates
from appliance.dataset.redaction.credentials import find_secrets
from appliance.dataset.redaction.labelled_numbers import find_labelled
from appliance.dataset.redaction.machine_addresses import find_emails, find_network, find_urls
from appliance.dataset.redaction.names import find_names
from appliance.dataset.redaction.national_ids import find_national_ids
from appliance.dataset.redaction.numbers_alone import find_alone
from appliance.dataset.redaction.phones import find_phones
from appliance.dataset.redaction.spans import DEFAULT_KINDS, KINDS, Span, resolve

CLOSED = (
    "\ue000"  # stands for what is replaced already; one character, so that a number's width changes nothing
)
PLACEHOLDER = re.compile(rf"\[(?:{'|'.join(kind.upper() for kind in KINDS)})_\d{{1,9}}\]")
_WIDEST_BLANK = 8  # characters of white space in a row that finders get to see
_BLANKS = re.compile(rf"\s{{{_WIDEST_BLANK + 1},}}")
_MOST_PASSES, _MOST_LOOKED_AT = 20, 1_000_000  # passes over a long text; characters, for a short one

Tagger = Callable[[str], Sequence[Span]]

_FINDERS: tuple[tuple[frozenset[str], Callable[[str, str], Iterator[Span]]], ...] = (
    (frozenset({"email"}), lambda text, _: find_emails(text)),
    (frozenset({"ip", "mac"}), lambda text, _: find_network(text)),
    (frozenset({"url"}), lambda text, _: find_urls(text)),
    (frozenset({"secret"}), lambda text, _: find_secrets(text)),
    (frozenset({"card"}), lambda text, _: find_cards(text)),
    (frozenset({"iban"}), lambda text, _: find_ibans(text)),
    (frozenset({"national_id"}), find_national_ids),
    (frozenset({"phone"}), find_phones),
    (frozenset({"national_id", "card", "account"}), lambda text, _: find_labelled(text)),
    (frozenset({"national_id", "card", "account"}), find_alone),
    (frozenset({"birth_date"}), find_birth_dates),
    (frozenset({"address"}), find_addresses),
    (frozenset({"name"}), find_names),
)


class Unsettled(Exception):  # noqa: N818 - a reason for one row, not a fault of the program
    """Each look at a text shows more personal data: it was made to, and is not looked at for ever."""


@dataclass(frozen=True)
class Options:
    """What to look for.

    Attributes:
        kinds: of `KINDS`.
        min_score: spans below it are dropped.
        allowed_values: texts that stay, in lower case.
        allowed_patterns: expressions; a span that one matches as a whole stays.
        tagger: finds more, in a text; its spans are put together with ours.
        marked: finds what a person marked or told; of any kind, whatever `kinds` and `min_score` say.
    """

    kinds: frozenset[str] = frozenset(DEFAULT_KINDS)
    min_score: float = 0.5
    allowed_values: frozenset[str] = frozenset()
    allowed_patterns: tuple[re.Pattern[str], ...] = ()
    tagger: Tagger | None = None
    marked: Tagger | None = None

    def allows(self, value: str) -> bool:
        """Whether this very text is to stay."""
        return value.lower() in self.allowed_values or any(
            pattern.fullmatch(value) for pattern in self.allowed_patterns
        )


def close(text: str, spans: Sequence[Span]) -> tuple[str, Callable[[int], int]]:
    """`text` with each of `spans` as one closed character, and how its places lie in `text`."""
    return _shortened(text, [(span.start, span.end, CLOSED) for span in spans])


def narrow(text: str) -> tuple[str, Callable[[int], int]]:
    """`text` with long white space cut short, and how its places lie in `text`.

    Finders look through white space of any length at each place where something might begin, so a line of blanks
    would cost its square.
    """
    half = _WIDEST_BLANK // 2
    return _shortened(text, [(m.start() + half, m.end() - half, "") for m in _BLANKS.finditer(text)])


def _shortened(text: str, cuts: Sequence[tuple[int, int, str]]) -> tuple[str, Callable[[int], int]]:
    """`text` with other characters from start to end of each cut, and how its places lie in `text`."""
    if not cuts:
        return text, lambda place: place
    pieces: list[str] = []
    places: list[int] = [0]  # in the new text, where a stretch of plain text begins
    shifts: list[int] = [0]
    taken, length = 0, 0
    for start, end, instead in cuts:
        pieces += [text[taken:start], instead]
        length += start - taken + len(instead)
        taken = end
        places.append(length)
        shifts.append(taken - length)
    pieces.append(text[taken:])

    def back(place: int) -> int:
        return place + shifts[bisect_right(places, place) - 1]

    return "".join(pieces), back


def passes(characters: int) -> Iterator[int]:
    """Numbers of the passes that texts of so many characters are looked through in.

    Raises:
        Unsettled: the last of them still found something new.
    """
    yield from range(max(_MOST_PASSES, _MOST_LOOKED_AT // max(1, characters)))
    raise Unsettled


def _once(text: str, before: str, options: Options) -> list[Span]:
    found = [
        span
        for kinds, finder in _FINDERS
        if kinds & options.kinds
        for span in finder(text, before)
        if span.kind in options.kinds and span.score >= options.min_score
    ]
    if options.tagger is not None:
        found += [
            span
            for span in options.tagger(text)
            if span.kind in options.kinds and span.score >= options.min_score
        ]
    if options.marked is not None:
        found += options.marked(text)
    pieces: list[Span] = []
    for span in found:
        pieces += _open_parts(span, text)
    return [span for span in resolve(pieces, text) if not options.allows(text[span.start : span.end])]


def _open_parts(span: Span, text: str) -> list[Span]:
    """The parts of a span that are not closed already."""
    if CLOSED not in text[span.start : span.end]:
        return [span]
    parts = []
    for match in re.finditer(
        rf"[^{CLOSED}\s,;.]+(?:[^{CLOSED}]*[^{CLOSED}\s,;.])?", text[span.start : span.end]
    ):
        if any(character.isalnum() for character in match.group()):
            parts.append(
                Span(span.start + match.start(), span.start + match.end(), span.kind, span.score, span.why)
            )
    return parts


def find(
    text: str, options: Options = Options(), *, before: str = "", closed: Sequence[Span] = ()
) -> list[Span]:
    """Personal data in `text`: spans that don't overlap, in order.

    What is found is closed, and the rest looked through again until nothing more is found, so that finding in a text
    that was redacted finds nothing.

    Args:
        text: any text; placeholders in it (`[NAME_1]`) are left alone.
        options: what to look for.
        before: what was said before it, as the last turn of a conversation: a question tells what an answer is.
        closed: spans of `text` that are dealt with already.

    Raises:
        Unsettled: there is no end to it.
    """
    done = sorted([*closed, *(Span(m.start(), m.end(), "", 1, "") for m in PLACEHOLDER.finditer(text))])
    before = PLACEHOLDER.sub(CLOSED, before)
    found: list[Span] = []
    for _ in passes(len(text)):
        view, back = close(text, done)
        seen, wide = narrow(view)
        new = [
            Span(back(wide(span.start)), back(wide(span.end - 1)) + 1, span.kind, span.score, span.why)
            for span in _once(seen, before, options)
        ]
        if not new:
            break
        found += new
        done = sorted([*done, *new])
    return sorted(found)
