"""Conversations as they are compared: what the user said, and the whole of it, each without its frame.

Two rows are near when the sets of three-character windows of what the user said reach the threshold, or the sets of its
words (so that another order of the words is near too), or the windows of the whole conversation.
"""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.near.join import NearJoin, NearPair, PairList, likeness
from appliance.dataset.near.minhash import Tell
from appliance.dataset.near.normal import Frames, find_frames, normalise
from appliance.dataset.near.shingles import Kind
from appliance.dataset.near.store import TextStore
from appliance.dataset.near.union_find import UnionFind

View = Literal["user", "conversation"]
Messages = Sequence[Mapping[str, Any]]
# What the user said comes first: what is joined after it isn't near in its prompt (`Views.clusters`).
MEASURES: tuple[tuple[View, Kind], ...] = (
    ("user", "characters"),
    ("user", "words"),
    ("conversation", "characters"),
)
SAMPLE = 2000
"""Rows that the frames are found in."""
PASSES = 2 * len(MEASURES)
"""How often `clusters` and `across` tell of going from 0 to all."""
_STRIPPED_AT_ONCE = 4096


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


@dataclass(frozen=True)
class Texts:
    """The compared texts of some rows, made in a worker process maybe.

    Attributes:
        data: by view, the texts in UTF-8, one after the other.
        sizes: by view, bytes of each.
        digests: by view, of each.
    """

    data: Mapping[View, bytes]
    sizes: Mapping[View, NDArray[np.uint32]]
    digests: Mapping[View, NDArray[np.int64]]

    def part(self, chosen: NDArray[np.bool_]) -> Texts:
        """Of some of the rows."""
        if chosen.all():
            return self
        data: dict[View, bytes] = {}
        for view, sizes in self.sizes.items():
            ends = np.cumsum(sizes, dtype=np.int64)
            pieces = [
                self.data[view][ends[place] - sizes[place] : ends[place]] for place in np.flatnonzero(chosen)
            ]
            data[view] = b"".join(pieces)
        return Texts(
            data,
            {view: sizes[chosen] for view, sizes in self.sizes.items()},
            {view: digests[chosen] for view, digests in self.digests.items()},
        )


VIEWS: tuple[View, ...] = ("user", "conversation")


def text_digest(data: bytes) -> int:
    """A 64-bit number that is equal for equal texts."""
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big", signed=True)


def compared_texts(conversations: Sequence[Messages]) -> Texts:
    """The texts of some rows as they are before any frame is known."""
    encoded: dict[View, list[bytes]] = {
        "user": [user_text(messages).encode() for messages in conversations],
        "conversation": [conversation_text(messages).encode() for messages in conversations],
    }
    return Texts(
        {view: b"".join(texts) for view, texts in encoded.items()},
        {view: np.array([len(text) for text in texts], dtype=np.uint32) for view, texts in encoded.items()},
        {view: np.array([*map(text_digest, texts)], dtype=np.int64) for view, texts in encoded.items()},
    )


class Reasons:
    """Why rows are near, one for each joint; held as numbers."""

    def __init__(self) -> None:
        self._lists: list[tuple[View, PairList]] = []

    def add(self, view: View, pairs: PairList) -> None:
        """The joints that one measure made."""
        self._lists.append((view, pairs))

    def __len__(self) -> int:
        return sum(len(pairs) for _, pairs in self._lists)

    def _ordered(self, view: View, pairs: PairList) -> Iterator[Likeness]:
        one, other = pairs.sides()
        return (_told(pairs[place], view) for place in np.lexsort((other, one)).tolist())

    def __iter__(self) -> Iterator[Likeness]:
        """In the order of the rows' numbers."""
        lists = [self._ordered(view, pairs) for view, pairs in self._lists]
        return heapq.merge(*lists, key=lambda each: (each.one, each.other))


def user_text(messages: Messages, *, symbols: bool = False) -> str:
    """What the user said, normalised, with or without its symbols."""
    said = "\n".join(turn["content"] or "" for turn in messages if turn["role"] == "user")
    return normalise(said, symbols=symbols)


def conversation_text(messages: Messages) -> str:
    """All turns but the system's, normalised."""
    return normalise("\n".join(turn["content"] or "" for turn in messages if turn["role"] != "system"))


class Views:
    """The compared texts of many rows, on disk.

    Args:
        sample: conversations to find the frames in, chosen so that the order of files doesn't matter.
        folder: for the temporary files.
    """

    def __init__(self, sample: Iterable[Messages] = (), folder: Path | None = None) -> None:
        seen = list(sample)
        self.frames: dict[View, Frames] = {
            "user": find_frames([user_text(messages) for messages in seen]),
            "conversation": find_frames([conversation_text(messages) for messages in seen]),
        }
        self._folder = folder
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
            bare = self.frames[view].strip(text).encode()
            self.texts[view].add_block(bare, (len(bare),))
            self._digests[view].append(text_digest(bare))

    def add_texts(self, texts: Texts) -> None:
        """The next rows, made before any frame was known; `arrange` is to follow."""
        for view in VIEWS:
            self.texts[view].add_block(texts.data[view], texts.sizes[view].tolist())
            self._digests[view].frombytes(texts.digests[view].tobytes())

    def arrange(self, order: NDArray[np.int64], tell: Tell) -> None:
        """Find the frames, take them off, and number the rows anew.

        Args:
            order: the row that was `order[n]` becomes n; the frames are those of the first `SAMPLE` of them.
            tell: called with (rows done, rows) where there is a frame to take off.
        """
        for view in VIEWS:
            store = self.texts[view]
            frames = self.frames[view] = find_frames(store.read(order[:SAMPLE].tolist()))
            if frames != Frames():
                self.texts[view] = self._stripped(view, store, tell)
            self.texts[view].reorder(order)
            self._digests[view] = array("q", self.digests(view)[order].tobytes())

    def _stripped(self, view: View, store: TextStore, tell: Tell) -> TextStore:
        bare = TextStore(self._folder)
        digests = array("q")
        with store:
            for begin in range(0, len(store), _STRIPPED_AT_ONCE):
                end = min(begin + _STRIPPED_AT_ONCE, len(store))
                texts = [self.frames[view].strip(text).encode() for text in store.read(range(begin, end))]
                bare.add_block(b"".join(texts), map(len, texts))
                digests.extend(map(text_digest, texts))
                tell(end, len(store))
        self._digests[view] = digests
        return bare

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
    ) -> tuple[UnionFind, NDArray[np.int64], Reasons]:
        """Which of these rows (ascending numbers) a chain of near pairs connects, and a reason for each joint.

        Returns:
            the clusters; (all rows,) label of the cluster that a row is in by what the user said alone; the reasons.
        """
        sets = UnionFind(len(self))
        by_prompt = sets.labels()
        reasons = Reasons()
        for view, kind in MEASURES:
            digests = self.digests(view)[rows]
            if view == "user":  # equal prompts; equal conversations were dropped before
                sets.union_equal(rows, digests)
            _, first = np.unique(digests, return_index=True)
            join = NearJoin(self.texts[view], threshold, tell)
            reasons.add(view, join.clusters(join.sign(np.sort(rows[first]), kind), kind, sets))
            if view == "user":
                by_prompt = sets.labels().copy()
        return sets, by_prompt, reasons

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
