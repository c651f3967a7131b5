"""Directives that would put another file's text into a document: found, named, taken out, never followed. Pure.

Known are those of Jekyll and Liquid, Hugo and Quarto, mdBook, PyMdown and markdown-include, pandoc's and PlantUML's
`!include`, reStructuredText, AsciiDoc, LaTeX and Obsidian's embedded notes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

OnInclude = Callable[[int, str], None]
"""(line, target)."""
_HINTS = ("include", "![[", "{% render", "{%- render", "--8<--", "{!", "\\input{", "<<<")
_QUOTES = "\"'“”"
# In the middle of a line as well.
_INSIDE = re.compile(
    r"\{\{[<%]\s{0,8}(?:include|readfile|embed)\s+(?P<hugo>[^<>{}]{1,300}?)\s{0,8}[>%]\}\}"
    r"|\{\{\s{0,8}#(?:include|rustdoc_include|playground)\s+(?P<book>[^{}]{1,300}?)\s{0,8}\}\}"
    r"|\{!>?\s{0,8}(?P<bang>[^{}!]{1,300}?)\s{0,8}!\}"
    r"|!\[\[(?P<note>[^\[\]\n]{1,300})\]\]"
)
_LIQUID = re.compile(
    r"\{%-?\s{0,8}(?:include|include_relative|include_cached|render)\s+(?P<target>[^%{}]{1,300}?)\s{0,8}(?:-?%\}|\Z)"
)
# A line by itself.
_ALONE = re.compile(
    r"[ \t]*(?:!{1,3}include(?:sub|url|_once)?(?:[ \t]+|[ \t]*\()(?P<mark>[^()\n]{1,300}?)\)?(?:!!!)?"
    r"|\.\.[ \t]+(?:include|literalinclude)::[ \t]+(?P<rst>\S.{0,300}?)"
    r"|include::(?P<adoc>[^\[\]\s]{1,300})\[[^\[\]]{0,200}\]"
    r"|-{1,8}8<-{1,8}[ \t]+(?P<snippet>[\"'].{1,300}?)"
    r"|\\(?:input|include)\{(?P<tex>[^{}]{1,300})\})[ \t]*\Z"
)
_RST_OPTION = re.compile(r"[ \t]+:[\w-]{1,60}:")
_PICTURE = re.compile(r"\.(?:png|jpe?g|gif|svg|webp|bmp|avif|mp[34]|wav|ogg|webm|mov)\b", re.IGNORECASE)


def _target(text: str) -> str:
    """The file that a directive names, of what stands behind its word."""
    text = text.strip()
    if text[:5] == "file=":
        text = text[5:]
    if text[:1] in _QUOTES and (quoted := text[1:].partition(text[0])[0]):
        return quoted
    return text.split("|")[0].strip(_QUOTES + " ") if "|" in text else text.strip(_QUOTES)


class Includes:
    """Takes directives out of the lines of one document.

    Args:
        on_include: told of each.
        liquid: whether Liquid's tags are taken out here too; where Markdown is read they go later, so they are told.
    """

    def __init__(self, on_include: OnInclude, *, liquid: bool = True) -> None:
        self._on_include = on_include
        self._liquid = liquid
        self._options = False  # the line before was a directive of reStructuredText

    def without(self, number: int, line: str) -> str:
        """The line without its directives; empty where it was nothing else. Inside a code span they stay."""
        if self._options:
            if _RST_OPTION.match(line):
                return ""
            self._options = False
        if not any(hint in line for hint in _HINTS):
            return line
        if alone := _ALONE.match(line):
            self._options = alone["rst"] is not None
            self._tell(number, next(text for text in alone.groups() if text is not None))
            return ""

        def take(match: re.Match[str]) -> str:
            if line[: match.start()].count("`") % 2:
                return match[0]
            text = next(text for text in match.groups() if text is not None)
            picture = match.groupdict().get("note") is not None and _PICTURE.search(text)
            if not picture:
                self._tell(number, text)
            return match[0] if match.re is _LIQUID and not self._liquid else ""

        left = _LIQUID.sub(take, _INSIDE.sub(take, line))
        return left.rstrip() if left != line else line

    def _tell(self, number: int, text: str) -> None:
        self._on_include(number, _target(text))
