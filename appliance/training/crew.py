"""Several processes that share one training (data parallelism), started by torchrun; alone where nothing else is said.

Each takes its part of every step's rows. Losses and gradients are summed over all of them, weighted by what each
learnt, so a step is the step that one process would have taken on all rows, whatever their number.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import distributed

Value = TypeVar("Value")


def leads() -> bool:
    """Whether this process is alone or the first of torchrun's; RANK without a WORLD_SIZE is some other program's."""
    return int(os.environ.get("WORLD_SIZE", "1")) < 2 or os.environ.get("RANK", "0") == "0"


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


class Crew:
    """This process among those that train together.

    Attributes:
        rank: its number; 0 is the one that writes files and speaks.
        size: how many there are.
        local: how many of them are on this machine.
    """

    def __init__(self) -> None:
        """Join those that the environment names (torchrun's variables)."""
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0 if leads() else int(os.environ["RANK"])
        self.local = int(os.environ.get("LOCAL_WORLD_SIZE", str(self.size)))
        if self.size > 1 and not distributed.is_initialized():
            if self.local == self.size:  # one machine: its host name may have no address
                os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
                os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
            # Each transport for what lies on its kind of device; numbers and words of ours lie on the CPU.
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(_leave)
        # NCCL's barrier would take a tensor on each GPU.
        self._on_cpu = (
            distributed.new_group(backend="gloo") if self.size > 1 and torch.cuda.is_available() else None
        )

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def part(self, rows: Sequence[Value]) -> list[Value]:
        """This process's rows of a step."""
        return list(rows[self.rank :: self.size])

    def told(self, value: Value) -> Value:
        """What the leading process has for `value`; the others wait for it."""
        if self.size == 1:
            return value
        carried = [value]
        distributed.broadcast_object_list(carried)
        return carried[0]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            # No tensor in it: gloo's thread lets go of one after the wait has ended, for which it wants the
            # interpreter; and the last wait of a training may be followed by the interpreter's end.
            distributed.barrier(self._on_cpu)

    def sums(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.size == 1:
            return list(values)
        together = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(together)
        return [float(value) for value in together]

    def combine(self, loss: float, learnt: int, masters: Sequence[torch.Tensor]) -> float:
        """Make the gradients of `masters` those of all rows.

        Args:
            loss: mean over this process's targets.
            learnt: how many targets it had; 0 where it had no row, and then no gradient is needed.
            masters: have this process's gradients.

        Returns:
            The mean loss over all targets.
        """
        if self.size == 1:
            return loss
        total, targets = self.sums(loss * learnt, learnt)
        for master in masters:
            if master.grad is None:
                master.grad = torch.zeros_like(master)
            master.grad.mul_(learnt / targets)
            distributed.all_reduce(master.grad)
        return total / targets
