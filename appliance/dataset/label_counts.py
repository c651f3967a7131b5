"""How often each label stands in each split that was written."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from appliance.dataset.canaries import is_canary
from appliance.dataset.rows import SPLITS, iterate_rows

MOST_LABELS = 500


def count_labels(folder: Path) -> dict[str, dict[str, int]]:
    """label -> split -> rows, of the `MOST_LABELS` most frequent answers; canaries are left out.

    Args:
        folder: build/dataset with its splits.
    """
    counts: dict[str, Counter[str]] = {
        split: Counter(row.answer for row in iterate_rows(folder / f"{split}.jsonl") if not is_canary(row))
        for split in SPLITS
    }
    total = sum(counts.values(), Counter[str]())
    chosen = sorted(total, key=lambda label: (-total[label], label))[:MOST_LABELS]
    return {label: {split: counts[split][label] for split in SPLITS} for label in chosen}
