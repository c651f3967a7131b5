"""Text of a model, a stick or a file, made harmless for a terminal."""

from __future__ import annotations

import re

# C0 but tab and newline, DEL, C1, bidirectional overrides and isolates, line separators, lone surrogates.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def clean(text: str) -> str:
    """`text` without any character that a terminal would obey.

    A carriage return before a newline goes with the rest, so CRLF becomes a newline. It works character by
    character, hence on a stream's pieces as on the whole; what is left of an escape sequence shows as text.
    """
    return _UNSAFE.sub("", text)


def one_line(text: str, width: int = 60) -> str:
    """The first `width` characters of `text` on one line."""
    words = " ".join(clean(text).split())
    return words if len(words) <= width else words[: width - 3].rstrip() + "..."
