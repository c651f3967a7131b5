"""Markdown's marks inside a line taken off: emphasis, links, images, tags, Liquid. Pure.

Every pattern is bounded in how far it looks for its end, so that no text costs more than its length times a bound.
"""

from __future__ import annotations

import html
import re

_LONGEST = 64 * 1024  # characters; what is longer on one line was not written by people as Markdown
RAW = re.compile(r"\{%-?\s{0,8}(?:end)?raw\s{0,8}-?%\}")
_ATTRIBUTES = re.compile(r"\{:[^{}]{0,200}\}|(?<=\s)\{#[\w-]{1,100}\}")
_LIQUID = re.compile(r"\{%-?\s{0,8}(\w{1,40})?([^{}]{0,500}?)-?%\}|\{\{[^{}]{0,500}\}\}")
_LITERAL = re.compile(
    r"\{\{-?\s{0,8}\"([^\"]{0,300})\"\s{0,8}-?\}\}"
)  # Liquid's way to write what Liquid would take
_ARGUMENT = re.compile(r"[\"']([\w #-]{1,100})[\"']\s{0,8}\Z")
_COMMENT = re.compile(r"<!--.{0,2000}?-->", re.DOTALL)
_TARGET = r"\([^()]{0,600}(?:\([^()]{0,200}\)[^()]{0,200}){0,12}\)|\[[^\[\]]{0,200}\]"
_IMAGE = re.compile(rf"!\[([^\[\]]{{0,500}})\](?:{_TARGET})")
_LINK = re.compile(rf"\[([^\[\]]{{0,500}})\](?:{_TARGET})")
_AUTOLINK = re.compile(r"<((?:https?|mailto):[^ <>]{1,600})>")
_SPECIAL = re.compile(r"[*_\[\]<>{}&\\`\0]")
_TAG = re.compile(r"</?([a-zA-Z][\w-]{0,30})(?:\s[^<>]{0,2000})?/?>")
_BREAKS = {
    "br", "p", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "section",
}  # fmt: skip
_HTML_TAGS = _BREAKS | {
    "a", "b", "i", "em", "strong", "td", "th", "tbody", "thead", "span", "font", "button", "img", "sub", "sup", "code",
    "small", "u", "details", "summary", "center", "kbd", "iframe", "input", "label", "form", "nav", "script", "style",
}  # fmt: skip
_STRONG = re.compile(r"(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\1")
_EMPHASIS = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*\n]{1,300}?)(?<=[^\s*])\*(?![\w*])"
    r"|(?<![\w_])_(?=[^\s_])([^_\n]{1,300}?)(?<=[^\s_])_(?![\w_])"
)
_CODE_SPAN = re.compile(r"(?<!`)(`{1,6})(?!`)(.{1,1000}?)(?<!`)\1(?!`)", re.DOTALL)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|<>~])")


def _drop_liquid(match: re.Match[str]) -> str:
    # A tag with one word for its argument stands for that word ({% channel "help" %}); a path is none.
    argument = (
        _ARGUMENT.search(match[2] or "") if match[1] and not match[1].startswith(("end", "include")) else None
    )
    return argument[1] if argument else ""


def _drop_tag(match: re.Match[str]) -> str:
    name = match[1].lower()
    if name not in _HTML_TAGS:
        return match[0]
    return "\n" if name in _BREAKS else " | " if name in {"td", "th"} and match[0].startswith("</") else ""


def plain_markdown(text: str) -> str:
    """Markdown's inline marks taken off: links keep their words, images what is said for them, code stays as it is."""
    if len(text) > _LONGEST or not _SPECIAL.search(text):
        return text.strip("\n")
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[2].strip())
        return f"\0{len(kept) - 1}\0"

    text = _LITERAL.sub(r"\1", RAW.sub("", text.replace("\0", "")))
    text = _CODE_SPAN.sub(keep, text)
    text = _COMMENT.sub("", text)
    text = _LIQUID.sub(_drop_liquid, text)
    text = _IMAGE.sub(lambda match: match[1], text)
    for _ in range(2):  # a link around an image
        text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _TAG.sub(_drop_tag, text)
    text = _ATTRIBUTES.sub("", text)
    text = _STRONG.sub(r"\2", text)
    text = _EMPHASIS.sub(lambda match: match[1] or match[2], text)
    text = html.unescape(_ESCAPE.sub(r"\1", text))
    text = re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], text)
    lines = [line.rstrip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")
