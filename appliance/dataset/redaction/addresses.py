"""Postal addresses, by how their parts follow each other: house number, street, unit, place, region, postal code.

The text is cut into tokens of a few classes. From each token that can begin an address, as many as may belong to one
are taken, over line ends too; what was taken is scored by the parts that it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.dataset.redaction import address_words as known
from appliance.dataset.redaction.gazetteers import Gazetteers, gazetteers
from appliance.dataset.redaction.spans import Span
from appliance.dataset.redaction.words_of import minds_case

_TOKEN = re.compile(
    r"(?P<box>p\.?\s?o\.?\s?box\b)"
    r"|(?P<number>(?<!\d)\d+(?:[-/]\d+)*(?:\s?(?:st|nd|rd|th)\b)?[A-Za-z]?(?![\w]))"
    r"|(?P<word>[^\W\d_]+(?:['’.-][^\W\d_]+)*\.?)|(?P<line>\n)|(?P<comma>,)|(?P<other>[^\s])",
    re.IGNORECASE,
)
_LONGEST = 28  # tokens


@dataclass(frozen=True)
class _Token:
    kind: str  # number, type, prefix, suffixed, after, unit, box, state, country, capital, particle, line, comma, stop
    text: str
    start: int
    end: int


@dataclass
class _Taken:
    """What an address in the making has so far."""

    tokens: list[_Token] = field(default_factory=list)
    good: int = 0  # tokens up to the last that an address may end with


def _tokens(text: str, lists: Gazetteers, cased: bool) -> list[_Token]:
    return [
        _Token(_kind(match, lists, cased), match.group(), match.start(), match.end())
        for match in _TOKEN.finditer(text)
    ]


def _kind(match: re.Match[str], lists: Gazetteers, cased: bool) -> str:
    if match.lastgroup != "word":
        return {"other": "stop"}.get(str(match.lastgroup), str(match.lastgroup))
    text = match.group()
    lower = text.rstrip(".").lower()
    capital = text[0].isupper() or not cased
    if lower in known.BOXES and (capital or lower != "box"):
        return "box"
    if lower in known.UNITS and lower != "no":
        return "unit"
    if lower in known.NOT_PLACES:
        return "stop"
    if text.isupper() and len(text) in {2, 3} and lower in known.STATE_CODES:
        return "state"
    if lower in known.PREFIX_TYPES and capital and lower not in known.STREET_TYPES:
        return "prefix"
    if lower in known.STREET_TYPES and (capital or lower in known.SURE_TYPES):
        return "type"
    if lower in known.PREFIX_TYPES and (capital or text.endswith(".")):
        return "prefix"
    if (lower in known.AFTER_TYPES and not cased) or text in {
        "u.",
        "út",
        "utca",
        "tee",
        "tänav",
        "tér",
        "köz",
    }:
        return "after"
    if capital and known.SUFFIX_TYPES.fullmatch(text) and not lists.is_word(lower):
        return "suffixed"
    if lower in known.PARTICLES and not (
        cased and capital and lower not in {"the", "and", "of", "in", "an", "am"}
    ):
        return "particle"
    if not cased and lower in known.STATE_CODES and lower not in {
        "in", "or", "me", "hi", "ok", "on", "as", "de", "la", "pa", "ma", "oh", "id", "al", "mo", "vic", "act",
    }:  # fmt: skip
        return "state"
    if lower in lists.countries or lower in lists.states:
        return "country" if capital else "stop"
    if cased:
        return "capital" if capital else "stop"
    unknown = not lists.is_word(lower) or lower in lists.place_words or lower in lists.last_names
    return "capital" if unknown and len(lower) > 1 else "stop"


_GOOD = {"number", "type", "suffixed", "state", "country", "capital", "after"}


def _take(tokens: list[_Token], begin: int) -> _Taken:
    """As many tokens as may belong to one address that begins at `begin`."""
    taken = _Taken()
    lines = 0
    for place in range(begin, min(len(tokens), begin + _LONGEST)):
        token = tokens[place]
        following = tokens[place + 1] if place + 1 < len(tokens) else None
        previous = taken.tokens[-1] if taken.tokens else None
        lines = lines + 1 if token.kind == "line" else (0 if token.kind != "comma" else lines)
        if lines > 2 or (token.kind == "stop" and not _bridges(token, previous, following)):
            break
        if token.kind == "number":
            if not _may_belong(token.text):
                break
            if previous and previous.kind == "line" and following and following.kind == "number":
                break  # a line that begins with two groups of digits is a telephone number
            numbers_before = sum(t.kind == "number" for t in taken.tokens[-2:])
            if previous and previous.kind == "number" and numbers_before > 1:
                break
        taken.tokens.append(token)
        ends_sentence = token.text.endswith(".") and len(token.text) > 4 and token.kind == "capital"
        if token.kind in _GOOD:
            taken.good = len(taken.tokens)
        if ends_sentence:
            break
    return taken


def _may_belong(number: str) -> bool:
    """Whether a number may be a house's or a postal code: short, or in two groups as codes are."""
    groups = re.findall(r"\d+", number)
    if len(groups) == 2:
        return (
            len("".join(groups)) < 6 or (len(groups[0]), len(groups[1])) in {(5, 4), (5, 3)} or "/" in number
        )
    return len(groups) == 1 and len(groups[0]) < 7


def _bridges(token: _Token, previous: _Token | None, following: _Token | None) -> bool:
    """Whether a token that is no address's may stand inside one: a bracketed word, a short code on its own line."""
    if token.text in "()'.#" and previous is not None:
        return not (
            token.text == "." and (following is None or following.kind not in {"number", "line", "comma"})
        )
    return (
        token.text.isalpha()
        and len(token.text) <= 3
        and previous is not None
        and previous.kind == "comma"
        and (following is None or following.kind in {"line", "number"})
    )


_OPENERS = {"number", "prefix", "suffixed", "box", "unit", "capital"}


def _judge(taken: _Taken, said: str) -> tuple[float, str]:
    """How likely it is an address, and why."""
    tokens = taken.tokens[: taken.good]
    first = tokens[0]
    numbers = [token for token in tokens if token.kind == "number"]
    names = sum(token.kind in {"capital", "suffixed"} for token in tokens)
    context = bool(known.CONTEXT_BEFORE.search(said))
    typed = any(token.kind in {"type", "prefix", "suffixed", "after"} for token in tokens)
    boxed = any(
        token.kind == "box" and place + 1 < len(tokens) and tokens[place + 1].kind == "number"
        for place, token in enumerate(tokens)
    )
    unit = any(
        token.kind == "unit" and place + 1 < len(tokens) and tokens[place + 1].kind == "number"
        for place, token in enumerate(tokens)
    )
    postal = any(len(re.sub(r"\D", "", token.text)) in {5, 6, 9} for token in numbers if token is not first)
    region = any(token.kind in {"state", "country"} for token in tokens)
    parts = sum(token.kind in {"line", "comma"} for token in tokens)
    score, why = 0.0, ""
    if boxed and (numbers and (parts or region or names or len(numbers) > 1 or context)):
        score, why = 0.7, "a post box"
    elif typed and numbers and _beside(tokens):
        score, why = 0.6, "a number and a kind of street"
    elif unit and len(numbers) > 1 and names:
        score, why = 0.65, "a number, a name and a unit"
    elif first.kind == "number" and names and (postal or region) and parts:
        score, why = 0.55, "from a number to a postal code or region"
    elif context and numbers and names:
        score, why = 0.6, "a place with a number where an address is meant"
    elif context and typed and names:
        score, why = 0.5, "a street where an address is meant"
    if score:
        score += 0.1 * (postal + region + unit + (context and score < 0.7))
    return min(score, 0.95), why


def _beside(tokens: list[_Token]) -> bool:
    """Whether a number stands within a few words of a kind of street, with a name or an ordinal between or beside."""
    for place, token in enumerate(tokens):
        if token.kind == "type":
            near = tokens[max(0, place - 6) : place]
            if any(other.kind == "number" for other in near) and (
                any(other.kind in {"capital", "suffixed", "country", "type"} for other in near)
                or sum(other.kind == "number" for other in near) > 1
            ):
                return True
        if token.kind in {"prefix", "suffixed", "after"}:
            near = [*tokens[max(0, place - 3) : place], *tokens[place + 1 : place + 7]]
            if any(other.kind == "number" for other in near) and (
                token.kind == "suffixed" or any(other.kind == "capital" for other in near)
            ):
                return True
    return False


_CORNER = re.compile(
    r"\b(?:the\s+)?corner\s+of\s+\w+(?:\s+\w+){0,3}?\s+(?:and|&)\s+\w+(?:\s(?:[A-Z]\w*|(?:street|road|avenue|lane|drive|court|courts)\b))*",
    re.IGNORECASE,
)
_NAMED_CORNER = re.compile(r"\bof\s+[^\Wa-z].*\s(?:and|&)\s+[^\Wa-z]")
_LONGEST_CORNER = 200  # characters
_POSTAL_ASKED = re.compile(
    r"\b(?:zip|zip\s?code|post(?:al)?\s?code|postcode|plz|cap|pin\s?code)\s*(?:is|:|=|-|#|number)?\s*"
    r"(?P<value>[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}|\d{4} ?[A-Z]{2}|[A-Z]\d[A-Z] ?\d[A-Z]\d"
    r"|\d{2}-\d{3}|\d{3} \d{2}|\d{4,6}(?:-\d{4})?)\b",
    re.IGNORECASE,
)
_UK_POSTCODE = re.compile(r"\b(?:[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2})\b")
_CITY_STATE_ZIP = re.compile(r"\b(?:[A-Z][\w'.-]+ ){0,3}[A-Z][\w'.-]+,? (?:[A-Z]{2}) \d{5}(?:-\d{4})?\b")


def find_addresses(text: str, before: str = "") -> Iterator[Span]:
    """Postal addresses and their parts.

    Args:
        text: where to look.
        before: what was said before it: a question that a bare address answers.
    """
    if not re.search(r"\d|\bcorner\b|\baddress\b", text, re.IGNORECASE):
        return
    lists = gazetteers()
    cased = minds_case(text)
    tokens = _tokens(text, lists, cased)
    place = 0
    while place < len(tokens):
        token = tokens[place]
        if token.kind not in _OPENERS:
            place += 1
            continue
        said = text[max(0, token.start - 90) : token.start]
        if not said.strip():
            said = (
                before[-90:] + " : " if re.search(r"\baddress|\bsen[dt]\b|\blive\b", before, re.I) else said
            )
        if token.kind == "capital" and not known.CONTEXT_BEFORE.search(said):
            place += 1
            continue
        taken = _take(tokens, place)
        score, why = _judge(taken, said) if taken.good else (0.0, "")
        if score >= 0.4:
            last = taken.tokens[taken.good - 1]
            yield Span(token.start, last.end - (last.text.endswith(".")), "address", round(score, 2), why)
            place += taken.good
        else:
            place += 1
    for match in _CORNER.finditer(text):
        if cased and not _NAMED_CORNER.search(match.group()[:_LONGEST_CORNER]):
            continue
        yield Span(match.start(), match.end(), "address", 0.6, "a corner of streets")
    for match in _POSTAL_ASKED.finditer(text):
        yield Span(*match.span("value"), "address", 0.75, "follows a word for postal codes")
    for pattern, why in ((_UK_POSTCODE, "a UK postcode"), (_CITY_STATE_ZIP, "place, state and postal code")):
        for match in pattern.finditer(text):
            state = match.group().split()[-2].lower()
            if pattern is _UK_POSTCODE or state in known.STATE_CODES:
                yield Span(match.start(), match.end(), "address", 0.65, why)
    if not cased:
        from appliance.dataset.redaction.plain_addresses import find_plain

        yield from find_plain(text, before, lists)
