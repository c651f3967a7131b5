"""PDF into blocks, a page at a time. pypdf reads it, without running anything that is in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from appliance.dataset.reading.blocks import HeadingPath
from appliance.dataset.reading.material import BadRow, Block

MAX_BYTES = 256 * 1024 * 1024
MAX_PAGES = 20_000
_MAX_PAGE_CHARACTERS = 2 * 1024 * 1024
# What all pages may unpack to: thousands may share one long stream, and each would be read anew.
_LEAST_UNPACKED, _RATIO = 64 * 1024 * 1024, 100
_HYPHEN = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zß-ÿ])")


class PdfFault(Exception):  # noqa: N818 - a reason for one file
    """Why a PDF can't be read."""


def _outline(reader: Any) -> list[tuple[int, int, str]]:
    """The bookmarks as (page from 1, level from 1, title), in order; empty where there are none or they are damaged."""
    found: list[tuple[int, int, str]] = []

    def visit(entries: list[Any], level: int) -> None:
        for entry in entries:
            if isinstance(entry, list):
                if level < 12:
                    visit(entry, level + 1)
                continue
            page = reader.get_destination_page_number(entry)
            if isinstance(page, int) and page >= 0 and entry.title:
                found.append((page + 1, level, " ".join(str(entry.title).split())))

    try:
        visit(list(reader.outline), 1)
    except Exception:
        return []  # bookmarks only help; pypdf raises many things at a damaged one
    return sorted(found, key=lambda entry: entry[0])


class _Bookmarks:
    """The headings that the bookmarks give to pages; asked page by page, in order."""

    def __init__(self, outline: list[tuple[int, int, str]]) -> None:
        self._outline = outline
        self._taken = 0
        self._path = HeadingPath()

    def until(self, page: int) -> tuple[str, ...]:
        """The headings in force on a page, outermost first."""
        while self._taken < len(self._outline) and self._outline[self._taken][0] <= page:
            _, level, title = self._outline[self._taken]
            self._path.enter(level, title)
            self._taken += 1
        return self._path.titles


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs of a page: parted by empty lines, or where a line ends a sentence well before the page's width."""
    lines = [line.rstrip() for line in text.replace("\0", "").split("\n")]
    width = max(map(len, lines), default=0)
    held: list[str] = []
    for line in lines:
        if line.strip():
            held.append(line.strip())
        ends = line.strip().endswith((".", "!", "?", ":")) and len(line) < width * 0.7
        if held and (not line.strip() or ends):
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(lines: list[str]) -> str:
    return _HYPHEN.sub("", "\n".join(lines)).replace("\n", " ")


def pdf_blocks(path: Path, name: str, metadata: dict[str, str]) -> Iterator[Block | BadRow]:
    """Blocks of a PDF with their pages; a page that can't be read is named and the next one is.

    Raises:
        PdfFault: damaged, locked, too large, or without any text (a scan).
    """
    import pypdf

    logging.getLogger("pypdf").setLevel(
        logging.CRITICAL
    )  # each small fault of a file would be a line on the terminal
    if path.stat().st_size > MAX_BYTES:
        raise PdfFault(f"a PDF of more than {MAX_BYTES >> 20} MiB; split it")
    try:
        reader = pypdf.PdfReader(path, strict=False)
        if reader.is_encrypted and not reader.decrypt(""):
            raise PdfFault("it is locked with a password")
        pages = len(reader.pages)
        details: Mapping[str, Any] = reader.metadata or {}
        for key, field in (("title", "/Title"), ("author", "/Author")):
            if value := str(details.get(field) or "").strip():
                metadata[key] = value[:1000]
    except PdfFault:
        raise
    except Exception as error:  # pypdf raises many kinds at a damaged file
        raise PdfFault(
            f"it can't be read: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error
    if pages > MAX_PAGES:
        raise PdfFault(f"{pages} pages, more than {MAX_PAGES}; split it")
    bookmarks = _Bookmarks(_outline(reader))
    empty = unpacked = 0
    most = max(_LEAST_UNPACKED, _RATIO * path.stat().st_size)
    for number in range(1, pages + 1):
        try:
            page = reader.pages[number - 1]
            contents = page.get_contents()
            unpacked += len(contents.get_data()) if contents is not None else 0
            if unpacked > most:
                reason = f"from page {number} on left out: its pages unpack to more than {most >> 20} MiB"
                yield BadRow(name, 0, "page", reason)
                return
            text = page.extract_text()
        except RecursionError:
            yield BadRow(name, 0, "page", f"page {number} can't be read: nested too deeply")
            continue
        except Exception as error:
            yield BadRow(
                name,
                0,
                "page",
                f"page {number} can't be read: {' '.join(str(error).split())[:200] or type(error).__name__}",
            )
            continue
        if not text.strip():
            empty += 1
        if len(text) > _MAX_PAGE_CHARACTERS:
            yield BadRow(name, 0, "page", f"page {number} holds {len(text)} characters: it is no page")
            continue
        headings = bookmarks.until(number)
        for paragraph in _paragraphs(text):
            yield Block(paragraph, headings, page=number)
    if pages and empty == pages:
        raise PdfFault("no text on any of its pages: pictures of text (a scan) need to be recognised first")
    if empty:
        yield BadRow(name, 0, "page", f"{empty} of {pages} pages hold no text (pictures of text?)")
