"""Numbers that are somebody's because a word beside them says so: accounts, policies, licences, parts of a card."""

from __future__ import annotations

import re
from collections.abc import Iterator

from appliance.dataset.redaction.numbers_alone import SPREADSHEET, digits
from appliance.dataset.redaction.spans import Span

_NUMBER_WORD = r"(?:numbers?|n[uo]?[mn]?b[ea]?r|nume?r|no|num|nr|nbr|id|digits?|#|№)"  # slips of typing too
_WHOSE = r"(?:\s+(?:of|for|on)\s+(?:[a-z]+\s+){1,3}(?=is\b|are\b|was\b|:))?"
_COPULA = r"(?:\s*(?:is|are|in|was|were|it'?s|to|:|=|#|-|\.)){0,3}"
_LETTERS = (
    r"(?!(?:is|my|to|and|or|the|for|was|of|in|at|on|it|am|pm|not|has|are|be|by|as|with"
    r"|please|usd|eur|ssn|card|acct?|num|cvv|exp|pin|zip|name|dob|date)\b)[a-z]{1,4}"
)
_VALUE = rf"(?:{SPREADSHEET}|(?:{_LETTERS}[ -]?)?\d[\d-]*(?: \d{{2,}})*(?:[ -]?{_LETTERS}(?![a-z]))?(?: \d{{2,}})?)"
_GLUED = r"(?:yes|yeah|ok(?:ay)?|sure|please|hi|hello|my|the)?"  # what was typed without a space
_LABELS = (
    ("national_id", r"ssn|social(?:\s+security)?|tax(?:payer)?\s+id|national\s+(?:id|insurance)|passport"
     r"|(?:driver'?s?|driving)\s+licen[cs]e|licen[cs]e|aadhaa?r|identity\s+card|id\s+card|nhs|sin"),
    ("card", r"(?:credit|debit|bank)\s*cards?|cards?|visa|mastercard|amex|cc"),
    ("account", r"(?:bank\s+|savings?\s+|checking\s+|current\s+)?accounts?|acc?t|a/c|ac|iban|routing|sort\s+code|policy"
     r"|claim|member(?:ship)?|patient|customer|client|employee|student|medical\s+record|mrn|insurance"),
)  # fmt: skip
_AFTER = tuple(
    (
        kind,
        re.compile(
            rf"(?<![a-z]){_GLUED}(?P<label>{label})(?![a-z])\s*(?P<number>{_NUMBER_WORD})?\.?{_WHOSE}{_COPULA}\s*(?P<value>{_VALUE})(?![\w@%]|[.,]\d)",
            re.IGNORECASE,
        ),
    )
    for kind, label in _LABELS
)
_LAST_DIGITS = tuple(
    (
        kind,
        re.compile(
            rf"\b(?:last|final)\s+(?:four|4|\w+)\s+(?:digits?|numbers?)?\s*(?:of|on|for|in)?\s*(?:my|the|your|his|her|this)?\s*(?:\w+\s+)?"
            rf"(?:{label})(?:\s+{_NUMBER_WORD})?{_COPULA}\s*(?P<value>\d{{3,4}})\b",
            re.IGNORECASE,
        ),
    )
    for kind, label in _LABELS
)
_BEFORE = tuple(
    (
        kind,
        re.compile(
            rf"(?<![\w.,-])(?P<value>\d[\d -]{{2,22}}\d)\s*[,-]?\s*(?:(?:this|that|it|which)\s*(?:is|'s)?|is|as|for)\s+"
            rf"(?:my|the|our|his|her|your|this)?\s*"
            rf"(?:{label})\b",
            re.IGNORECASE,
        ),
    )
    for kind, label in _LABELS
)
_TRANSFER = re.compile(
    r"\b(?:transfer\w*|send|sent|pay|deposit\w*|wire[ds]?)\s+(?:[\w$€£.,]+\s+){0,6}?(?:to|into|from)\s+(?:the\s+|my\s+)?(?P<value>\d{4,18})\b",
    re.IGNORECASE,
)
_SHORT_NEEDS_NUMBER = 5  # without "number" or the like, a value of fewer digits may count something else


def find_labelled(text: str) -> Iterator[Span]:
    """Numbers named by a word before or after them."""
    if not digits(text):
        return
    for kind, pattern in _AFTER:
        for match in pattern.finditer(text):
            count = digits(match["value"])
            strong = kind == "national_id" and not match["label"].lower().startswith(("lic", "sin"))
            if count < 3 or (
                (count < _SHORT_NEEDS_NUMBER and not (match["number"] or strong))
                and not (
                    kind != "card"
                    and count == 4
                    and match["label"].lower() in {"account", "ac", "a/c", "acct", "act"}
                )
            ):
                continue
            start, end = match.span("value")
            yield Span(start, end, kind, 0.75, f"follows {match['label'].lower()}")
    for patterns, why in ((_LAST_DIGITS, "the last digits of it"), (_BEFORE, "named after it")):
        for kind, pattern in patterns:
            for match in pattern.finditer(text):
                yield Span(*match.span("value"), kind, 0.7, why)
    for match in _TRANSFER.finditer(text):
        yield Span(*match.span("value"), "account", 0.6, "money goes there")
