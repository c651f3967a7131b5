"""Where a finding stands in the row as it is now, after redaction. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.dataset.redaction.conversation import take_apart
from appliance.dataset.rows import Row


@dataclass(frozen=True)
class Place:
    """A stretch of a turn's text (or of a string inside a turn of JSON).

    Attributes:
        role: whose turn it is.
        text: all of the turn or string.
        start, end: where the finding stands; both 0 where it could not be found again.
    """

    role: str
    text: str
    start: int = 0
    end: int = 0


def _now(finding: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Start and end after what stands before it in the same text was replaced."""
    grown = 0
    for other in before:
        if other["done"] == "redact":
            grown += len(other["replacement"]) - (other["end"] - other["start"])
    start = finding["start"] + grown
    length = len(finding["replacement"]) if finding["done"] == "redact" else finding["end"] - finding["start"]
    return start, start + length


def place_of_finding(row: Row, findings: Sequence[Mapping[str, Any]], number: int) -> Place:
    """Where finding `number` of a row stands in it.

    Args:
        row: the redacted row.
        findings: all of the row's lines of redactions.jsonl, in their order.
    """
    finding = findings[number]
    turn = row.messages[finding["turn"] - 1] if finding["turn"] <= len(row.messages) else row.messages[-1]
    role, content = str(turn["role"]), str(turn["content"])
    # The findings before it in the same text: those of one text stand together, with rising places.
    before: list[Mapping[str, Any]] = []
    for other in reversed(findings[:number]):
        later = before[-1] if before else finding
        if (other["turn"], other["key"]) != (finding["turn"], finding["key"]) or other["end"] > later[
            "start"
        ]:
            break
        before.append(other)
    start, end = _now(finding, before)
    parts = [part for part in take_apart([turn], lambda _: False)[0].fields if part.key == finding["key"]]
    for part in parts:
        stands = part.text[start:end]
        fits = stands == finding["replacement"] if finding["done"] == "redact" else len(stands) == end - start
        if fits and stands:
            return Place(role, part.text, start, end)
    if finding["done"] == "redact" and finding["replacement"] in content:
        start = content.index(finding["replacement"])
        return Place(role, content, start, start + len(finding["replacement"]))
    return Place(role, content)
