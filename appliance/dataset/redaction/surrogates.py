"""Made-up values that stand for real ones: of the same kind and form, the same for the same value under one key.

A number keeps its layout and gets check digits that hold. Where a range is set aside for examples it is used
(RFC 2606 domains, RFC 2544 and RFC 3849 addresses, 555-01xx), so that a surrogate is no other person's.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import random
import re
import string
from collections.abc import Callable
from functools import cache

from appliance.dataset.redaction import address_words, checksums, name_words
from appliance.dataset.redaction.bank_numbers import is_card
from appliance.dataset.redaction.birth_dates import DATE
from appliance.dataset.redaction.gazetteers import gazetteers
from appliance.dataset.redaction.national_ids import NATIONAL_IDS, compact
from appliance.dataset.redaction.numbers_alone import spreadsheet_exponent

_TRIES = 20_000
_MAC_DIGITS = 12
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}[A-Za-z0-9 -]{8,}", re.ASCII)
_WORD = re.compile(r"[^\W\d_]+")
_KEPT_PREFIX = re.compile(r"(?:[A-Za-z]{2,12}[_-])+(?=\w{8})|AKIA|ASIA|AGPA|AIDA|AROA|AIza|eyJ|SG\.|ya29\.")


def normal(kind: str, value: str) -> str:
    """What makes two values of one kind the same: digits and letters for numbers, words without their case else."""
    if kind in {"phone", "card", "iban", "account", "national_id", "mac"}:
        return re.sub(r"\W|_", "", value).lower()
    return " ".join(value.lower().split()) if kind != "secret" else value


class _NoneHolds(Exception):  # noqa: N818 - never leaves this file
    """No surrogate that was tried has the form of its kind."""


class Surrogates:
    """Makes surrogates.

    Args:
        key: secret bytes; another key gives other surrogates.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _chance(self, kind: str, value: str) -> random.Random:
        digest = hmac.new(self._key, f"{kind}\0{value}".encode(), hashlib.sha256).digest()
        return random.Random(digest)  # noqa: S311 - seeded by the keyed hash: it must give the same each time

    def of(self, kind: str, value: str) -> str:
        """The surrogate of `value`: never the value itself, and the same each time.

        Args:
            kind: one of `KINDS`.
            value: as it stands in the text; where a person told its kind, it need not look like it.
        """
        chance = self._chance(kind, normal(kind, value))
        try:
            if kind in {"name", "address", "email", "url"}:
                made = str(getattr(self, f"_{kind}")(value))
            else:
                made = _MAKERS.get(kind, _scrambled)(value, chance)
            return made if made != value else _scrambled(value, chance)
        except _NoneHolds:
            return _unlike(value, chance)

    def _word(self, word: str, place: bool = False) -> str:
        """Another word of the same sort and case; the same word always gives the same one."""
        lower = word.lower()
        chance = self._chance("place" if place else "name", lower)
        if len(word) == 1:
            return _cased(
                chance.choice([letter for letter in string.ascii_lowercase if letter != lower]), word
            )
        choices = _street_words() if place else _name_choices(lower)
        while (found := chance.choice(choices)) == lower:
            pass
        return _cased(found, word)

    def _name(self, value: str) -> str:
        def other(match: re.Match[str]) -> str:
            lower = match.group().lower()
            whole = match.span() == (0, len(value))
            kept = lower in name_words.PARTICLES or lower in name_words.SUFFIXES
            return match.group() if kept and not whole else self._word(match.group())

        return _WORD.sub(other, value)

    def _email(self, value: str) -> str:
        local, at, domain = value.partition("@")
        chance = self._chance("email", normal("email", value))
        if at:
            local = self._name(_digits_only(local, chance))
            ending = {"org": "org", "net": "net"}.get(domain.rpartition(".")[2].lower(), "com")
            made = f"{local}@example.{ending}"
            return made if made.lower() != value.lower() else f"x{made}"
        # Spelt out or without punctuation: what comes before the provider changes.
        words = re.split(r"(\s+)", value)
        kept = {"at", "dot", "com", "net", "org", "[at]", "(at)", "[dot]", "(dot)"}
        domain_words = [
            word for word in words if re.match(r"\w*mail|yahoo|outlook|icloud|live|gmx", word, re.I)
        ]
        made = "".join(
            word if word.lower() in kept or word in domain_words or word.isspace()
            else self._name(_digits_only(word, chance))
            for word in words
        )  # fmt: skip
        return made if made != value else f"{self._word('anna')} {made}"

    def _url(self, value: str) -> str:
        chance = self._chance("url", normal("url", value))
        scheme = re.match(r"(?:\w+://)?(?:www\.)?", value)
        return f"{scheme.group() if scheme else ''}{self._word('anna')}{chance.randrange(1000)}.example.com/"

    def _address(self, value: str) -> str:
        chance = self._chance("address", normal("address", value))
        kept = (
            address_words.STREET_TYPES | address_words.PREFIX_TYPES | address_words.AFTER_TYPES | address_words.UNITS
            | address_words.BOXES | address_words.PARTICLES | address_words.STATE_CODES
            | frozenset({"p", "o", "no", "corner"})
        )  # fmt: skip

        def other(match: re.Match[str]) -> str:
            word = match.group()
            if word.lower() in kept or word.lower() in gazetteers().countries:
                return word
            suffix = address_words.SUFFIX_TYPES.fullmatch(word)
            if suffix:
                ending = re.search(
                    r"(?:str\w*|weg|gatan|katu|vej|laan|plein|utca|gasse|platz|allee)\.?$", word
                )
                return self._word(word[: ending.start()] if ending else word, place=True) + (
                    ending.group() if ending else "weg"
                )
            return self._word(word, place=True)

        for _ in range(20):
            made = _WORD.sub(other, _digits_only(value, chance))
            if made != value:
                return made
        return self._word("main", place=True)


def _cased(word: str, like: str) -> str:
    if like.isupper() and len(like) > 1:
        return word.upper()
    return word.capitalize() if like[0].isupper() else word


@cache
def _name_lists() -> tuple[list[str], list[str], list[str]]:
    """Given names, family names and words that are both: common ones in Latin letters, no plain words."""
    lists = gazetteers()

    def plain(words: frozenset[str]) -> list[str]:
        return sorted(word for word in words if 4 < len(word) < 11 and word.isascii() and word.isalpha())

    given = [
        word for word in plain(lists.common_first) if lists.is_first(word) and word not in lists.place_words
    ]
    family = [
        word for word in plain(lists.last_names) if lists.is_last(word) and word not in lists.place_words
    ]
    both = sorted(set(given) & set(family))
    return given, family, both


def _name_choices(word: str) -> list[str]:
    lists = gazetteers()
    given, family, both = _name_lists()
    if word in lists.first_names:
        return given
    return family if word in lists.last_names else both


@cache
def _street_words() -> list[str]:
    return [word for word in _name_lists()[1] if not address_words.SUFFIX_TYPES.fullmatch(word)]


def _other_character(character: str, chance: random.Random, first: bool) -> str:
    if character in string.digits:
        return chance.choice("123456789" if first and character != "0" else string.digits)
    if character in string.ascii_uppercase:
        return chance.choice(string.ascii_uppercase)
    return chance.choice(string.ascii_lowercase) if character in string.ascii_lowercase else character


def _scramble(value: str, chance: random.Random, keep: int = 0) -> str:
    """Each digit another digit and each letter another of its case, from the character `keep` on."""
    return value[:keep] + "".join(
        _other_character(character, chance, place == 0) for place, character in enumerate(value[keep:])
    )


def _digits_only(value: str, chance: random.Random) -> str:
    """Each digit of `value` another one; a number doesn't begin with 0 unless it did."""
    return re.sub(r"\d+", lambda match: _scramble(match.group(), chance), value)


def _until(value: str, make: Callable[[], str], holds: Callable[[str], bool]) -> str:
    for _ in range(_TRIES):
        made = make()
        if made != value and holds(made):
            return made
    raise _NoneHolds


def _unlike(value: str, chance: random.Random) -> str:
    """Other letters and digits for a value that has not the form of its kind, Latin ones for letters of any script."""
    plain = "".join(
        "x" if character.isalnum() and not character.isascii() else character for character in value
    )
    if not any(character.isalnum() for character in plain):
        return "x"
    while (made := _scramble(plain, chance)) == value:
        pass
    return made


def _scrambled(value: str, chance: random.Random) -> str:
    end = spreadsheet_exponent(value)
    if end is not None:  # as many digits as it had
        return _until(value, lambda: _scramble(value[:end], chance) + value[end:], lambda _: True)
    return _until(value, lambda: _scramble(value, chance), lambda _: any(c.isalnum() for c in value))


def _card(value: str, chance: random.Random) -> str:
    if spreadsheet_exponent(value) is not None:
        return _scrambled(value, chance)
    genuine = is_card(value)
    return _until(value, lambda: _scramble(value, chance, 1), lambda made: is_card(made) == genuine)


def _iban(value: str, chance: random.Random) -> str:
    if not _IBAN.fullmatch(value):
        raise _NoneHolds
    body = _scramble(value[4:], chance)
    plain = re.sub(r"\W", "", value[:2] + "00" + body).upper()
    check = 98 - checksums.remainder97(plain)
    made = f"{value[:2]}{check:02d}{body}"
    return made if made != value else _iban(value, chance)


def _national_id(value: str, chance: random.Random) -> str:
    matching = [
        known
        for known in NATIONAL_IDS
        if known.pattern.fullmatch(value) and known.holds(compact(known, value))
    ]
    if not matching:
        return _scrambled(value, chance)
    # The form with the fewest matches by chance: what was a tax code stays one.
    known = max(matching, key=lambda known: known.alone)
    keep = 3 if "Swiss" in known.what else 0
    return _until(
        value,
        lambda: _scramble(value, chance, keep),
        lambda made: bool(known.pattern.fullmatch(made)) and known.holds(compact(known, made)),
    )


def _phone(value: str, chance: random.Random) -> str:
    from appliance.dataset.redaction.phones import find_phones, plan_of

    body = re.search(r"(?:\D|^)(\d{3})(\D{0,2})(\d{4})$", value)
    plain = re.sub(r"\D", "", value)
    if body and len(plain) in {7, 10, 11} and (len(plain) != 11 or plain[0] == "1"):
        area = _scramble(value[: body.start(1)], chance, 2 if value.startswith("+") else 0)
        made = f"{area}555{body[2]}01{chance.randrange(100):02d}"
        if made != value and not (value.startswith("+") and not plain.startswith("1")):
            return made
    known = plan_of(value)
    keep = min(len(value), 3 if value.startswith("+") else 2)
    for _ in range(300):
        made = _scramble(value, chance, keep)
        if made != value and (not known or plan_of(made)) and any(find_phones(made)):
            return made
    return _until(value, lambda: _scramble(value, chance, keep), lambda _: True)


def _ip(value: str, chance: random.Random) -> str:
    if "." in value and ":" not in value:
        return _until(
            value,
            lambda: f"198.{chance.choice((18, 19))}.{chance.randrange(256)}.{chance.randrange(1, 255)}",
            lambda _: True,
        )
    network = int(ipaddress.IPv6Address("2001:db8::"))
    return _until(
        value, lambda: str(ipaddress.IPv6Address(network + 1 + chance.getrandbits(64))), lambda _: True
    )


def _mac(value: str, chance: random.Random) -> str:
    if sum(character.isalnum() for character in value) < _MAC_DIGITS:
        raise _NoneHolds

    def make() -> str:
        text = "".join(
            chance.choice("0123456789abcdef") if character.isalnum() else character for character in value
        )
        text = "02" + text[2:]  # a locally administered address: no maker's
        return text.upper() if value.upper() == value else text

    return _until(value, make, lambda made: bool(re.search(r"[a-fA-F]", made)))


def _birth_date(value: str, chance: random.Random) -> str:
    if not DATE.fullmatch(value):
        raise _NoneHolds

    def number(match: re.Match[str]) -> str:
        text = match.group()
        if len(text) == 4:
            return str(int(text) + chance.choice((-4, -3, -2, -1, 1, 2, 3, 4)))
        if len(text) == 8:
            year = int(text[:4]) + chance.choice((-2, -1, 1, 2))
            return f"{year}{chance.randrange(1, 13):02d}{chance.randrange(1, 29):02d}"
        low, high = (1, 12) if 1 <= int(text) <= 12 else (13, 28) if int(text) < 32 else (40, 99)
        return f"{chance.randint(low, high):0{len(text)}d}"

    return _until(value, lambda: re.sub(r"\d+", number, value), lambda made: bool(DATE.fullmatch(made)))


def _secret(value: str, chance: random.Random) -> str:
    if "PRIVATE KEY" in value:
        lines = value.split("\n")
        return "\n".join(line if line.startswith("-----") else _scramble(line, chance) for line in lines)
    prefix = _KEPT_PREFIX.match(value)
    return _until(value, lambda: _scramble(value, chance, prefix.end() if prefix else 0), lambda _: True)


_MAKERS: dict[str, Callable[[str, random.Random], str]] = {
    "card": _card,
    "iban": _iban,
    "national_id": _national_id,
    "phone": _phone,
    "ip": _ip,
    "mac": _mac,
    "birth_date": _birth_date,
    "secret": _secret,
}
