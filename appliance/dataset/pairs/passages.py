"""Documents into passages: blocks under their headings, of bounded size, with what they can be called. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from textwrap import dedent

from appliance.dataset.pairs.pair import place_of
from appliance.dataset.pairs.sentences import split_sentences, windows
from appliance.dataset.reading.material import Block, Document
from appliance.storage import sha256_json

_NUMBERED = re.compile(r"^(?:\d{1,3}[-‐–.]\d{1,3}[.)]?|\d{1,3}[.)]|§\s?\d+\.?)\s+(?=[A-Z\"“(])")
_NO_TITLE = re.compile(
    r"^(?:figures?|fig\.|tables?|note|notes|caution|cautions|warning|important|tip|example)\b|[|={}<>\\]"
    r"|https?:|^[-*•\d]",
    re.IGNORECASE,
)
_CAPTION = re.compile(r"^(?:figure|fig\.|table|photo|image)\s?[\dA-Z][-.\d]*[.:]?\s.{0,100}$", re.IGNORECASE)
_ENDS = (".", ":", ";", ",", "!", "—", "-", ")")
_MOST_TITLE_WORDS = 8
MANY = 30
"""From so many documents on, a document is what the split keeps together; before, each of its top sections."""


@dataclass(frozen=True)
class Passage:
    """A piece of a document that can be read by itself.

    Attributes:
        file, line: where it begins; in a format without lines the page.
        title: the document's.
        headings: that it stands under, outermost first, those that are mere paragraphs in the file included.
        blocks: cleaned.
        part, parts: which of how many pieces of its section, from 1.
    """

    file: str
    line: int
    title: str
    headings: tuple[str, ...]
    blocks: tuple[Block, ...]
    part: int = 1
    parts: int = 1

    @cached_property
    def text(self) -> str:
        """The blocks' text, an empty line between."""
        return "\n\n".join(block.text for block in self.blocks)

    @cached_property
    def prose(self) -> list[str]:
        """The sentences of its paragraphs."""
        return [
            piece
            for block in self.blocks
            if block.kind in {"paragraph", "quote"}
            for piece in split_sentences(" ".join(block.text.split()))
        ]


@lru_cache(maxsize=4096)
def shown_title(title: str) -> str:
    """A title as it is put into a question: one line, numbering off, shouting lowered."""
    plain = " ".join(_NUMBERED.sub("", title).split()).strip(" :#*_")
    letters = [letter for letter in plain if letter.isalpha()]
    shouted = len(letters) > 5 and sum(letter.isupper() for letter in letters) > 0.9 * len(letters)
    return plain.capitalize() if shouted and " " in plain else plain.title() if shouted else plain


def _is_title(block: Block, following: Block | None) -> bool:
    """Whether a paragraph is a heading that its file doesn't mark as one."""
    if block.kind != "paragraph" or following is None or following.headings != block.headings:
        return False
    first = block.text.split("\n")[0].strip()
    count = len(first.split())
    if not first or len(first) > 80 or count > _MOST_TITLE_WORDS or block.text.count("\n") > 1:
        return False
    if "\n" in block.text and len(block.text) > 120:
        return False
    if (
        block.text.strip().endswith(_ENDS[:-1])
        or ": " in first
        or _NO_TITLE.search(first)
        or not first[0].isupper()
    ):
        return False
    return any(letter.isalpha() for letter in first) and following.kind in {"paragraph", "list", "quote"}


def _clean(block: Block) -> Block:
    if block.kind in {"code", "table", "list"}:
        return replace(block, text=block.text.strip("\n"))
    return replace(block, text=_NUMBERED.sub("", " ".join(block.text.split())))


def sections(document: Document) -> Iterator[tuple[tuple[str, ...], list[Block]]]:
    """(headings, blocks) of each stretch under the same headings, the unmarked ones found."""
    under: tuple[str, ...] | None = None
    title = ""
    held: list[Block] = []
    blocks = [block for block in document.blocks if block.text.strip()]
    for number, block in enumerate(blocks):
        following = blocks[number + 1] if number + 1 < len(blocks) else None
        if _is_title(block, following):
            if held and under is not None:
                yield (*under, title) if title else under, held
            under, title, held = block.headings, block.text.split("\n")[0].strip(), []
            continue
        if block.headings != under:
            if held and under is not None:
                yield (*under, title) if title else under, held
            under, title, held = block.headings, "", []
        held.append(_clean(block))
    if held and under is not None:
        yield (*under, title) if title else under, held


def _pieces(block: Block, limit: int) -> Iterator[Block]:
    """A block in parts of about `limit` characters at most."""
    if len(block.text) <= limit or block.kind == "code":
        yield block
        return
    lines = block.text.split("\n")
    if block.kind in {"list", "table"} and len(lines) > 1:
        held: list[str] = []
        line = block.line
        for number, one in enumerate(lines):
            if held and sum(map(len, held)) + len(one) > limit:
                yield replace(block, text=dedent("\n".join(held)), line=line)
                held, line = [], block.line and block.line + number
            held.append(one)
        yield replace(block, text=dedent("\n".join(held)), line=line)
        return
    for text in windows(split_sentences(block.text), limit):
        yield replace(block, text=text)


def passages(document: Document, limit: int) -> Iterator[Passage]:
    """The passages of a document, in order.

    Args:
        document: without boilerplate.
        limit: about the most characters of a passage.
    """
    for headings, all_blocks in sections(document):
        blocks = [
            block for block in all_blocks if not (block.kind == "paragraph" and _CAPTION.match(block.text))
        ]
        chunks: list[list[Block]] = []
        size = 0
        for block in blocks:
            for piece in _pieces(block, limit):
                if not chunks or size + len(piece.text) > limit:
                    chunks.append([])
                    size = 0
                chunks[-1].append(piece)
                size += len(piece.text) + 2
        for number, chunk in enumerate(chunks, start=1):
            line = chunk[0].line or chunk[0].page
            yield Passage(document.file, line, document.title, headings, tuple(chunk), number, len(chunks))


def group_of(document: Document, passage: Passage, documents: int, level: int) -> str:
    """What the split keeps together with a passage: its document, or where there are few, its top section.

    Args:
        documents: how many there are in all.
        level: of the headings that part this document, as `parting_level` found it.
    """
    where = [place_of(document.file), str(document.blocks[0].line), document.title]
    if documents < MANY:
        where.append(passage.headings[level] if level < len(passage.headings) else "")
    return sha256_json(where)[:16]


def parting_level(found: Sequence[Passage]) -> int:
    """The outermost level of headings that has at least three different ones; the innermost that there is, if none."""
    deepest = max((len(passage.headings) for passage in found), default=0)
    for level in range(deepest):
        if len({passage.headings[level] for passage in found if level < len(passage.headings)}) >= 3:
            return level
    return max(0, deepest - 1)
