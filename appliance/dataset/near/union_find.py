"""Disjoint sets over 0..n-1 in one array of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


class UnionFind:
    """Union-find whose root is always the smallest member, so that labels don't depend on the order of unions."""

    def __init__(self, size: int) -> None:
        self.parent: Labels = np.arange(size, dtype=np.int64)

    def find(self, member: int) -> int:
        """The root of `member`."""
        parent = self.parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = int(parent[member])
        return member

    def union(self, one: int, other: int) -> bool:
        """Join two sets; False when they were one already."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return False
        self.parent[max(one, other)] = min(one, other)
        return True

    def union_equal(self, members: Labels, keys: NDArray[Any]) -> None:
        """Join all members whose key is equal.

        Args:
            members: (m,) ascending.
            keys: (m,) a number each.
        """
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        same = np.flatnonzero(ordered[1:] == ordered[:-1])
        for one, other in zip(members[order[same]].tolist(), members[order[same + 1]].tolist(), strict=True):
            self.union(one, other)

    def labels(self) -> Labels:
        """The root of every member."""
        while True:  # pointer doubling: every pass halves the depth
            flat = self.parent[self.parent]
            if np.array_equal(flat, self.parent):
                return flat
            self.parent = flat
