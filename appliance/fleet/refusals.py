"""Receipts of a device that weren't taken: why, and those that prove something, as they came.

Whoever brings sticks can bring anything often. So no kind of reason pushes out another, and a receipt is kept whole
only where the device's key has signed what contradicts the rest: nobody without that key can make one, and none that
is kept ever gives way.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import ReceiptError
from appliance.trust.receipt import Refusal

FILE = "refused.jsonl"
FOLDER = "refused"
REASONS_KEPT = 100  # of each kind, the last ones
PLACES_KEPT = (
    4  # of each kind that contradicts: entries at which it shows, the first ones; 4 MiB each at most
)


def keep(folder: Path, error: ReceiptError, data: bytes, time: str) -> None:
    """Keep why a receipt wasn't taken, and the receipt where it proves something.

    Args:
        folder: the device's.
        error: why.
        data: the receipt.
        time: now, by the workshop's clock.
    """
    digest = storage.sha256_bytes(data)
    if Refusal(error.kind).contradicts:
        _keep_whole(folder / FOLDER, error, data, digest)
    told: dict[str, Any] = {"time": time, "reason": error.message, "sha256": digest, "kind": str(error.kind)}
    told |= {"entry": error.entry} if error.entry else {}
    # The same receipt may be refused for less later on: what it proved once stays said.
    found = [
        each for each in read(folder) if (each.get("sha256"), each.get("kind")) != (digest, told["kind"])
    ]
    same = [each for each in found if each.get("kind") == told["kind"]]
    for each in same[: max(0, len(same) + 1 - REASONS_KEPT)]:
        found.remove(each)
    storage.write_bytes(folder / FILE, b"".join(storage.json_line(each) for each in [*found, told]))


def _keep_whole(folder: Path, error: ReceiptError, data: bytes, digest: str) -> None:
    """One receipt for each place that a contradiction shows at: a second one of the same proves nothing more."""
    storage.remove_leftovers(folder)
    kept = {path.name.rpartition("-")[0] for path in folder.glob(f"{error.kind}-*-*.jsonl")}
    head = f"{error.kind}-{error.entry:016}"
    if head not in kept and len(kept) < PLACES_KEPT:
        storage.write_bytes(folder / f"{head}-{digest[:16]}.jsonl", data)


def read(folder: Path) -> list[dict[str, Any]]:
    """Receipts that weren't taken, oldest first.

    Each has `time` (the workshop's), `reason`, `sha256`, `kind` (a `Refusal`; of before kinds were kept: none) and,
    where it shows at one, `entry`.
    """
    try:
        lines = (folder / FILE).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    return [each for each in found if isinstance(each, dict)]


def contradicts(refused: dict[str, Any]) -> bool:
    """Whether one of `read` proves that the device's key has signed two things that can't both be true."""
    return refused.get("kind") in {kind.value for kind in Refusal if kind.contradicts}
