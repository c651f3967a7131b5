"""What reading changed in rows or couldn't take along, in words. Pure."""

from __future__ import annotations

from appliance.config import ToolForm
from appliance.dataset.card import DatasetCard

CUTS = {
    "beginning": "began with the assistant's turn, which went",
    "ending": "ended with the user's turn, which went",
    "merged": "had turns of one side running, now one",
    "tool-call": "end before their first tool call",
}
"""Kinds of cuts, said of rows."""


def cuts_told(cut: dict[str, int]) -> str:
    """How many rows were changed in which way; empty where none was."""
    return "; ".join(f"{number} {CUTS.get(kind, kind)}" for kind, number in cut.items())


def changes_told(card: DatasetCard, tools: ToolForm) -> list[str]:
    """Warnings for who reads no card."""
    told = []
    if card.cut:
        told.append(f"rows that were cut: {cuts_told(card.cut)}; all are in cut.jsonl")
    ended, refused = card.cut.get("tool-call", 0), card.rejected.get("tool-call", 0)
    if tools == "cut" and (ended or refused):
        told.append(
            f"tool calls: {ended} rows end before their first one, {refused} are left out for it; "
            'dataset.tools = "text" writes tools, calls and results into the text to have them learnt'
        )
    if included := card.rejected.get("include", 0):
        told.append(
            f"{included} directives to include a file are left out and not followed: "
            "have dataset.sources name these files"
        )
    return told
