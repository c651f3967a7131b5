"""Which split a group belongs to: a hash decides, so that adding rows moves none. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

TRAIN, VALID, TEST = "train", "valid", "test"


def position(group: str) -> float:
    """Where a group falls in [0, 1): its SHA-256 read as a fraction."""
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48


def by_position(place: float, with_test: bool = True) -> str:
    """The split of a position: below 0.8 training, below 0.9 validation, else test.

    Without a test split (the test rows come from files of their own): below 0.9 training, else validation.
    """
    if with_test:
        return TRAIN if place < 0.8 else VALID if place < 0.9 else TEST
    return TRAIN if place < 0.9 else VALID


def assign(groups: Iterable[str], with_test: bool = True) -> dict[str, str]:
    """The split of each group; no split stays empty while there are groups enough.

    The hash alone decides, but for one rule for tiny sets: an empty split takes one group from the split that
    has most groups (training first on a tie), the one whose position lies nearest to the middle of the empty
    split's range. The rule stops to apply as soon as the hash itself fills every split.

    Returns:
        group -> "train" | "valid" | "test"; with fewer groups than splits, some splits are empty.
    """
    placed = {group: by_position(position(group), with_test) for group in groups}
    return fill_empty(placed, with_test)


def fill_empty(placed: dict[str, str], with_test: bool = True) -> dict[str, str]:
    """`placed` (group -> split) with no split empty, as `assign` says."""
    result = dict(placed)
    splits = (TRAIN, VALID, TEST) if with_test else (TRAIN, VALID)
    centre = dict(zip(splits, (0.4, 0.85, 0.95) if with_test else (0.45, 0.95), strict=True))
    for empty in (TRAIN, TEST, VALID):
        if empty not in splits or empty in result.values():
            continue
        sizes = {split: sum(1 for held in result.values() if held == split) for split in splits}
        donor = max(splits, key=lambda split: (sizes[split], -splits.index(split)))
        if sizes[donor] < 2:
            continue
        held = [group for group, split in result.items() if split == donor]
        result[min(held, key=lambda group: (abs(position(group) - centre[empty]), group))] = empty
    return result
