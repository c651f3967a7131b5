"""Blocks gathered into documents of bounded size, and the heading path they stand under."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from appliance.dataset.reading.material import MAX_DOCUMENT_CHARACTERS, BadRow, Block, Document


class HeadingPath:
    """The headings in force while a document is read from top to bottom."""

    def __init__(self) -> None:
        self._path: list[tuple[int, str]] = []

    def enter(self, level: int, title: str) -> None:
        """A heading of `level` (1 is the highest); it ends those of its level and below."""
        self._path = [entry for entry in self._path if entry[0] < level] + [(level, title)]

    @property
    def titles(self) -> tuple[str, ...]:
        """Outermost first."""
        return tuple(title for _, title in self._path)


def file_title(file: str) -> str:
    """A title made of a file's name."""
    return PurePosixPath(file).stem.replace("__", " / ").replace("_", " ").replace("-", " ").strip()


def documents(
    file: str, blocks: Iterable[Block | BadRow], metadata: Mapping[str, str], title: str = ""
) -> Iterator[Document | BadRow]:
    """Documents of about `MAX_DOCUMENT_CHARACTERS` at most, from blocks in order; faults pass through.

    Args:
        file: name relative to the project.
        blocks: in order.
        metadata: may be filled while the blocks are read.
        title: the document's own; empty: `metadata["title"]`, else the first heading, else the file's name.
    """
    held: list[Block] = []
    characters, part = 0, 1
    first = None

    def close() -> Document:
        named = title or metadata.get("title", "") or first or file_title(file)
        return Document(file, named, tuple(held), dict(metadata), part)

    for block in blocks:
        if isinstance(block, BadRow):
            yield block
            continue
        if first is None:  # a heading is the title where no text stands before it
            first = block.headings[0] if block.headings else ""
        if held and characters + len(block.text) > MAX_DOCUMENT_CHARACTERS:
            yield close()
            held, characters, part = [], 0, part + 1
        held.append(block)
        characters += len(block.text)
    if held:
        yield close()
