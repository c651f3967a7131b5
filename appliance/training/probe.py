"""Which number type this CPU multiplies faster: a two-second trial instead of a guess by its name."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from appliance.training.device import CPU, wait_for

# bfloat16 halves the memory traffic of everything else too, but rounds more: it has to win clearly.
ADVANTAGE = 1.15


@dataclass(frozen=True)
class Probe:
    """GFLOP/s of a matrix product of training's shape in each type."""

    float32: float
    bfloat16: float

    @property
    def choice(self) -> torch.dtype:
        """The type to train in."""
        return torch.bfloat16 if self.bfloat16 > ADVANTAGE * self.float32 else torch.float32


def _speed(
    dtype: torch.dtype,
    seconds: float,
    device: torch.device,
    rows: int = 1024,
    width: int = 576,
    inner: int = 1536,
) -> float:
    left = torch.randn(rows, width).to(device, dtype)
    right = torch.randn(inner, width).to(device, dtype)
    left @ right.t()
    wait_for(device)
    best = 0.0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        left @ right.t()
        wait_for(device)
        # The best of many: a neighbour on the machine slows some, none is sped up.
        best = max(best, 2e-9 * rows * width * inner / (time.perf_counter() - start))
    return best


def speed_of(dtype: torch.dtype, seconds: float = 0.3, device: torch.device = CPU) -> float:
    """GFLOP/s of one type on a device, where there is nothing to choose."""
    return _speed(dtype, seconds, device)


def probe(seconds: float = 2.0) -> Probe:
    """Measure both types on this CPU for `seconds` in all."""
    return Probe(_speed(torch.float32, seconds / 2, CPU), _speed(torch.bfloat16, seconds / 2, CPU))
