"""The rows of a step on lanes: threads that each take a part of them through the same frozen weights.

The products of a small model are too short to fill several cores, and between two of them Python runs on one. On lanes
every core has products of its own, and nobody waits before the step's end: torch releases Python's lock in each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

import torch

from appliance.training.batches import Batch, collate
from appliance.training.encoding import Encoded

MOST = 4  # lanes; with more, Python's lock is what they wait for
WASTE = 1.25  # times the tokens of one batch that lanes may compute: what rows share is computed in each lane


def best_count() -> int:
    """How many lanes the threads that torch may use are good for."""
    return min(MOST, torch.get_num_threads())


def spread(rows: Sequence[Encoded], lanes: int, *, share: bool) -> list[Batch]:
    """The rows of a step as one batch, or as one for each lane where that computes little more.

    Args:
        rows: at least one.
        lanes: the most batches to make.
        share: hold a common beginning once in each.
    """
    whole = collate(rows, share=share)
    order = sorted(rows, key=lambda row: len(row.ids))
    lanes = min(lanes, len(rows))
    while lanes > 1:
        # Each lane gets of the short and of the long ones.
        parts = [collate(order[lane::lanes], share=share) for lane in range(lanes)]
        if sum(part.computed for part in parts) <= WASTE * whole.computed:
            return parts
        lanes //= 2
    return [whole]


class Lanes:
    """Threads that last as long as a training."""

    def __init__(self, count: int) -> None:
        """Begin `count` of them; each gets its share of the threads that torch may use now."""
        self.count, self._all = count, torch.get_num_threads()
        self._each = max(1, self._all // count)
        self._pool = ThreadPoolExecutor(
            count, "lane", initializer=torch.set_num_threads, initargs=(self._each,)
        )

    def run(self, tasks: Sequence[Callable[[], float]]) -> list[float]:
        """What the tasks return, side by side; a single one here, with all of torch's threads.

        Raises:
            Exception: the first one that a task raised, after all have ended.
        """
        if len(tasks) == 1:
            return [tasks[0]()]
        torch.set_num_threads(self._each)  # MKL's count is one for the whole process
        try:
            under_way = [self._pool.submit(task) for task in tasks]
            wait(under_way)
        finally:
            torch.set_num_threads(self._all)
        return [each.result() for each in under_way]
