"""Rows by their id: a split is in the order of ids, so it is searched by halves; other files get an index of places."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.rows import SPLITS, Row, row_from_line


def _id_of(line: bytes) -> str:
    return str(json.loads(line)["id"])


def find_in_split(path: Path, row: str) -> Row | None:
    """The row with an id in a split's file, found in a few reads; None where it isn't there."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        low, high = 0, stream.seek(0, os.SEEK_END)  # the line that is looked for begins in [low, high)
        while low < high:
            middle = (low + high) // 2
            stream.seek(middle)
            if middle:
                stream.seek(middle - 1)
                stream.readline()  # to the first line that begins at `middle` or behind it
            begin = stream.tell()
            line = stream.readline()
            if begin >= high or not line:
                high = middle
                continue
            found = _id_of(line)
            if found == row:
                return row_from_line(line)
            if found < row:
                low = begin + len(line)
            else:
                high = middle
    return None


def find_row(folder: Path, row: str) -> tuple[str, Row] | None:
    """The split and the row with an id; None for a row that is in no split (pruned, or over the limit).

    Args:
        folder: build/dataset.
    """
    for split in SPLITS:
        found = find_in_split(folder / f"{split}.jsonl", row)
        if found is not None:
            return split, found
    return None


class IdIndex:
    """Where the lines about a row stand in a JSON-lines file: 16 bytes a line and id. Made by one pass over the file.

    Args:
        path: the file; a missing one holds nothing.
        ids_of: the ids that a line is about.
    """

    def __init__(self, path: Path, ids_of: Callable[[dict[str, Any]], Iterable[str]]) -> None:
        ids, places = array("Q"), array("Q")
        self._path = path
        if path.is_file():
            with path.open("rb") as stream:
                place = 0
                for line in stream:
                    for known in ids_of(json.loads(line)):
                        ids.append(int(known, 16))
                        places.append(place)
                    place += len(line)
        order = np.argsort(np.frombuffer(ids, dtype=np.uint64), kind="stable") if ids else np.zeros(0, int)
        self._ids: NDArray[np.uint64] = np.array(ids, dtype=np.uint64)[order]
        self._places: NDArray[np.uint64] = np.array(places, dtype=np.uint64)[order]

    def __len__(self) -> int:
        return len(self._ids)

    def lines(self, row: str, most: int = 1000) -> list[dict[str, Any]]:
        """The lines about a row, in the order of the file, at most `most`."""
        wanted = np.uint64(int(row, 16))
        first = int(np.searchsorted(self._ids, wanted, side="left"))
        last = int(np.searchsorted(self._ids, wanted, side="right"))
        found = []
        if first < last:
            with self._path.open("rb") as stream:
                for place in self._places[first : min(last, first + most)]:
                    stream.seek(int(place))
                    found.append(json.loads(stream.readline()))
        return found
