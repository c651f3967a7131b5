"""DOCX into blocks through python-docx, after the archive has been looked at: no bomb, no entities, nothing outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.dataset.reading.blocks import HeadingPath
from appliance.dataset.reading.material import Block, BlockKind
from appliance.dataset.reading.office_archive import OfficeFault, check_archive

_MOST_COLUMNS = 1000  # that one cell may span
_HEADING = re.compile(r"heading (\d)\Z", re.IGNORECASE)


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
        OfficeFault: a bomb, entities, damaged, locked.
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
        if isinstance(error, OfficeFault):
            raise
        raise OfficeFault(
            "damaged", f"a damaged DOCX: {' '.join(str(error).split())[:200] or type(error).__name__}"
        ) from error
