"""card.html: the dataset card as one self-contained page with a few samples; nothing on it acts or is fetched."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from appliance import storage
from appliance.dataset.card import DatasetCard
from appliance.dataset.card_examples import Examples, read_examples
from appliance.dataset.card_sections import (
    Cell,
    Code,
    Section,
    is_number,
    left_out,
    sections,
    share,
    shown_cell,
)
from appliance.dataset.rows import Row
from appliance.page_style import STYLE
from appliance.paths import Project
from appliance.visible import visible

PAGE_NAME = "card.html"
_LONGEST_CELL = 240  # characters
_LONGEST_TEXT = 1500  # of a turn
_WIDTH, _HEIGHT, _LEFT, _TOP = 720, 70, 60, 18  # of a split's drawing, in pixels
_CARD_STYLE = """
.hist .fill { fill:var(--bar); } .hist text { fill:var(--soft); font:12px system-ui, sans-serif; }
.hist .name { fill:var(--ink); font-weight:600; } .hist line { stroke:var(--line); }
figure.hist { background:var(--paper); } .say { padding:.5rem .9rem; border-top:1px solid var(--line); }
.say h3 { font-size:.78rem; margin:0; color:var(--soft); font-weight:600; }
.say pre { margin:0; white-space:pre-wrap; overflow-wrap:anywhere; }
td { overflow-wrap:break-word; } td code { white-space:nowrap; } code.hash { font-size:11px; }
.contents { columns: 3 12rem; padding-left:1.2rem; } a { color:var(--accent); }
"""


def visible_lines(text: str, longest: int = _LONGEST_TEXT) -> str:
    """`text` with its line feeds as they are and every other control character written out, cut to `longest`."""
    cut = text[:longest]
    shown = "\n".join(visible(line, 0) for line in cut.split("\n"))
    return shown + (f"… ({len(text) - longest} more characters)" if len(text) > longest else "")


def _cell(cell: Cell) -> str:
    shown = escape(shown_cell(cell, _LONGEST_CELL))
    if is_number(cell):
        return f'<td class="num">{shown}</td>'
    if isinstance(cell, Code) and shown:
        hashed = ' class="hash"' if len(cell) == 64 else ""
        return f"<td><code{hashed}>{shown}</code></td>"
    return f"<td>{shown}</td>"


def _table(section: Section) -> str:
    if not section.rows:
        return ""
    first = section.rows[0]
    heads = "".join(
        f'<th class="num">{escape(head)}</th>' if is_number(cell) else f"<th>{escape(head)}</th>"
        for head, cell in zip(section.heads, first, strict=True)
    )
    rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    return f'<div class="wide"><table><tr>{heads}</tr>{rows}</table></div>'


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _section(section: Section) -> str:
    text = f'<p class="soft">{escape(visible(section.text, 0))}</p>' if section.text else ""
    return f'<h2 id="{_anchor(section.title)}">{escape(section.title)}</h2>{text}{_table(section)}'


def draw_lengths(lengths: dict[str, Any]) -> str:
    """The rows by their tokens as an inline SVG, a drawing a split; the bars are shares, so that splits compare."""
    edges, splits = lengths["edges"], {name: rows for name, rows in lengths["rows"].items() if sum(rows)}
    bins = len(edges) - 1
    room = _WIDTH - _LEFT - 10
    highest = max(max(rows) / sum(rows) for rows in splits.values())
    parts = []
    for place, (split, rows) in enumerate(splits.items()):
        base = _TOP + (place + 1) * (_HEIGHT + 14)
        parts.append(f'<text class="name" x="0" y="{base - _HEIGHT / 2:.0f}">{escape(split)}</text>')
        for number, count in enumerate(rows):
            height = _HEIGHT * count / sum(rows) / highest
            tip = f"{edges[number]} to {edges[number + 1] - 1} tokens: {count:,} rows"
            parts.append(
                f'<rect class="fill" fill="#7f9fc4" x="{_LEFT + room * number / bins:.1f}" y="{base - height:.1f}" '
                f'width="{max(1.0, room / bins - 1.5):.1f}" height="{height:.1f}"><title>{tip}</title></rect>'
            )
        parts.append(f'<line x1="{_LEFT}" x2="{_LEFT + room}" y1="{base}" y2="{base}"/>')
    bottom = _TOP + len(splits) * (_HEIGHT + 14) + 16
    for number in range(0, bins + 1, max(1, -(-bins // 8))):
        at = _LEFT + room * number / bins
        parts.append(f'<text x="{at:.1f}" y="{bottom}" text-anchor="middle">{edges[number]:,}</text>')
    label = f"Rows by tokens, from {edges[0]} to {edges[-1] - 1}"
    # The colours are for viewers that take none from a style sheet; ours go before them.
    head = f'<svg viewBox="0 0 {_WIDTH + 20} {bottom + 8}" fill="#5b6876" font-size="12" role="img" '
    return f'{head}aria-label="{label}">{"".join(parts)}</svg>'


def _lengths(card: DatasetCard) -> str:
    if not card.lengths:
        return ""
    return (
        '<h2 id="lengths">Lengths</h2><p class="soft">Rows by their tokens, chat template included; each bar is a '
        f'share of its split.</p><figure class="hist">{draw_lengths(card.lengths)}</figure>'
    )


def _turn(role: str, text: str) -> str:
    return f'<div class="say"><h3>{escape(visible(role))}</h3><pre>{escape(visible_lines(text))}</pre></div>'


def _sample(row: Row) -> str:
    turns = "".join(_turn(str(turn["role"]), str(turn["content"] or "")) for turn in row.messages)
    if row.rejected:
        turns += _turn("the answer that was not preferred", row.rejected)
    source = escape(visible(row.source, 200))
    return (
        f'<div class="case"><div class="note"><span class="where mono">{source}</span>'
        f"<code>{escape(row.id)}</code></div>{turns}</div>"
    )


def _samples(rows: dict[str, list[Row]]) -> str:
    parts = ['<h2 id="samples">Samples</h2><p class="soft">The first rows of each split by their id.</p>']
    for split, held in rows.items():
        parts.append(f"<h2>{escape(split)}</h2>{''.join(map(_sample, held))}" if held else "")
    return "".join(parts)


def _tile(value: str, label: str) -> str:
    return f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>'


def _tiles(card: DatasetCard) -> str:
    total = sum(card.rows.values())
    dropped = sum(left_out(card).values())
    tiles = [
        _tile(f"{total:,}", "rows: " + ", ".join(f"{count:,} {split}" for split, count in card.rows.items())),
        _tile(f"{sum(lengths.total for lengths in card.tokens.values()):,}", "tokens"),
        _tile(f"{len(card.sources):,}", "source file" + ("s" if len(card.sources) != 1 else "")),
        _tile(f"{dropped:,}", f"rows left out ({share(dropped, dropped + total)})"),
    ]
    if card.redactions:
        tiles.append(_tile(f"{card.redactions['redacted']:,}", "places of personal data replaced"))
    return f'<div class="tiles">{"".join(tiles)}</div>'


def render(project: str, description: str, card: DatasetCard, examples: Examples) -> str:
    """The whole page.

    Args:
        project: its name.
        description: of the project; may be empty.
        card: the numbers.
        examples: what is shown beside them.

    Returns:
        HTML that names no other place: styles and drawings are inline, scripts there are none.
    """
    parts: Sequence[Section] = sections(card, examples)
    titles = [parts[0].title, *(["Lengths"] if card.lengths else []), *(part.title for part in parts[1:])]
    contents = "".join(f'<li><a href="#{_anchor(title)}">{title}</a></li>' for title in [*titles, "Samples"])
    about = f'<p class="soft">{escape(visible(description, 0))}</p>' if description else ""
    name = escape(project)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{name}: dataset card</title><style>{STYLE}{_CARD_STYLE}</style></head><body><main>
<header><h1>{name}</h1>
<div class="soft">What the model learns from and is measured on: the dataset card</div></header>
{about}{_tiles(card)}<ul class="contents">{contents}</ul>
{_section(parts[0])}
{_lengths(card)}
{"".join(map(_section, parts[1:]))}
{_samples(examples.rows)}
<footer>dataset <code>{escape(card.digest)}</code> · the same facts for programs: card.json</footer>
</main></body></html>
"""


def write_page(project: Project, card: DatasetCard) -> None:
    """Write build/dataset/card.html beside the splits that are there.

    Raises:
        DataError: a split is missing or not one of ours.
    """
    about = project.config.project
    page = render(about.name, about.description, card, read_examples(project.dataset))
    storage.write_text(project.dataset / PAGE_NAME, page)
