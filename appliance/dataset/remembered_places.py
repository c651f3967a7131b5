"""Where each group was: remembered from one preparing to the next, so that added rows move none that were there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from appliance import storage
from appliance.dataset.rows import SPLITS
from appliance.events import Emit, Event
from appliance.visible import visible

FILE_NAME = "places.json"
_FORMAT = 1


def load(folder: Path, emit: Emit) -> dict[str, str]:
    """group -> split of the preparing before; empty when there was none.

    A file that can't be read is told of and counts as none: the split begins anew.
    """
    path = folder / FILE_NAME
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != _FORMAT:
            raise ValueError(f"format {fields['format']}")
        return {str(group): split for split in SPLITS for group in fields["splits"][split]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        text = f"{path}: not readable ({visible(str(error), 100)}); the split begins anew"
        emit(Event("dataset", "warning", text))
        return {}


def save(folder: Path, split_of: Mapping[str, str]) -> None:
    """Remember the split of each group."""
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for group, split in sorted(split_of.items()):
        splits[split].append(group)
    fields = {"format": _FORMAT, "splits": splits}
    storage.write_text(folder / FILE_NAME, json.dumps(fields, ensure_ascii=False, indent=0) + "\n")
