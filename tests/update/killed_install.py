"""Kills an installation with SIGKILL at each of its changes to the disk; run by test_install.py as a program.

Usage: killed_install.py STICK DEVICE OUTPUT, where DEVICE is a template: each attempt gets a copy OUTPUT/N.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from appliance.events import Event
from appliance.paths import Device
from appliance.update.install import install
from tests.stick_simulator import accept

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.truncate", "os.mkdir", "os.link"}


def attempt(stick: Path, device: Path, allowed: int) -> None:
    """Install, but die at the change after `allowed` ones."""
    left = allowed

    def count() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in CHANGES or writes:
            inside = any(str(value).startswith(str(device)) for value in arguments)
            if inside:
                count()

    def emit(event: Event) -> None:
        if event.kind == "progress":
            count()

    sys.addaudithook(audit)
    install(stick, Device(device), emit, probe=accept)


def main() -> None:
    """Attempts until one ends by itself."""
    stick, template, output = (Path(word) for word in sys.argv[1:])
    for allowed in range(10_000):
        device = output / f"{allowed:04}"
        shutil.copytree(template, device)
        child = os.fork()
        if child == 0:
            attempt(stick, device, allowed)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


if __name__ == "__main__":
    main()
