"""Kills a writer of the audit log with SIGKILL at each of its changes to the disk, and in the middle of each write.

Usage: killed_writer.py OUTPUT. Each attempt gets a folder OUTPUT/N with `device/`, and `done`, which names the entries
whose writing had ended before the kill, a line each.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from appliance.paths import Device
from appliance.trust import limits
from appliance.update import audit
from tests.update.killed_install import CHANGES

ENTRIES = 7


def attempt(folder: Path, allowed: int) -> None:
    """Write entries, but die at the change after `allowed` ones."""
    limits.LOG_SEGMENT_BYTES = 700  # so that files are full after three
    device = Device(folder / "device")
    left = allowed
    done = os.open(folder / "done", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    write = os.write

    def count(before: Any = None) -> None:
        nonlocal left
        if left == 0:
            if before is not None:
                before()
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def torn_write(fd: int, data: Any) -> int:
        if fd != done:
            count(lambda: write(fd, bytes(data)[: len(data) // 2]))
        return write(fd, data)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (event in CHANGES or writes) and any(str(each).startswith(str(device.root)) for each in arguments):
            count()

    os.write = torn_write
    sys.addaudithook(hook)
    for number in range(1, ENTRIES + 1):
        entry = audit.append(device, "tried", text="x" * 60, number=number)
        write(done, f"{number} {entry.number}\n".encode())


def main() -> None:
    """Attempts until one ends by itself."""
    output = Path(sys.argv[1])
    for allowed in range(10_000):
        folder = output / f"{allowed:04}"
        folder.mkdir()
        child = os.fork()
        if child == 0:
            attempt(folder, allowed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main()
