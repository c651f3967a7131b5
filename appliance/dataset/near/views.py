"""Conversations as they are compared: what the user said, and the whole of it, each without its frame.

Two rows are near when the sets of three-character windows of what the user said reach the threshold, or the sets of its
words (so that another order of the words is near too), or the windows of the whole conversation.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.near.join import NearJoin, NearPair, likeness
from appliance.dataset.near.minhash import Tell
from appliance.dataset.near.normal import Frames, find_frames, normalise
from appliance.dataset.near.shingles import Kind
from appliance.dataset.near.store import TextStore
from appliance.dataset.near.union_find import UnionFind

View = Literal["user", "conversation"]
Messages = Sequence[Mapping[str, Any]]
MEASURES: tuple[tuple[View, Kind], ...] = (
    ("user", "characters"),
    ("user", "words"),
    ("conversation", "characters"),
)
SAMPLE = 2000
"""Rows that the frames are found in."""


@dataclass(frozen=True)
class Likeness:
    """Two rows that are near, and by what.

    Attributes:
        one, other: numbers of the rows.
        jaccard: of their sets.
        view: which text.
        kind: of which shingles.
    """

    one: int
    other: int
    jaccard: float
    view: View
    kind: Kind


def user_text(messages: Messages) -> str:
    """What the user said, normalised."""
    return normalise("\n".join(turn["content"] or "" for turn in messages if turn["role"] == "user"))


def conversation_text(messages: Messages) -> str:
    """All turns but the system's, normalised."""
    return normalise("\n".join(turn["content"] or "" for turn in messages if turn["role"] != "system"))


class Views:
    """The compared texts of many rows, on disk.

    Args:
        sample: conversations to find the frames in, chosen so that the order of files doesn't matter.
        folder: for the temporary files.
    """

    def __init__(self, sample: Iterable[Messages], folder: Path | None = None) -> None:
        seen = list(sample)
        self.frames: dict[View, Frames] = {
            "user": find_frames([user_text(messages) for messages in seen]),
            "conversation": find_frames([conversation_text(messages) for messages in seen]),
        }
        self.texts: dict[View, TextStore] = {view: TextStore(folder) for view in self.frames}
        self._digests: dict[View, array[int]] = {view: array("q") for view in self.frames}

    def __len__(self) -> int:
        return len(self.texts["user"])

    def __enter__(self) -> Views:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        for store in self.texts.values():
            store.__exit__(kind, fault, trace)

    def add(self, messages: Messages) -> None:
        """The next row."""
        texts: dict[View, str] = {"user": user_text(messages), "conversation": conversation_text(messages)}
        for view, text in texts.items():
            bare = self.frames[view].strip(text)
            self.texts[view].add(bare)
            digest = hashlib.blake2b(bare.encode(), digest_size=8).digest()
            self._digests[view].append(int.from_bytes(digest, "big", signed=True))

    def digests(self, view: View) -> NDArray[np.int64]:
        """(rows,) equal where the texts of a view are."""
        return np.frombuffer(self._digests[view].tobytes(), dtype=np.int64)

    def likeness(self, one: int, other: int) -> float:
        """The highest of the measures for two rows."""
        highest = 0.0
        for view, kind in MEASURES:
            first, second = self.texts[view].read((one, other))
            highest = max(highest, likeness(first, second, kind))
        return highest

    def clusters(
        self, rows: NDArray[np.int64], threshold: float, tell: Tell
    ) -> tuple[UnionFind, list[Likeness]]:
        """Which of these rows (ascending numbers) a chain of near pairs connects, and a reason for each joint."""
        sets = UnionFind(len(self))
        reasons: list[Likeness] = []
        for view, kind in MEASURES:
            digests = self.digests(view)[rows]
            _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
            if view == "user":  # equal prompts; equal conversations were dropped before
                for row, same in zip(rows.tolist(), rows[first[inverse]].tolist(), strict=True):
                    sets.union(row, same)
            join = NearJoin(self.texts[view], threshold, tell)
            signed = join.sign(np.sort(rows[first]), kind)
            reasons += [_told(pair, view) for pair in join.clusters(signed, kind, sets)]
        return sets, reasons

    def across(self, side: NDArray[np.bool_], threshold: float, tell: Tell, *, once: bool) -> list[Likeness]:
        """Near pairs with the second row on the side True and the first on the other.

        Args:
            side: (rows,) which side each row is on.
            threshold: of the Jaccard similarity.
            tell: progress.
            once: one pair for each row of the side False is enough.
        """
        found: dict[tuple[int, int], Likeness] = {}
        settled: set[int] = set()
        for view, kind in MEASURES:
            digests = self.digests(view)
            keys = digests ^ np.where(side, np.int64(0x5BD1E995A3C59AC3), np.int64(0))
            _, first = np.unique(keys, return_index=True)
            join = NearJoin(self.texts[view], threshold, tell)
            signed = join.sign(np.sort(first), kind)
            alike: dict[int, list[int]] = {}
            pairs = join.across(signed, kind, side, once)
            wanted = {int(keys[number]) for pair in pairs for number in (pair.one, pair.other)}
            for number in np.flatnonzero(np.isin(keys, np.array(sorted(wanted), dtype=np.int64))):
                alike.setdefault(int(keys[number]), []).append(int(number))
            for pair in pairs:
                held, against = (pair.other, pair.one) if side[pair.one] else (pair.one, pair.other)
                for one in alike[int(keys[held])]:
                    for other in alike[int(keys[against])][: 1 if once else None]:
                        if once and one in settled:
                            continue
                        settled.add(one)
                        best = found.get((one, other))
                        if best is None or pair.jaccard > best.jaccard:
                            found[one, other] = Likeness(one, other, pair.jaccard, view, kind)
        return sorted(found.values(), key=lambda each: (each.one, each.other))


def _told(pair: NearPair, view: View) -> Likeness:
    return Likeness(pair.one, pair.other, pair.jaccard, view, pair.kind)


_PASSES = 3  # one for each measure of the views


def progress(tell: Callable[[float], None]) -> Tell:
    """A `Tell` for the passes over the same rows, one a measure, as one share that grows from 0 to 1."""
    begun = 0
    last = 0

    def step(done: int, total: int) -> None:
        nonlocal begun, last
        if done < last or last == 0:
            begun += 1
        last = done if done < total else 0
        tell(min(1.0, (begun - 1 + done / max(total, 1)) / _PASSES))

    return step
