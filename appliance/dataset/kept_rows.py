"""What memory holds of accepted rows: columns of numbers, some sixty bytes a row, and a set of ids."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_LEAST_SLOTS = 1 << 12
_MOVED_AT_ONCE = 1 << 20


def group_key(group: str) -> int:
    """The first 64 bits of the SHA-256 of a group's name; its first 48 say where the group falls."""
    return int.from_bytes(hashlib.sha256(group.encode("utf-8", "surrogatepass")).digest()[:8], "big")


def id_text(number: int) -> str:
    """A row's id as files bear it: 16 hex digits."""
    return f"{number:016x}"


class IdSet:
    """A set of 64-bit numbers that are digests: 11 to 22 bytes each, many looked up at once.

    Open addressing with linear probing; the numbers are hashes already, so their low bits say where they go.
    """

    def __init__(self) -> None:
        self._table: Ids = np.zeros(_LEAST_SLOTS, dtype=np.uint64)
        self._count = 0
        self._zero = False  # 0 marks a free slot, so it is held apart

    def __len__(self) -> int:
        return self._count + self._zero

    def add(self, ids: Ids) -> Flags:
        """Take `ids` in; which of them were not there yet, of equal ones the first."""
        new: Flags = np.zeros(len(ids), dtype=bool)
        keys, first = np.unique(ids, return_index=True)
        if len(keys) and not keys[0]:
            new[first[0]] = not self._zero
            self._zero = True
            keys, first = keys[1:], first[1:]
        while 4 * (self._count + len(keys)) > 3 * len(self._table):
            self._grow()
        new[first[self._insert(keys)]] = True
        return new

    def holds(self, ids: Ids) -> Flags:
        """Which of `ids` are in the set."""
        found: Flags = np.zeros(len(ids), dtype=bool)
        found[ids == 0] = self._zero
        waiting = np.flatnonzero(ids)
        slots = self._slots(ids)
        while len(waiting):
            held = self._table[slots[waiting]]
            equal = held == ids[waiting]
            found[waiting[equal]] = True
            waiting = waiting[~equal & (held != 0)]
            slots[waiting] = (slots[waiting] + 1) & (len(self._table) - 1)
        return found

    def _slots(self, ids: Ids) -> Numbers:
        return (ids & np.uint64(len(self._table) - 1)).astype(np.int64)

    def _insert(self, keys: Ids) -> Numbers:
        """Put different keys other than 0 where there is room; the places in `keys` of those that are new."""
        slots = self._slots(keys)
        waiting = np.arange(len(keys))
        new: list[Numbers] = []
        while len(waiting):
            free = self._table[slots[waiting]] == 0
            # Two keys may want one free slot: the later write stays, and the other goes on.
            self._table[slots[waiting[free]]] = keys[waiting[free]]
            settled = self._table[slots[waiting]] == keys[waiting]
            new.append(waiting[free & settled])
            waiting = waiting[~settled]
            slots[waiting] = (slots[waiting] + 1) & (len(self._table) - 1)
        added = np.concatenate(new) if new else np.zeros(0, dtype=np.int64)
        self._count += len(added)
        return added

    def _grow(self) -> None:
        old, self._table, self._count = self._table, np.zeros(2 * len(self._table), dtype=np.uint64), 0
        for begin in range(0, len(old), _MOVED_AT_ONCE):
            part = old[begin : begin + _MOVED_AT_ONCE]
            self._insert(part[part != 0])


@dataclass(frozen=True)
class Columns:
    """Some rows, a number each in every column.

    Attributes:
        ids: the rows' ids.
        groups: keys of their groups; equal for equal groups.
        tokens: of each conversation, chat template included.
        test: whether it is a row of the test files.
        offsets, sizes: bytes: where the row's line lies in the spool.
        prompts, answers: digests, equal where prompts or answers are.
    """

    ids: Ids
    groups: Ids
    tokens: NDArray[np.int32]
    test: Flags
    offsets: Numbers
    sizes: NDArray[np.uint32]
    prompts: Numbers
    answers: Numbers

    def __len__(self) -> int:
        return len(self.ids)

    def chosen(self, which: NDArray[Any] | slice) -> Columns:
        """The rows of these numbers, of these flags, or of a stretch."""
        return Columns(**{each.name: getattr(self, each.name)[which] for each in fields(self)})

    def with_more(
        self, ids: Iterable[int], tokens: Iterable[int], places: Iterable[tuple[int, int]]
    ) -> Columns:
        """The same and some rows that are placed already, behind the others.

        Args:
            ids, tokens: of each.
            places: offset and size of each in the spool.
        """
        more = list(places)
        filled = {
            "ids": [*ids],
            "tokens": [*tokens],
            "offsets": [offset for offset, _ in more],
            "sizes": [size for _, size in more],
        }
        longer = {}
        for each in fields(self):
            column = getattr(self, each.name)
            values = filled.get(each.name, [0] * len(more))
            longer[each.name] = np.concatenate([column, np.array(values, dtype=column.dtype)])
        return replace(self, **longer)


_CODES = {
    "ids": "Q", "groups": "Q", "tokens": "i", "test": "b", "offsets": "q", "sizes": "I", "prompts": "q", "answers": "q",
}  # fmt: skip
_TYPES = {
    "ids": np.uint64, "groups": np.uint64, "tokens": np.int32, "test": np.bool_, "offsets": np.int64,
    "sizes": np.uint32, "prompts": np.int64, "answers": np.int64,
}  # fmt: skip


class KeptRows:
    """Accepted rows in the order in which they came."""

    def __init__(self) -> None:
        self._columns: dict[str, array[int]] = {name: array(code) for name, code in _CODES.items()}

    def __len__(self) -> int:
        return len(self._columns["ids"])

    def extend(self, rows: Columns) -> None:
        """More rows."""
        for name, column in self._columns.items():
            column.frombytes(np.ascontiguousarray(getattr(rows, name), dtype=_TYPES[name]).tobytes())

    def by_id(self) -> tuple[Columns, Numbers]:
        """The rows ordered by id, and the place in which each of them came. Ends the collecting: nothing stays here."""
        order = np.argsort(np.frombuffer(self._columns["ids"], dtype=np.uint64), kind="stable")
        ordered: dict[str, Any] = {}
        for name, kind in _TYPES.items():  # one by one: two copies of all at once would be the most there is
            ordered[name] = np.frombuffer(self._columns.pop(name), dtype=kind)[order]
        return Columns(**ordered), order
