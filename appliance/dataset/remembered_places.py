"""Where each group was: remembered from one preparing to the next, so that added rows move none that were there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.dataset.kept_rows import group_key
from appliance.dataset.rows import SPLITS
from appliance.events import Emit, Event
from appliance.visible import visible

FILE_NAME = "places.json"
_FORMAT = 2
_NAMES = 1  # the format that held the groups' names
_KEY = np.dtype(">u8")


@dataclass(frozen=True)
class Places:
    """The split of each group.

    Attributes:
        keys: (groups,) `group_key` of each, ascending.
        splits: (groups,) places in `SPLITS`.
    """

    keys: NDArray[np.uint64]
    splits: NDArray[np.int8]

    def of(self, keys: NDArray[np.uint64]) -> NDArray[np.int8]:
        """The split that each of these groups was in; -1: none is known."""
        if not len(self.keys):
            return np.full(len(keys), -1, dtype=np.int8)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.splits[at], np.int8(-1)).astype(np.int8)


def places(keys: NDArray[np.uint64], splits: NDArray[np.int8]) -> Places:
    """The places of groups, each given once or more with the same split."""
    once, first = np.unique(keys, return_index=True)
    return Places(once, splits[first])


NONE = places(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int8))


def load(folder: Path, emit: Emit) -> Places:
    """The places of the preparing before; empty when there was none.

    A file that can't be read is told of and counts as none: the split begins anew.
    """
    path = folder / FILE_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] not in {_FORMAT, _NAMES}:
            raise ValueError(f"format {fields['format']}")
        parts = []
        for split in SPLITS:
            held = fields["splits"][split]
            if fields["format"] == _NAMES:
                parts.append(np.array([group_key(str(name)) for name in held], dtype=np.uint64))
            else:
                parts.append(np.frombuffer(bytes.fromhex(held), dtype=_KEY).astype(np.uint64))
        numbers = np.repeat(np.arange(len(SPLITS), dtype=np.int8), [len(part) for part in parts])
        return places(np.concatenate(parts), numbers)
    except FileNotFoundError:
        return NONE
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        text = f"{path}: not readable ({visible(str(error), 100)}); the split begins anew"
        emit(Event("dataset", "warning", text))
        return NONE


def save(folder: Path, known: Places) -> None:
    """Remember the split of each group."""
    splits = {
        name: known.keys[known.splits == number].astype(_KEY).tobytes().hex()
        for number, name in enumerate(SPLITS)
    }
    storage.write_text(folder / FILE_NAME, json.dumps({"format": _FORMAT, "splits": splits}) + "\n")
