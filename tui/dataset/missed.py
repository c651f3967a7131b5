"""Asking for personal data that no rule found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.screen import Screen

from appliance.dataset.browsing import Review
from appliance.dataset.redaction import KINDS
from appliance.errors import AnchorholdError
from tui.dataset.asking import AskChoice, AskWords


def kind_choices() -> list[tuple[str, str]]:
    """The kinds, as a list to choose from."""
    return [(kind, kind.replace("_", " ")) for kind in KINDS]


async def mark_missed(screen: Screen[Any], review: Review, texts: Sequence[str]) -> bool:
    """Ask for a value and its kind, and write it; whether that was done.

    Args:
        screen: where it is asked; must be called from a worker.
        review: takes it.
        texts: where it must stand, so that a slip of the pen is told.
    """
    value = await screen.app.push_screen_wait(
        AskWords("What was missed, letter by letter as it stands in the row:")
    )
    if not value:
        return False
    if not any(value in text for text in texts):
        screen.notify("That does not stand in this row; nothing was written.", severity="error", markup=False)
        return False
    kind = await screen.app.push_screen_wait(AskChoice("What is it?", kind_choices()))
    if kind is None:
        return False
    try:
        review.mark_missed(value, kind)
    except (AnchorholdError, OSError) as error:
        screen.notify(f"Not written: {error}", severity="error", markup=False)
        return False
    screen.notify("Written: it is looked for in all rows at the next `anchorhold dataset`.", markup=False)
    return True
