"""Payment cards and bank accounts by their own check digits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction import checksums
from appliance.dataset.redaction.spans import Span

_CARD = re.compile(r"(?<![\w.,/-])\d(?:[ -]?\d){11,18}(?![\w]|[.,/-]\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_IBAN_LOWER = re.compile(r"(?<![A-Za-z0-9])[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}(?![A-Za-z0-9])")
# Lengths by country: the IBAN registry's.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22,
    "MK": 19, "MR": 27, "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25,
    "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27,
    "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
# Issuers by their first digits, with the lengths that they give out.
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 18, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"30[0-59]|3[689]"), tuple(range(14, 20))),  # Diners Club
    (re.compile(r"35(?:2[89]|[3-8])"), tuple(range(16, 20))),  # JCB
    (re.compile(r"2131|1800"), (15,)),  # JCB, old
    (re.compile(r"5[0678]|6|0604"), tuple(range(12, 20))),  # Maestro, Discover, UnionPay, RuPay
)


_CARD_WORD = re.compile(r"\b(?:cards?|cc|visa|mastercard|maestro|amex|karte|carte|tarjeta)\b", re.IGNORECASE)
_ORDER = re.compile(
    r"\b(?:order|invoice|serial|tracking|ticket|reference|ref|licen[cs]e|key|code|sku)\b[^\d]{0,20}$", re.I
)


def is_card(text: str) -> bool:
    """Whether the digits of `text` are a card's: a known issuer's beginning and length, and Luhn's check."""
    plain = re.sub(r"[ -]", "", text)
    if len(set(plain)) < 2 or not plain.isdigit():
        return False
    known = any(beginning.match(plain) and len(plain) in lengths for beginning, lengths in _ISSUERS)
    return known and checksums.luhn(plain)


def is_iban(text: str) -> bool:
    """Whether `text` is an IBAN: its country's length, and MOD 97."""
    plain = re.sub(r"[ -]", "", text).upper()
    return IBAN_LENGTHS.get(plain[:2]) == len(plain) and plain.isascii() and checksums.mod97(plain)


def find_cards(text: str) -> Iterator[Span]:
    """Card numbers that pass their check."""
    for match in _CARD.finditer(text):
        if is_card(match.group()):
            yield Span(match.start(), match.end(), "card", 0.95, "an issuer's digits, and the checksum holds")
        elif checksums.luhn(match.group()) and _CARD_WORD.search(
            text[max(0, match.start() - 60) : match.end() + 30]
        ):
            yield Span(match.start(), match.end(), "card", 0.9, "the checksum holds, beside a word for cards")
        elif re.fullmatch(r"\d{4}([ -])\d{4}(?:\1\d{4}){2}", match.group()) and not _ORDER.search(
            text[max(0, match.start() - 30) : match.start()]
        ):
            yield Span(match.start(), match.end(), "card", 0.5, "written like a card's number")


def find_ibans(text: str) -> Iterator[Span]:
    """IBANs that pass their check; a word that follows one is not taken in."""
    for pattern in (_IBAN, _IBAN_LOWER):
        for match in pattern.finditer(text):
            length = IBAN_LENGTHS.get(match.group()[:2].upper(), 0)
            taken, end = 0, match.start()
            while end < match.end() and taken < length:
                taken += text[end].isalnum()
                end += 1
            if length and taken == length and is_iban(text[match.start() : end]):
                whole = end == len(text) or not text[end].isalnum()
                if whole:
                    yield Span(match.start(), end, "iban", 0.98, "an IBAN whose checksum holds")
