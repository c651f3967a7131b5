"""Memory for a training step: taken from the top, given back to a mark, kept from step to step.

A step needs the same hundreds of megabytes each time. From malloc they come back as fresh pages, faulted in and zeroed
again; kept by malloc they fragment. Here they are huge pages that stay.
"""

from __future__ import annotations

import contextlib
import mmap

import torch

from appliance.training.device import CPU

ALIGNMENT = 64  # bytes: a cache line, and what vector loads like
Mark = tuple[int, int]


class Arena:
    """A stack of memory in slabs; what is taken is uninitialized and lives until a `release` below it."""

    def __init__(self, slab: int = 64 << 20, device: torch.device = CPU) -> None:
        """Begin empty.

        Args:
            slab: bytes that are asked of the system at a time, at least.
            device: whose memory it is.
        """
        self._slab, self._device = slab, device
        self._slabs: list[torch.Tensor] = []
        self._at: Mark = (0, 0)

    @property
    def size(self) -> int:
        """Bytes asked of the system so far."""
        return sum(len(slab) for slab in self._slabs)

    def mark(self) -> Mark:
        """Where the top is now."""
        return self._at

    def release(self, mark: Mark) -> None:
        """Give back all that was taken since `mark`; those tensors must not be used any more."""
        self._at = mark

    def take(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """An uninitialized contiguous tensor."""
        count = 1
        for extent in shape:
            count *= extent
        size = -(-count * dtype.itemsize // ALIGNMENT) * ALIGNMENT
        number, start = self._at
        while number < len(self._slabs) and start + size > len(self._slabs[number]):
            number, start = number + 1, 0
        if number == len(self._slabs):
            self._slabs.append(_pages(max(self._slab, size), self._device))
        self._at = (number, start + size)
        slab = self._slabs[number]
        return slab[start : start + count * dtype.itemsize].view(dtype).view(shape)


def _pages(size: int, device: torch.device) -> torch.Tensor:
    if device != CPU:
        return torch.empty(size, dtype=torch.uint8, device=device)
    size = -(-size // (2 << 20)) * (2 << 20)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            pages.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(pages, dtype=torch.uint8)
