"""Text of rows and files on its way to these screens: every control character written out, ASCII signs where asked."""

from __future__ import annotations

from rich.text import Text

from appliance.dataset.card_sections import Cell, Section, is_number, shown_cell
from appliance.visible import visible

LONGEST = 20_000  # characters of a turn
_GAP = 2


def one_line(text: str, plain: bool, width: int = 0) -> str:
    """`text` on one line, cut to `width` characters (0: not cut)."""
    shown = visible(text, width)
    return shown.replace("…", "...") if plain else shown


def lines_of(text: str, plain: bool) -> str:
    """`text` with its line feeds as they are."""
    shown = "\n".join(one_line(line, plain) for line in text[:LONGEST].split("\n"))
    return shown + (f"\n({len(text) - LONGEST:,} more characters)" if len(text) > LONGEST else "")


def heading(text: Text, title: str) -> None:
    """Begin a part of a page."""
    text.append(("\n" if text.plain.strip() else "") + title + "\n", "bold")


def fact(text: Text, label: str, value: str) -> None:
    """A labelled line of a page; further lines of the value stand below it."""
    first, *rest = value.split("\n")
    text.append(f"{label:<12}", "dim").append(f" {first}\n")
    for line in rest:
        text.append(f"{'':<12} {line}\n")


def section_text(section: Section, width: int, plain: bool) -> Text:
    """A section of the card: a table where its columns fit into `width` cells, else a block a row."""
    text = Text()
    heading(text, section.title)
    if section.text:
        text.append(one_line(section.text, plain) + "\n")
    if not section.rows:
        return text

    def cell(value: Cell, longest: int = 0) -> str:
        shown = shown_cell(value, longest)
        return shown.replace("…", "...").replace("–", "-") if plain else shown

    columns = list(zip(*section.rows, strict=True))
    widths = [
        max(len(head), *(len(cell(value)) for value in column))
        for head, column in zip(section.heads, columns, strict=True)
    ]
    if sum(widths) + _GAP * (len(widths) - 1) <= width:
        right = [is_number(column[0]) for column in columns]
        _row(text, section.heads, widths, right, "dim")
        for row in section.rows:
            _row(text, [cell(value) for value in row], widths, right)
        return text
    for row in section.rows:
        bullet = "-"
        for head, value in zip(section.heads, row, strict=True):
            if value != "":
                text.append(f"{bullet} {head}{': ' if head else ''}", "dim").append(cell(value, 500) + "\n")
                bullet = " "
    return text


def _row(
    text: Text, cells: tuple[str, ...] | list[str], widths: list[int], right: list[bool], style: str = ""
) -> None:
    parts = [
        value.rjust(width) if is_right else value.ljust(width)
        for value, width, is_right in zip(cells, widths, right, strict=True)
    ]
    text.append((" " * _GAP).join(parts).rstrip() + "\n", style)
