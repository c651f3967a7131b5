"""A confusion matrix for the report card: whole where people can read it, else its most frequent mistakes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from appliance.visible import visible

MOST_LABELS = 40  # rows of a table that somebody still reads
_MOST_MISTAKES = 24
_WIDTH = 40  # characters of a label in the head

Confusion = tuple[str, str, int]
"""(expected, given, how often)."""


def confusion_table(confusions: Sequence[Confusion]) -> str:
    """A folded table; empty where nothing was counted."""
    counts = {(expected, given): count for expected, given, count in confusions}
    if not counts:
        return ""
    labels = sorted({expected for expected, _ in counts})
    others = sorted({given for _, given in counts} - set(labels))
    mistakes = _mistakes(counts)
    if len(labels) > MOST_LABELS:
        note = (
            f"<p class=soft>{len(labels)} labels: the whole matrix stands in audit.json; here are the most frequent "
            "mistakes.</p>"
        )
        return _folded("Confusions", note, mistakes) if mistakes else ""
    return _folded("Confusion matrix", "", _matrix(counts, labels, [*labels, *others])) + (
        _folded("Confusions", "", mistakes) if mistakes else ""
    )


def _folded(title: str, note: str, table: str) -> str:
    return f"<details><summary class=soft>{title}</summary>{note}<div class=wide><table>{table}</table></div></details>"


def _label(text: str) -> str:
    return f"<code>{escape(visible(text, _WIDTH))}</code>"


def _matrix(counts: dict[tuple[str, str], int], labels: Sequence[str], given: Sequence[str]) -> str:
    head = "".join(f'<th class="num">{_label(label)}</th>' for label in given)
    rows = ""
    for expected in labels:
        cells = ""
        for label in given:
            count = counts.get((expected, label), 0)
            kind = "ok" if expected == label else "no" if count else "soft"
            cells += f'<td class="num"><span class="{kind}">{count or "·"}</span></td>'
        total = sum(counts.get((expected, label), 0) for label in given)
        rows += f'<tr><td>{_label(expected)}</td>{cells}<td class="num">{total}</td></tr>'
    return f'<tr><th>Expected \\ given</th>{head}<th class="num">All</th></tr>{rows}'


def _mistakes(counts: dict[tuple[str, str], int]) -> str:
    wrong = sorted((-count, pair) for pair, count in counts.items() if pair[0] != pair[1])
    rows = "".join(
        f'<tr><td>{_label(expected)}</td><td>{_label(given)}</td><td class="num">{-count}</td></tr>'
        for count, (expected, given) in wrong[:_MOST_MISTAKES]
    )
    head = '<tr><th>Expected</th><th>Given</th><th class="num">Times</th></tr>'
    return head + rows if rows else ""
