"""A program that ends with the process that started it: `python -m appliance.with_parent PARENT MODULE`.

A pipe's end is seen only by who reads it, and a process that computes, is swapped out or stands still does not read.
The kernel sends its signal all the same. It is asked for before MODULE and what that imports are loaded.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h


def end_with(parent: int) -> None:
    """Have this process killed when the thread that started it ends, which it does with its process at the latest.

    Args:
        parent: the id of the process that started this one; where it is gone already, this one ends here.
    """
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):  # no Linux: the pipe's end has to do
        return
    prctl(_SET_PARENT_DEATH_SIGNAL, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


if __name__ == "__main__":
    end_with(int(sys.argv[1]))
    runpy.run_module(sys.argv[2], run_name="__main__", alter_sys=True)
