"""On a GPU: work that comes again with the same shapes is recorded once and replayed, without a launch a kernel.

A step of a small model is thousands of short kernels, and what starts them (tens of microseconds each where the host is
slow) takes longer than they do. A CUDA graph starts them all at once, with the addresses that they were recorded with;
so what goes in is copied to a fixed place first. A shape is recorded when it is met again, since many are met once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[Sequence[torch.Tensor]], torch.Tensor]
Record = Callable[[Callable[[], None]], Callable[[], None]]

LIMIT = 64  # recorded shapes; each holds some memory of the card


@dataclass(frozen=True)
class _Recorded:
    given: list[torch.Tensor]
    result: torch.Tensor
    replay: Callable[[], None]


class Graphs:
    """Recorded work by its key. The work must allocate nothing that lives on but through the recording itself."""

    def __init__(self, record: Record) -> None:
        """Begin empty.

        Args:
            record: does something once and returns what does it again; on a GPU `CudaRecord`.
        """
        self._record = record
        self._results: dict[Hashable, torch.Tensor] = {}
        self._recorded: dict[Hashable, _Recorded] = {}

    def forget(self) -> None:
        """Drop all recordings: something that they point to has moved."""
        self._results.clear()
        self._recorded.clear()

    def run(self, key: Hashable, given: Sequence[torch.Tensor], work: Work) -> torch.Tensor:
        """Do `work` on `given`.

        Args:
            key: equal only for the same work on the same shapes.
            given: what it reads and what changes between calls.
            work: writes its other results into memory that stays.

        Returns:
            Its result; good until the same key runs again.
        """
        found = self._recorded.get(key)
        if found is None:
            if key not in self._results or len(self._recorded) >= LIMIT:
                self._results[key] = work(given)
                return self._results[key]
            found = self._recorded[key] = self._recording(given, self._results[key], work)
        for place, tensor in zip(found.given, given, strict=True):
            place.copy_(tensor)
        found.replay()
        return found.result

    def _recording(self, given: Sequence[torch.Tensor], result: torch.Tensor, work: Work) -> _Recorded:
        places, result = [tensor.clone() for tensor in given], result.clone()

        def into_places() -> None:
            result.copy_(work(places))

        return _Recorded(places, result, self._record(into_places))


class CudaRecord:
    """CUDA graphs in one pool of memory: they are never replayed at the same time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work`, which isn't done yet when this returns, and return what does it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            work()
        return graph.replay
