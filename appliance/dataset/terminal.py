"""The dataset card for a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from appliance.dataset.card import DatasetCard
from appliance.events import Event

_WIDTH = 28


def show_event(event: Event) -> None:
    """Print warnings, and progress on one line of an interactive terminal."""
    interactive = sys.stderr.isatty()
    if event.kind == "progress" and interactive and event.total:
        share = event.done / event.total
        bar = "#" * int(share * _WIDTH)
        click.echo(f"\r{event.text} [{bar:<{_WIDTH}}] {share:4.0%}", err=True, nl=False)
    elif event.kind in {"warning", "message"}:
        click.echo(("\r\x1b[K" if interactive else "") + event.text, err=True)
    elif event.kind == "finished" and interactive:
        click.echo("\r\x1b[K", err=True, nl=False)


def card_lines(card: DatasetCard) -> list[str]:
    """The card as lines of plain text."""
    lines = [f"{'split':<8}{'rows':>8}{'groups':>8}   tokens a row: min  median   p95   max"]
    for split, rows in card.rows.items():
        lengths = card.tokens[split]
        lines.append(
            f"{split:<8}{rows:>8}{card.groups[split]:>8}{lengths.min:>21}{lengths.median:>8}{lengths.p95:>6}{lengths.max:>6}"
        )
    left_out = {
        "duplicates": card.duplicates,
        "also in the test files": card.overlaps,
        "over dataset.limit": card.over_limit,
        **{f"bad: {kind}": count for kind, count in card.rejected.items()},
    }
    lines += [f"left out, {what}: {count}" for what, count in left_out.items() if count]
    lines.append(f"digest {card.digest}")
    return lines


def show_card(card: DatasetCard, folder: Path) -> None:
    """Print the card and where the files are."""
    for line in card_lines(card):
        click.echo(line)
    click.echo(f"written to {folder}")
