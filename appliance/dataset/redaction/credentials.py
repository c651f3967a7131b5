"""Keys, tokens, passwords and URLs that carry them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

from appliance.dataset.redaction.spans import Span

_KNOWN: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (why, re.compile(pattern))
    for why, pattern in (
        ("an AWS access key", r"\b(?:AKIA|ASIA|AGPA|AIDA|AROA)[A-Z0-9]{16}\b"),
        ("a GitHub token", r"\b(?:gh[pousr]_[A-Za-z0-9]{36,251}|github_pat_[A-Za-z0-9_]{40,255})\b"),
        ("a GitLab token", r"\bglpat-[\w-]{20,64}"),
        ("a Slack token", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,250}"),
        ("a Slack webhook", r"https://hooks\.slack\.com/services/[\w/]{20,120}"),
        ("a Google API key", r"\bAIza[\w-]{35}(?![\w-])"),
        ("a Google OAuth token", r"\bya29\.[\w-]{20,512}"),
        ("a Stripe key", r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,128}\b"),
        ("an API key", r"\bsk-(?:[a-z]+-){0,3}[\w-]{20,200}"),
        ("a Hugging Face token", r"\bhf_[A-Za-z0-9]{30,64}\b"),
        ("an npm token", r"\bnpm_[A-Za-z0-9]{36}\b"),
        ("a PyPI token", r"\bpypi-[\w-]{50,300}"),
        ("a SendGrid key", r"\bSG\.[\w-]{16,32}\.[\w-]{16,64}"),
        ("a Telegram bot token", r"\b\d{8,10}:[A-Za-z0-9_-]{35}(?![\w-])"),
        ("an Azure key", r"(?<=AccountKey=)[A-Za-z0-9+/]{80,100}={0,2}"),
        ("a JSON web token", r"(?<![\w-])eyJ[\w-]{8,2048}+\.eyJ[\w-]{8,4096}\.[\w-]{8,2048}"),
        ("a bearer token", r"(?<=[Bb]earer )[\w.~+/-]{20,2048}=*"),
    )
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\S]{0,20000}?"
    r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|(?=-----BEGIN )|\Z)"
)
_URL_CREDENTIALS = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://([^\s/@:\"'<>]{1,128}:[^\s/@\"'<>]{1,256})@", re.I)
_ASSIGNED = re.compile(
    r"\b[\w.-]{0,40}?(?P<word>api[_-]?key|access[_-]?key(?:[_-]?id)?|secret(?:[_-]?(?:access)?[_-]?key)?|client[_-]?secret"
    r"|auth(?:orization)?|token|passw(?:or)?d|passwd|pwd|passphrase|passcode|private[_-]?key|credential)s?"
    r"[\"'`]?\s*(?:[:=]|=>|:=)\s*[\"'`]?(?P<value>[^\s\"'`,;<>(){}\[\]]{6,512})",
    re.IGNORECASE,
)
_SPOKEN = re.compile(
    r"\b(?P<word>password|passcode|passphrase|pass\s?word|pin(?:\s+(?:code|number|no))?|otp|security\s+code|cvv|cvc)"
    r"\s*(?:is|was|:|=|-)\s*[\"'`]?(?P<value>[^\s\"'`,;]{3,64}[^\s\"'`,;.!?])",
    re.IGNORECASE,
)
_NO_SECRET = re.compile(
    r"(?i)(?:\$|%|<|\{|\*{3}|x{4}|\.{3}|your|example|changeme|placeholder|none$|null$|true$|false$|redacted|env\.|os\.|self\.|config\.|process\.)"
)
_PASSWORD = re.compile(r"(?i)passw|pwd|passphrase|passcode")


def entropy(text: str) -> float:
    """Shannon's entropy of the characters of `text`, in bits a character."""
    counts = Counter(text)
    return -sum(count / len(text) * math.log2(count / len(text)) for count in counts.values())


def _looks_random(value: str) -> bool:
    kinds = sum(bool(re.search(pattern, value)) for pattern in (r"[a-z]", r"[A-Z]", r"\d", r"[^\w]"))
    return len(value) >= 12 and kinds >= 2 and bool(re.search(r"\d", value)) and entropy(value) >= 3.0


def find_secrets(text: str) -> Iterator[Span]:
    """Keys and tokens by their form, private key blocks, credentials in URLs, and what follows a key-like word."""
    for why, pattern in _KNOWN:
        for match in pattern.finditer(text):
            yield Span(match.start(), match.end(), "secret", 0.95, why)
    if "PRIVATE KEY" in text:
        for match in _PRIVATE_KEY.finditer(text):
            yield Span(match.start(), match.end(), "secret", 0.99, "a private key")
    if "://" in text:
        for match in _URL_CREDENTIALS.finditer(text):
            if not _NO_SECRET.match(match.group(1).partition(":")[2]):
                yield Span(match.start(1), match.end(1), "secret", 0.95, "user and password in a URL")
    for match in _ASSIGNED.finditer(text):
        value = match["value"].rstrip(".")
        if _NO_SECRET.match(value) or text[match.end("value") : match.end("value") + 1] == "(":
            continue
        password = bool(_PASSWORD.search(match["word"]))
        if (password and (re.search(r"[\d\W_]", value) or entropy(value) > 2.5)) or _looks_random(value):
            start = match.start("value")
            yield Span(start, start + len(value), "secret", 0.85, f"follows {match['word'].lower()}")
    for match in _SPOKEN.finditer(text):
        if re.search(r"\d", match["value"]) and not _NO_SECRET.match(match["value"]):
            yield Span(match.start("value"), match.end("value"), "secret", 0.75, f"follows {match['word']}")
