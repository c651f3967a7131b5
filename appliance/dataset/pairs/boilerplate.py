"""What many documents share word for word (licence notes, menus), and the headers and footers of pages."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.reading.material import Block, Document

_BUCKETS = 2**23
_ROWS = 2
_LEAST_DOCUMENTS, _LEAST_SHARE = 4, 0.1
_LEAST_PAGES, _LEAST_PAGE_SHARE = 3, 0.3
_DIGITS = re.compile(r"\d+")
_LEAST_LETTERS, _BEGINNING = 8, 32
_EDGE = 2  # blocks at the beginning and end of a page that may be its header or footer


_MOST_OF_A_DOCUMENT = (
    0.5  # of its characters; where more is shared it is a copy, and what copies say is no boilerplate
)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _without_numbers(text: str) -> str:
    """For headers and footers, which count pages; elsewhere numbers are what data sheets differ in."""
    return _DIGITS.sub("#", _plain(text))


def _lines(block: Block) -> list[str]:
    """What of a block can be boilerplate: the whole of it, and the lines of a paragraph."""
    if block.kind in {"code", "table"}:
        return []
    whole = _plain(block.text)
    parts = [_plain(line) for line in block.text.split("\n")] if "\n" in block.text else []
    return [text for text in (whole, *parts) if _says_something(text)]


def _says_something(text: str) -> bool:
    """Whether it has letters enough; its beginning, which tells it of nearly every text, is looked at first."""
    beginning = sum(map(str.isalpha, text[:_BEGINNING]))
    return beginning >= _LEAST_LETTERS or (
        len(text) > _BEGINNING and sum(map(str.isalpha, text)) >= _LEAST_LETTERS
    )


class Boilerplate:
    """Counts in how many documents each paragraph stands, in fixed memory (16 MiB), and takes out what is common.

    Two hashed counters stand for each text and the smaller one counts, so that a collision alone takes nothing out.
    """

    def __init__(self) -> None:
        self._counts: NDArray[np.uint8] | None = None
        self.documents = 0
        self.taken: Counter[str] = Counter()
        self.shown: dict[str, tuple[str, str, int]] = {}

    @staticmethod
    def _buckets(text: str) -> tuple[int, ...]:
        digest = hashlib.blake2b(text.encode(), digest_size=4 * _ROWS).digest()
        return tuple(int.from_bytes(digest[4 * row : 4 * row + 4], "big") % _BUCKETS for row in range(_ROWS))

    def count(self, document: Document) -> None:
        """Count a document's paragraphs, each once."""
        if self._counts is None:
            self._counts = np.zeros((_ROWS, _BUCKETS), dtype=np.uint8)
        self.documents += document.part == 1
        for text in {text for block in document.blocks for text in _lines(block)}:
            for row, bucket in enumerate(self._buckets(text)):
                if self._counts[row, bucket] < 255:
                    self._counts[row, bucket] += 1

    def _is_common(self, text: str) -> bool:
        if self._counts is None or sum(map(str.isalpha, text)) < 8:
            return False
        least = min(255, max(_LEAST_DOCUMENTS, int(np.ceil(_LEAST_SHARE * self.documents))))
        return all(self._counts[row, bucket] >= least for row, bucket in enumerate(self._buckets(text)))

    def _why(self, text: str, edges: set[str], copied: bool) -> str:
        """As what a text goes: `shared`, `page`; empty: it stays."""
        if not copied and self._is_common(_plain(text)):
            return "shared"
        return "page" if edges and _without_numbers(text) in edges else ""

    def _take(self, what: str, document: Document, block: Block, text: str) -> None:
        self.taken[what] += 1
        if len(self.shown) < 10:
            self.shown.setdefault(_plain(text), (text[:200], document.file, block.line or block.page))

    def strip(self, document: Document) -> Document:
        """The document without what is common; what went is counted and the first few are kept to be shown."""
        edges = _page_edges(document)
        # What copies of one document say is no boilerplate: none of it would be left.
        copied = all(self._is_common(_plain(block.text)) for block in document.blocks)
        kept: list[Block] = []
        for block in document.blocks:
            if block.kind in {"code", "table"}:
                kept.append(block)
                continue
            if why := self._why(block.text, edges, copied):
                self._take(why, document, block, block.text)
                continue
            lines = block.text.split("\n")
            left = [line for line in lines if not self._why(line, edges, copied)]
            if len(left) < len(lines):
                gone = next(line for line in lines if line not in left)
                self._take(self._why(gone, edges, copied), document, block, gone)
            if left:
                kept.append(block if len(left) == len(lines) else replace(block, text="\n".join(left)))
        return replace(document, blocks=tuple(kept))


def _page_edges(document: Document) -> set[str]:
    """The texts that begin or end many of a document's pages, numbers set aside."""
    pages: dict[int, list[str]] = {}
    for block in document.blocks:
        if block.page:
            pages.setdefault(block.page, []).extend(_without_numbers(line) for line in block.text.split("\n"))
    if len(pages) < _LEAST_PAGES:
        return set()
    counts: Counter[str] = Counter()
    for lines in pages.values():
        counts.update({text for text in [*lines[:_EDGE], *lines[-_EDGE:]] if text})
    least = max(_LEAST_PAGES, _LEAST_PAGE_SHARE * len(pages))
    return {text for text, count in counts.items() if count >= least}
