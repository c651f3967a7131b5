"""E-mail and network addresses: e-mail, IP, MAC, links."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from appliance.dataset.redaction.spans import Span

_EMAIL_FORM = re.compile(
    r"[\w!#$%&*+/=?^`{|}~'-](?:[\w.!#$%&*+/=?^`{|}~'-]{0,62}[\w!#$%&*+/=?^`{|}~-])?"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,6}[^\W\d_]{2,24}(?![\w@-])"
)
_EMAIL = re.compile(r"(?<![\w.!#$%&'*+/=?^`{|}~@-])" + _EMAIL_FORM.pattern)
_PARTS_EMAILS = frozenset("!#$%&'*+/=?^`{|}~")
_SPELT_OUT = re.compile(
    r"\b[\w.+-]{1,64}\s*(?:[\[({<]\s*at\s*[\])}>]|\s+at\s+)\s*[\w-]{1,63}"
    r"(?:\s*(?:[\[({<]\s*dot\s*[\])}>]|\s+dot\s+)\s*[\w-]{2,63}){1,3}\b",
    re.IGNORECASE,
)
# Transcripts and normalised chat lose "@" and ".": `jane 42 gmailcom`.
_PROVIDERS = (
    r"(?:gmail|googlemail|yahoo|ymail|hotmail|outlook|icloud|protonmail|rediffmail|live|msn|aol|gmx"
    r"|e?mail|example)"
)
_UNPUNCTUATED = re.compile(
    rf"\b(?:[a-z][\w-]{{2,40}}\s?)(?:\d{{1,6}}\s?)?(?:at\s?)?{_PROVIDERS}\s?(?:dot\s?)?(?:com|net|org|de|fr|co\s?uk|co\s?in)\b",
    re.IGNORECASE,
)
_EMAIL_ASKED = re.compile(
    r"\be[- ]?mail(?:\s+(?:id|address|adress|addr))?\s*(?:is|:|=)\s*([a-z][\w.+-]*(?:\s\d{1,6})?\s?com)\b",
    re.IGNORECASE,
)
_NOT_MAIL = re.compile(r"(?:git|svn|hg|pip|npm)@", re.IGNORECASE)

_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-fA-F:]*:[0-9a-fA-F:]*:)[0-9a-fA-F:]{3,39}(?:\.\d{1,3}){0,3}(?![\w:])"
)
_VERSION_BEFORE = re.compile(
    r"(?:\bv|\bver(?:sion)?\.?|\brelease|\bbuild|\bsection|\bchapter|§|==|>=|<=|~=)\s*$", re.I
)

_MAC = re.compile(
    r"(?<![\w:-])(?:[0-9A-F]{2}(?P<between>[:-])[0-9A-F]{2}(?:(?P=between)[0-9A-F]{2}){4}"
    r"|[0-9A-F]{4}\.[0-9A-F]{4}\.[0-9A-F]{4})(?![\w:-])",
    re.IGNORECASE,
)
_URL = re.compile(r"\b(?:https?|ftp)://[^\s<>\"'\\\])}]+|\bwww\.[^\s<>\"'\\\])}]+", re.IGNORECASE)


def _emails(text: str) -> Iterator[re.Match[str]]:
    """Addresses, those that only a sign parts from the one before included (`a@b.org|c@d.org`)."""
    place = 0
    while match := _EMAIL.search(text, place):
        following: re.Match[str] | None = match
        while following:
            yield following
            place = following.end()
            parted = text[place : place + 1] in _PARTS_EMAILS
            following = _EMAIL_FORM.match(text, place + 1) if parted else None


def find_emails(text: str) -> Iterator[Span]:
    """E-mail addresses; also spelt out, and with their punctuation lost."""
    if "@" in text:
        for match in _emails(text):
            before = text[max(0, match.start() - 80) : match.start()]
            if re.search(r"://[^\s/]*$", before) or _NOT_MAIL.match(match.group()):
                continue
            yield Span(match.start(), match.end(), "email", 0.95, "the form of an e-mail address")
    for match in _SPELT_OUT.finditer(text):
        yield Span(match.start(), match.end(), "email", 0.8, "an e-mail address spelt out")
    for match in _UNPUNCTUATED.finditer(text):
        if "@" in match.group():
            continue
        start = match.start()
        yield Span(start, match.end(), "email", 0.7, "a mail provider without its punctuation")
    for match in _EMAIL_ASKED.finditer(text):
        yield Span(match.start(1), match.end(1), "email", 0.65, "follows the word e-mail")


def _is_version(text: str, start: int) -> bool:
    return bool(_VERSION_BEFORE.search(text[max(0, start - 16) : start]))


def find_network(text: str) -> Iterator[Span]:
    """IP addresses (4 and 6) that could be a machine's, and MAC addresses. Loopback and masks are nobody's."""
    for match in _IPV4.finditer(text):
        try:
            address = ipaddress.IPv4Address(match.group())
        except ValueError:
            continue
        nobodys = address.is_loopback or address.is_unspecified or match.group().startswith("255.")
        if not nobodys and not _is_version(text, match.start()):
            yield Span(match.start(), match.end(), "ip", 0.9, "an IPv4 address")
    for match in _IPV6.finditer(text) if "::" in text or text.count(":") > 6 else ():
        try:
            six = ipaddress.IPv6Address(match.group())
        except ValueError:
            continue
        groups = [group for group in match.group().split(":") if group]
        plain = len(groups) > 3 or (match.group()[:1] in "23fF" and len(groups) > 1)
        if (
            plain
            and re.search(r"\d", match.group())
            and not (six.is_loopback or six.is_unspecified or six.is_multicast)
        ):
            yield Span(match.start(), match.end(), "ip", 0.9, "an IPv6 address")
    for match in _MAC.finditer(text):
        plain_digits = re.sub(r"[:.-]", "", match.group()).lower()
        if len(set(plain_digits)) == 1 or ("." in match.group() and not re.search("[a-f]", plain_digits)):
            continue
        yield Span(match.start(), match.end(), "mac", 0.9, "a MAC address")


def find_urls(text: str) -> Iterator[Span]:
    """Links, whatever they lead to."""
    for match in _URL.finditer(text):
        link = match.group().rstrip(".,;:!?")
        yield Span(match.start(), match.start() + len(link), "url", 0.9, "a link")
