"""A few rows and lines to show beside the card's numbers, read from what preparing left; streams, holds little."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.dataset.canaries import is_canary
from appliance.dataset.rows import SPLITS, Row, iterate_rows
from appliance.errors import DataError

SHOWN_ROWS = 3  # of each split
SHOWN_REJECTED = 5  # of each kind
SHOWN = 5  # near pairs, conflicts, pruned rows


@dataclass
class Examples:
    """What is shown beside the numbers.

    Attributes:
        rows: split -> its first rows by id, canaries left out.
        rejected, cut: kind -> (`file:line`, reason) of its first rows.
        near, conflicts, pruned: lines of near.jsonl and conflicts.jsonl, and the worst that quality.jsonl dropped.
    """

    rows: dict[str, list[Row]] = field(default_factory=dict)
    rejected: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    cut: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    near: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    pruned: list[dict[str, Any]] = field(default_factory=list)


def json_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file of ours; none where there is no such file.

    Raises:
        DataError: a line that is none of ours.
    """
    if not path.is_file():
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                again = "make the dataset again with `anchorhold dataset`"
                raise DataError(f"{path}:{number}: a damaged line", again)
            yield entry


def place_of(file: str, line: int) -> str:
    """`file:line`, or the file where the whole of it is meant."""
    return f"{file}:{line}" if line else file


def read_examples(folder: Path) -> Examples:
    """The examples of a prepared dataset.

    Args:
        folder: build/dataset.

    Raises:
        DataError: a split is missing, or a line is none of ours.
    """
    result = Examples()
    for split in SPLITS:
        rows = (row for row in iterate_rows(folder / f"{split}.jsonl") if not is_canary(row))
        result.rows[split] = list(itertools.islice(rows, SHOWN_ROWS))
    rejected: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in json_lines(folder / "rejected.jsonl"):
        held = rejected[line["kind"]]
        if len(held) < SHOWN_REJECTED:
            held.append((place_of(line["file"], line["line"]), line["reason"]))
    result.rejected = dict(rejected)
    cut: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in json_lines(folder / "cut.jsonl"):
        if len(cut[line["kind"]]) < SHOWN_REJECTED:
            cut[line["kind"]].append((line["source"], line["reason"]))
    result.cut = dict(cut)
    result.near = list(itertools.islice(json_lines(folder / "near.jsonl"), SHOWN))
    result.conflicts = list(itertools.islice(json_lines(folder / "conflicts.jsonl"), SHOWN))
    dropped = (line for line in json_lines(folder / "quality.jsonl") if line["dropped"])
    result.pruned = list(itertools.islice(dropped, SHOWN))
    return result
