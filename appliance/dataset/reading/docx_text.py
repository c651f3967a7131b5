"""DOCX into blocks through python-docx, after the archive has been looked at: no bomb, no entities, nothing outside."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.dataset.reading.blocks import HeadingPath
from appliance.dataset.reading.material import Block, BlockKind

MAX_PARTS = 5_000
MAX_XML_BYTES = 64 * 1024 * 1024  # of one part; it is parsed at once, into about ten times that
MAX_UNPACKED_BYTES = 512 * 1024 * 1024  # of all parts together
MAX_RATIO = 200  # text packs ten to twenty times
_MOST_COLUMNS = 1000  # that one cell may span
_RATIO_FROM = 1024 * 1024  # a small part may pack as well as it likes
_HEADING = re.compile(r"heading (\d)\Z", re.IGNORECASE)
_XML = re.compile(rb"(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*<")
_DOCTYPE = re.compile(rb"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class DocxFault(Exception):  # noqa: N818 - a reason for one file
    """Why a DOCX can't be read; `kind` is what the card counts by."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind


def check_archive(path: Path) -> None:
    """Refuse an archive that would unpack to more than a document does, or whose XML declares a document type.

    Sizes are those that the archive declares; unpacking stops there, so a lie in them is a damaged file.

    Raises:
        DocxFault: with kind `zip-bomb`, `entities` or `damaged`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_PARTS:
                raise DocxFault("zip-bomb", f"{len(parts)} parts in the archive, more than {MAX_PARTS}")
            unpacked = sum(part.file_size for part in parts)
            if unpacked > MAX_UNPACKED_BYTES:
                raise DocxFault(
                    "zip-bomb",
                    f"it would unpack to {unpacked >> 20} MiB, more than {MAX_UNPACKED_BYTES >> 20} MiB",
                )
            for part in parts:
                _check_part(archive, part)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, RuntimeError) as error:
        raise DocxFault("damaged", f"a damaged DOCX: {error}") from error
    except Exception as error:
        if isinstance(error, (DocxFault, OSError)):
            raise
        raise DocxFault("damaged", f"a damaged DOCX: {error}") from error  # zlib.error and its like


def _check_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> None:
    if part.flag_bits & 1:
        raise DocxFault("locked", "it is locked with a password")
    ratio = part.file_size / max(1, part.compress_size)
    if part.file_size > _RATIO_FROM and ratio > MAX_RATIO:
        raise DocxFault("zip-bomb", f"{part.filename!r} would unpack to {ratio:.0f} times its size")
    with archive.open(part) as stream:
        # A document type stands before the first element; in UTF-16 every second byte is zero.
        head = stream.read(64 * 1024).replace(b"\0", b"")
    # What the archive declares as XML is parsed as such, whatever its name.
    if not (part.filename.lower().endswith((".xml", ".rels")) or _XML.match(head)):
        return
    if part.file_size > MAX_XML_BYTES:
        raise DocxFault(
            "zip-bomb",
            f"{part.filename!r} holds {part.file_size >> 20} MiB of XML, more than {MAX_XML_BYTES >> 20}",
        )
    if _DOCTYPE.search(head):
        raise DocxFault(
            "entities",
            f"{part.filename!r} declares a document type, which no DOCX needs; it may be an attack by entities",
        )


def _level(paragraph: Any) -> int:
    """The heading level of a paragraph; 0: it is none."""
    style = paragraph.style
    name = str(style.name or "") if style is not None else ""
    if name.lower() == "title":
        return 1
    match = _HEADING.match(name)
    return int(match[1]) if match else 0


def _table(table: Any) -> str:
    """The rows of a table as lines; a cell that is merged downwards stands in each of its rows."""
    from docx.table import _Cell

    rows = []
    above: dict[int, str] = {}  # by column
    for row in table._tbl.tr_lst:
        cells: list[str] = []
        column = 0
        for cell in row.tc_lst:
            goes_on = cell.vMerge == "continue" and column in above
            text = above[column] if goes_on else " ".join(_Cell(cell, table).text.split())
            above[column] = text
            cells.append(text)
            column += min(
                cell.grid_span, _MOST_COLUMNS
            )  # python-docx would make a cell for each of a billion
        rows.append(" | ".join(cells))
    return "\n".join(row for row in rows if row.strip(" |"))


def docx_blocks(path: Path, metadata: dict[str, str]) -> Iterator[Block]:
    """Blocks of a DOCX: paragraphs, lists and tables under their headings.

    Raises:
        DocxFault: a bomb, entities, damaged, locked.
    """
    check_archive(path)
    import docx
    from docx.table import Table

    try:
        document = docx.Document(str(path))
        properties = document.core_properties
        metadata.update(
            {
                key: value
                for key, value in (("title", properties.title), ("author", properties.author))
                if value
            }
        )
        headings = HeadingPath()
        items: list[str] = []

        def ended() -> Iterator[Block]:
            if items:
                yield Block("\n".join(items), headings.titles, kind="list")
                items.clear()

        for item in document.iter_inner_content():
            if isinstance(item, Table):
                yield from ended()
                if text := _table(item):
                    yield Block(text, headings.titles, kind="table")
                continue
            text = item.text.strip()
            level = _level(item)
            style = str(item.style.name or "").lower() if item.style is not None else ""
            numbered = item._p.pPr is not None and item._p.pPr.numPr is not None
            if text and not level and (style.startswith("list") or numbered):
                items.append(f"- {text}")
                continue
            yield from ended()
            if text and level:
                headings.enter(level, " ".join(text.split()))
            elif text:
                kind: BlockKind = "quote" if "quote" in style else "paragraph"
                yield Block(text, headings.titles, kind=kind)
        yield from ended()
    except Exception as error:  # python-docx and lxml raise many kinds at a damaged part
        if isinstance(error, DocxFault):
            raise
        raise DocxFault(
            "damaged", f"a damaged DOCX: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error
