"""Dates of birth: a date beside a word for birth. Other dates are nobody's."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction.spans import Span

MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
    "|januar|februar|märz|mai|juni|juli|oktober|dezember|janvier|février|mars|avril|juin|juillet|août|septembre|octobre"
    "|novembre|décembre|enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|octubre|noviembre|diciembre"
)
DATE = re.compile(
    rf"(?<![\w.-])(?:\d{{4}}[-./]\d{{1,2}}[-./]\d{{1,2}}|\d{{1,2}}[-./ ]\d{{1,2}}[-./ ](?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\.?(?:\s+of|\s+de)?[\s-]+(?:{MONTHS})\.?,?[\s-]+(?:de\s+)?(?:\d{{4}}|'?\d{{2}})"
    rf"|(?:{MONTHS})\.?\s+\d{{1,2}}(?:st|nd|rd|th)?(?:,?\s+\d{{4}})?|\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?(?:{MONTHS})|(?:19|20)\d{{6}})(?![\w-])",
    re.IGNORECASE,
)
_BIRTH = re.compile(
    r"\b(?:born|birth(?:day|date)?|date\s+of\s+birth|d\.?\s?o\.?\s?b\.?|geboren|geb\.|geburtsdatum|naissance|née?\s+le|nacid[oa]"
    r"|nacimiento|nat[oa]\s+il|nascita|geboortedatum)(?!\w)",
    re.IGNORECASE,
)
_BEFORE, _AFTER = 60, 25


def find_birth_dates(text: str, before: str = "") -> Iterator[Span]:
    """Dates within a few words of a word for birth.

    Args:
        text: where to look.
        before: what was said before it: a question that a date answers.
    """
    if not (_BIRTH.search(text) or _BIRTH.search(before[-120:])):
        return
    for match in DATE.finditer(text):
        said = text[max(0, match.start() - _BEFORE) : match.start()]
        clause = re.split(r"[.!?\n]\s", said)[-1]
        if _BIRTH.search(clause) or (
            len(said) < 30 and not re.search(r"[.!?]\s", said) and _BIRTH.search(before[-120:])
        ):
            yield Span(match.start(), match.end(), "birth_date", 0.85, "follows a word for birth")
        elif re.match(
            r"\W{0,3}(?:is|was)?\s*(?:my|his|her|their|the)?\s*(?:birth|d\.?o\.?b)",
            text[match.end() : match.end() + _AFTER],
            re.I,
        ):
            yield Span(match.start(), match.end(), "birth_date", 0.8, "a word for birth follows it")
