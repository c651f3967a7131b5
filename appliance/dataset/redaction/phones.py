"""Telephone numbers: by libphonenumber's plans, by their layout, and by the words beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from appliance.dataset.redaction.spans import Span

# Digits in groups: an optional +, brackets around an area code, one separator between groups.
_CANDIDATE = re.compile(
    r"(?<![\w./:#$€£=@-])(?<!\d,)(?:\+ ?|00(?=[1-9]))?(?:\(\+?\d{1,5}\)[ .-]?)?\d{1,14}"
    r"(?:(?:[ .-]|\)[ .-]?| ?\(| ?/ ?)\d{1,8}){0,6}"
    r"(?:\s?(?:x|ext\.?|extension)\s?\d{1,6})?(?![\w%@=]|[.,:/-]\d)",
    re.IGNORECASE,
)
_REGIONS = ("US", "GB", "IN", "DE", "FR", "AU", "IT", "ES", "NL", "BR", "ZA", "SE", "CH", "AT", "BE", "PL")
_WORDS_BEFORE = re.compile(
    r"\b(?:phone|telephone|tel|call(?:ed|ing|s)?|cell(?:phone|ular)?|mobile|mob|fax|whatsapp|sms|text(?:ed)?|dial|ring|reach"
    r"|contact|hotline|handy|telefon|mobil|t[ée]l[ée]phone|tel[ée]fono|telefono|registered(?:\s+(?:number|with))?|landline)\b"
    r"[^\d\n]{0,30}$",
    re.IGNORECASE,
)
_WORDS_AFTER = re.compile(
    r"^\s?(?:[-–:(,]\s?)?(?:office|fax|mobile|cell|home|work|direct|phone|tel)\b", re.IGNORECASE
)
_OTHER_BEFORE = re.compile(
    r"\b(?:order|invoice|ticket|tracking|reference|ref|version|part|serial|sku|isbn|issn|issue|article|item|model|code|pin|case"
    r"|build|port|id|account|acct|card|cc|cvv|ssn|policy|claim|zip|postal|passport|licen[cs]e|page|rfc|iso|error|batch|lot|po|transaction)\b"
    r"(?:\s+(?:number|no|num|nr|id|code|is|was|my|the|are|of)\b|[\s.:#=-])*+$",
    re.IGNORECASE,
)
_MAIL = r"(?:[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\w+ (?:\d+ )?\w*(?:mail|yahoo|outlook)\.?(?:com|net|org))"
_MAIL_BEFORE = re.compile(rf"{_MAIL}\s*(?:and|or|&|/|\n)\s*$", re.IGNORECASE)
_MAIL_AFTER = re.compile(rf"^\s*(?:and|or|&|/|\n)\s*(?:e-?mail\W{{0,3}})?{_MAIL}", re.IGNORECASE)
_DATE = re.compile(
    r"^(?:(?:19|20)\d{2}([-./ ])\d{1,2}\1\d{1,2}|\d{1,2}([-./ ])\d{1,2}\2(?:19|20)?\d{2})(?:[ T]\d{1,2})?$"
    r"|^(?:(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|[12]\d|3[01])(?:19|20)\d{2})$"
)
_LEAST_BESIDE_MAIL = 9  # digits
_YEARS = re.compile(r"^(?:1[5-9]|20)\d{2}\s?[-–/ ]\s?(?:(?:1[5-9]|20)\d{2}|\d{2})$")


def plan_of(text: str) -> str:
    """Where libphonenumber's plan knows the number as valid: `+` for an international one, a region, or nothing."""
    regions: tuple[str | None, ...] = (None,) if text.lstrip().startswith("+") else _REGIONS
    for region in regions:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(text, region)):
                return region or "+"
        except phonenumbers.NumberParseException:
            continue
    return ""


def _layout(text: str) -> float:
    """How much the grouping alone looks like a telephone number's."""
    body = re.sub(r"(?i)\s?(?:x|ext).*$", "", text).strip()
    groups = re.findall(r"\d+", body)
    if body.startswith(("+", "(")):
        return 0.7
    if len(groups) == 1:
        return 0.3 if 8 <= len(groups[0]) <= 12 else 0.1
    if len(groups) >= 4 and all(len(group) == 2 for group in groups[1:]) and len(groups[0]) <= 3:
        return 0.6
    if len(groups) == 3 and len(groups[1]) == 3 and len(groups[2]) == 4 and 2 <= len(groups[0]) <= 4:
        return 0.7
    if len(groups) == 2 and len(groups[1]) == 4 and 3 <= len(groups[0]) <= 4 and "-" in body:
        return 0.5
    if len(groups) in {3, 4} and all(2 <= len(group) <= 4 for group in groups) and len("".join(groups)) > 8:
        return 0.45
    return 0.2


def find_phones(text: str, before: str = "") -> Iterator[Span]:
    """Telephone numbers of any country.

    Args:
        text: where to look.
        before: what was said before it.
    """
    for match in _CANDIDATE.finditer(text):
        found = match.group().rstrip(" .-(/")
        count = sum(character.isdigit() for character in re.sub(r"(?i)(?:x|ext).*$", "", found))
        if not 6 <= count <= 15 or _DATE.match(found) or _YEARS.match(found):
            continue
        start, end = match.start(), match.start() + len(found)
        said = text[max(0, start - 60) : start]
        if not said.strip():
            said = before[-60:] + " " + said
        if _OTHER_BEFORE.search(said):
            continue
        if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", found):  # an IP address, or something numbered like one
            continue
        named = bool(_WORDS_BEFORE.search(said) or _WORDS_AFTER.match(text[end : end + 12]))
        score, why = _layout(found), "grouped like a telephone number"
        plan = plan_of(found) if named or score >= 0.3 else ""
        if plan == "+":
            score, why = 0.95, "a valid international number"
        elif plan and score >= 0.45:
            score, why = max(score, 0.75), f"a valid number in {plan}"
        elif plan in {"US", "IN"} and count == len(found) == 10:
            score, why = 0.5, f"ten digits, valid in {plan}"
        elif plan and count == len(found) and found[0] == "0":
            score, why = 0.5, f"a valid number in {plan}"
        if count >= _LEAST_BESIDE_MAIL and (
            _MAIL_BEFORE.search(said) or _MAIL_AFTER.match(text[end : end + 80])
        ):
            score, why = max(0.6, score), "beside an e-mail address"
        if named:
            score, why = max(0.8, score), "beside a word for telephones"
        yield Span(start, end, "phone", score, why)
