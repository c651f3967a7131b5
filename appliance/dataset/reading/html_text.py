"""HTML into blocks: what a reader of the page reads, without scripts, menus and forms. lxml parses it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.dataset.reading.blocks import HeadingPath
from appliance.dataset.reading.material import Block, BlockKind
from appliance.dataset.reading.text_encoding import TextEncoding, TextFile

MAX_BYTES = 64 * 1024 * 1024  # the whole page is parsed at once
_DROPPED = {
    "script", "style", "nav", "noscript", "template", "form", "button", "svg", "iframe", "object",
    "head", "select", "aside", "footer",
}  # fmt: skip
_BLOCKS = {
    "p", "div", "section", "article", "main", "header", "blockquote", "pre", "table", "ul", "ol", "dl",
    "figure", "figcaption", "address", "details", "summary", "body", "html", "hr", "center", "fieldset",
}  # fmt: skip
_ITEMS = {"li", "dt", "dd", "tr"}
_KINDS: dict[str, BlockKind] = {
    "pre": "code",
    "ul": "list",
    "ol": "list",
    "dl": "list",
    "table": "table",
    "blockquote": "quote",
}
_DEEPEST = 400
_MOST_ATTRIBUTES = 5000  # of one tag; the parser compares each with all others
_SCRIPT = re.compile(r"<(script|style)\b.*?(?:</\1|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[a-z](?:[^\"'>]++|\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z))*+", re.IGNORECASE)
_VALUE = re.compile(r"\"[^\"]*+(?:\"|\Z)|'[^']*+(?:'|\Z)")
_NAME = re.compile(r"[^\s/=]+")


class HtmlFault(Exception):  # noqa: N818 - a reason for one file
    """Why a page can't be read."""


class _Walk:
    """The state of a page being walked through."""

    def __init__(self) -> None:
        self.path = HeadingPath()
        self.text: list[str] = []
        self.kind: BlockKind = "paragraph"
        self.line = 0

    def flush(self) -> Iterator[Block]:
        """The block at hand, if it holds text."""
        text, self.text = "".join(self.text), []
        if self.kind == "code":
            text = text.strip("\n")
        else:
            lines = (" ".join(line.split()).strip("| ") for line in text.split("\n"))
            text = "\n".join(line for line in lines if line)
        if text.strip():
            yield Block(text, self.path.titles, self.line, kind=self.kind)

    def add(self, text: str | None, line: int) -> None:
        """Text inside the block at hand."""
        if not text:
            return
        if not self.text:
            if not text.strip() and self.kind != "code":
                return
            self.line = line
        self.text.append(text if self.kind == "code" else text.replace("\n", " "))


def _inside(element: Any, state: _Walk, depth: int) -> Iterator[Block]:
    state.add(element.text, element.sourceline or 0)
    for child in element:
        yield from _element(child, state, depth + 1)
        state.add(child.tail, child.sourceline or 0)


def _element(element: Any, state: _Walk, depth: int) -> Iterator[Block]:
    tag = element.tag
    if not isinstance(tag, str) or tag in _DROPPED or depth > _DEEPEST:
        return
    if len(tag) == 2 and tag[0] == "h" and tag[1] in "123456":
        yield from state.flush()
        if title := " ".join("".join(element.itertext()).split()):
            state.path.enter(int(tag[1]), title)
    elif tag in _BLOCKS:
        inner = _KINDS.get(tag)
        nested = inner is not None and state.kind == inner and bool(state.text)
        if nested or (state.kind in {"list", "table"} and tag in {"p", "div"}):
            state.add("\n" if state.kind != "code" and state.text else "", 0)
            if state.text:
                state.text.append("\n")
            yield from _inside(element, state, depth)
            return
        outer = state.kind
        yield from state.flush()
        state.kind = inner or (outer if outer == "quote" else "paragraph")
        yield from _inside(element, state, depth)
        yield from state.flush()
        state.kind = outer
    elif tag in _ITEMS:
        if state.text:
            state.text.append("\n")
        if tag == "li":
            state.add("- ", element.sourceline or 0)
        yield from _inside(element, state, depth)
        if tag != "dd" and state.text:
            state.text.append("\n")
    elif tag in {"td", "th"}:
        yield from _inside(element, state, depth)
        if state.text:
            state.text.append(" | ")
    elif tag == "br":
        if state.text:
            state.text.append("\n")
    elif tag == "img":
        state.add(element.get("alt"), element.sourceline or 0)
    else:
        yield from _inside(element, state, depth)


def _check_tags(text: str) -> None:
    """Refuse a page that one tag makes endless.

    Raises:
        HtmlFault: too many attributes.
    """
    for tag in _TAG.finditer(_SCRIPT.sub("", text)):
        if len(tag[0]) < _MOST_ATTRIBUTES:
            continue
        bare = _VALUE.sub("", tag[0])
        if len(bare) > _MOST_ATTRIBUTES and len(_NAME.findall(bare)) > _MOST_ATTRIBUTES:
            raise HtmlFault(f"a tag with more than {_MOST_ATTRIBUTES} attributes: it is no page")


def html_blocks(path: Path, encoding: TextEncoding, metadata: dict[str, str]) -> Iterator[Block]:
    """Blocks of a page; its title and language go into `metadata`.

    Raises:
        HtmlFault: too large, or nothing in it.
    """
    import lxml.etree
    import lxml.html

    if path.stat().st_size > MAX_BYTES:
        raise HtmlFault(f"a page of more than {MAX_BYTES >> 20} MiB; split it")
    with TextFile(path, encoding) as file:
        text = file.stream.read().decode("utf-8", errors="replace")
    _check_tags(text)
    # huge_tree stays off: the parser itself bounds depth and the length of a text.
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = lxml.html.document_fromstring(text.replace("\0", "").encode(errors="replace"), parser=parser)
    except (lxml.etree.LxmlError, ValueError) as error:
        raise HtmlFault(f"it can't be parsed: {' '.join(str(error).split())[:200]}") from error
    title = root.find(".//title")
    if title is not None and title.text:
        metadata["title"] = " ".join(title.text.split())
    if language := root.get("lang"):
        metadata["language"] = str(language)[:40]
    state = _Walk()
    yield from _element(root, state, 0)
    yield from state.flush()
