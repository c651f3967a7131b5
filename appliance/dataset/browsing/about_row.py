"""What is known of one row beside its turns: quality, near rows, conflicts, redactions; indexes are made on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from appliance.dataset.browsing.id_index import IdIndex

MOST_NEAR = 50  # rows of a cluster that are gathered


@dataclass(frozen=True)
class RowFacts:
    """What was found of a row.

    Attributes:
        quality: its line of quality.jsonl; empty where rows weren't scored.
        near: rows of its cluster (`id`, `source`, `prompt`, `answer`, `jaccard` of the joint), at most `MOST_NEAR`.
        conflicts: lines of conflicts.jsonl that name it.
        redactions: its lines of redactions.jsonl.
    """

    quality: dict[str, Any]
    near: list[dict[str, Any]]
    conflicts: list[dict[str, Any]]
    redactions: list[dict[str, Any]]


def _rows_of(line: dict[str, Any]) -> list[str]:
    return [row["id"] for row in line["rows"]]


class _Indexes:
    def __init__(self, folder: Path) -> None:
        self.quality = IdIndex(folder / "quality.jsonl", lambda line: [line["id"]])
        self.near = IdIndex(folder / "near.jsonl", _rows_of)
        self.conflicts = IdIndex(folder / "conflicts.jsonl", _rows_of)
        self.redactions = IdIndex(folder / "redactions.jsonl", lambda line: [line["row"]])


class RowIndexes:
    """The indexes of a prepared dataset. Safe to use from several threads.

    Args:
        folder: build/dataset.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: _Indexes | None = None
        self._lock = Lock()

    def get(self) -> _Indexes:
        """The indexes; reads four files the first time."""
        with self._lock:
            if self._made is None:
                self._made = _Indexes(self._folder)
            return self._made


def about(indexes: RowIndexes, row: str) -> RowFacts:
    """What is known of the row with an id."""
    made = indexes.get()
    return RowFacts(
        next(iter(made.quality.lines(row, 1)), {}),
        _cluster(made, row),
        made.conflicts.lines(row),
        made.redactions.lines(row),
    )


def _joined(made: _Indexes, row: str) -> Iterator[tuple[float, dict[str, Any]]]:
    """Rows that a near pair or the same prompt joins to a row: near.jsonl leaves out those whose prompts are equal."""
    for pair in made.near.lines(row, MOST_NEAR):
        yield from ((pair["jaccard"], other) for other in pair["rows"])
    for conflict in made.conflicts.lines(row, MOST_NEAR):
        if conflict["kind"] == "same":
            yield from ((1.0, other) for other in conflict["rows"])


def _cluster(made: _Indexes, row: str) -> list[dict[str, Any]]:
    """The other rows of its cluster, those next to it first."""
    found: dict[str, dict[str, Any]] = {}
    waiting = [row]
    while waiting and len(found) < MOST_NEAR:
        for jaccard, other in _joined(made, waiting.pop(0)):
            if other["id"] != row and other["id"] not in found:
                found[other["id"]] = {**other, "jaccard": jaccard}
                waiting.append(other["id"])
    return list(found.values())[:MOST_NEAR]
