"""Numbers that are a whole turn, or all that matters in it: told by the question before them, or by their form."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction.spans import Span

# What a spreadsheet makes of a number of twelve digits or more: 4.53E+15, with a comma in some countries, and
# `453 e 15` where a chat's punctuation was taken out.
SPREADSHEET = r"(?:[1-9][.,]\d{1,14}|[1-9]\d{0,2})\s?[eE]\s?\+?\s?1[1-9](?!\d)"
_SPREADSHEET = re.compile(SPREADSHEET)

_ASKED = (
    ("national_id", re.compile(r"\bssn\b|social\s+security|passport|licen[cs]e", re.IGNORECASE)),
    ("card", re.compile(r"\bcard\b", re.IGNORECASE)),
    (
        "account",
        re.compile(
            r"\b(?:accounts?|acct|policy|claim|member(?:ship)?|routing|(?:customer|client|patient)\s+(?:id|number))\b",
            re.IGNORECASE,
        ),
    ),
)
_ASKED_FOR_A_NUMBER = re.compile(r"\b(?:numbers?|digits?|ids?|details|n[uú]mero|nummer)\b", re.IGNORECASE)
_FILLERS = (
    r"(?:(?:ok(?:ay)?|yes|yeah|ya|sure|please|hi|hello|it'?s|it\s+is|its|they\s+are|here\s+(?:it\s+is|you\s+go)"
    r"|sorry|thanks)[\s,.:]*){0,4}"
)
_JOINT = r"\s*(?:,|;|&|/|\band\b|\n)\s*"
_BARE = re.compile(rf"^[^\w$€£]*{_FILLERS}(?P<value>[a-z]{{0,4}}[ -]?\d[\d -]{{1,22}}\d)\W*$", re.IGNORECASE)
_BARE_SPREADSHEET = re.compile(rf"^[^\w$€£]*{_FILLERS}(?P<value>{SPREADSHEET})\W*$", re.IGNORECASE)
_ALONE = re.compile(
    rf"^[^\w$€£]*{_FILLERS}(?P<values>\d{{4,19}}(?:{_JOINT}\d{{4,19}}){{0,3}})\W*$", re.IGNORECASE
)
_YEAR_OR_TIME = re.compile(
    r"(?:19|20)\d{2}|(?:19|20)\d{2}(?:0\d|1[0-2])[0-3]\d(?:\d{6})?|1[5-9]\d{8}(?:\d{3}){0,3}"
)
# In an answer of a few words: numbers that are no amount, no part of another and no time.
_IN_ANSWER = re.compile(
    r"(?<![\w.,$€£/:-])\d(?:[\d-]{1,22}\d| ?\d{2,}){1,5}"
    r"(?![\w%]|[.,:/]\d|\s?(?:dollars?|euros?|pounds?|usd|eur|am|pm|years?)\b)",
    re.IGNORECASE,
)
_MOST_WORDS = 6  # of an answer that says several things; a longer one tells what each number is


def digits(text: str) -> int:
    """How many digits there are."""
    return sum(character.isdigit() for character in text)


def _kinds_asked(before: str) -> list[tuple[int, int, str]]:
    """What a question asks for: first and last place and kind, in the order of the first."""
    found = [(kind, list(word.finditer(before))) for kind, word in _ASKED]
    return sorted((places[0].start(), places[-1].start(), kind) for kind, places in found if places)


def _answers(text: str, before: str) -> Iterator[Span]:
    """Numbers of an answer, of the kinds that the question names: the first number is the first that was asked for."""
    asked = _kinds_asked(before)
    if not asked:
        return
    why = "answers a question for it"
    latest = max((last, kind) for _, last, kind in asked)[1]
    bare = _BARE.match(text)
    if bare and digits(bare["value"]) > 2:
        yield Span(*bare.span("value"), latest, 0.7, why)
        return
    numbers = [match for match in _IN_ANSWER.finditer(text) if digits(match.group()) > 3]
    if len(re.findall(r"[^\W\d_]+", text)) > _MOST_WORDS:
        return
    kinds = [kind for _, _, kind in asked] if len(numbers) > 1 else [latest]
    for place, match in enumerate(numbers):
        yield Span(*match.span(), kinds[min(place, len(kinds) - 1)], 0.7, why)


def find_alone(text: str, before: str = "") -> Iterator[Span]:
    """Numbers that answer a question for them, and those that nothing else in the text explains.

    Args:
        text: a whole turn, or a whole field of one.
        before: what was said before it. Where that asks for no number, a number in a spreadsheet's form is a quantity.
    """
    if not digits(text):
        return
    before = before[-200:]
    if before.strip():
        yield from _answers(text, before)
    asked = _kinds_asked(before)
    written = _BARE_SPREADSHEET.match(text)
    if written and (not before.strip() or asked or _ASKED_FOR_A_NUMBER.search(before)):
        kind = asked[-1][2] if asked else "card"  # the commonest of such length
        yield Span(*written.span("value"), kind, 0.5, "a long number as a spreadsheet writes it")
        return
    alone = _ALONE.match(text)
    if not alone:
        return
    for match in re.finditer(r"\d+", alone["values"]):
        start, end = alone.start("values") + match.start(), alone.start("values") + match.end()
        if _YEAR_OR_TIME.fullmatch(match.group()) or len(set(match.group())) == 1:
            continue
        if len(match.group()) in {15, 16}:
            yield Span(start, end, "card", 0.5, "as many digits as a card has, and nothing else is said")
        else:
            yield Span(start, end, "account", 0.4, "a number that nothing explains")


def spreadsheet_exponent(value: str) -> int | None:
    """Where the exponent of a number in a spreadsheet's form begins in `value`; None where it is no such number."""
    if not _SPREADSHEET.fullmatch(value):
        return None
    return next(place for place, character in enumerate(value) if character in "eE ")
