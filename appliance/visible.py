"""Text of people's files on its way to a terminal: nothing in it is obeyed, all of it is seen."""

from __future__ import annotations

import re

# C0, DEL, C1, bidirectional marks and overrides, line separators, invisible characters, tags, lone surrogates.
_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\x1b": "\\e", "\0": "\\0"}
_FORMULA = re.compile(r"\s*(?:=|@\w+\(|[+\-][^\s\d][^\s]*[(!|])")


def _shown(match: re.Match[str]) -> str:
    character = match[0]
    if character in _SHORT:
        return _SHORT[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def visible(text: str, width: int = 100) -> str:
    """`text` on one line, its control characters written out (`\\e`, `\\x07`, `\\u202e`), cut to `width`.

    Args:
        text: anything.
        width: characters at most, the sign of the cut included; 0: not cut.
    """
    cut = bool(width) and len(text) > width
    shown = _HIDDEN.sub(_shown, text[:width] if cut else text)
    if width and (cut or len(shown) > width):
        return shown[: width - 1].rstrip() + "…"
    return shown


def on_one_line(text: str, width: int = 300) -> str:
    """A library's message of several lines as one, `visible`."""
    return visible(" ".join(text.split()), width)


def visible_cell(text: str, width: int = 100) -> str:
    """`visible`, and what a spreadsheet would compute is put behind an apostrophe, so that copying it does no harm."""
    return visible(f"'{text}" if _FORMULA.match(text) else text, width)
