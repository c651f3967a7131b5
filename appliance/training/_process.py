"""Settings of the process that torch reads once, when it is loaded, and glibc's memory for a loop of large tensors.

Each can be overridden by setting the variable. What each brings is in docs/measurements.md.
"""

from __future__ import annotations

import ctypes
import os

# A thread that waits spins for some tens of microseconds, then sleeps: long enough for the gap between two products,
# too short to starve a neighbour (the default, milliseconds, does; sleeping at once costs a wake-up an operation).
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
# Large tensors on huge pages: fewer page faults and TLB misses.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
    """Have glibc keep what is freed for the next step, rather than give it back and fault it in again; else nothing."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc
        return
    mallopt(_MMAP_THRESHOLD, ctypes.c_int(1 << 30))
    mallopt(_TRIM_THRESHOLD, ctypes.c_int((1 << 31) - 1))
