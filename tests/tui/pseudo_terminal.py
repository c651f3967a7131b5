"""The real program on a real pseudo-terminal, and every byte that it writes there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
GIVE_UP = 90.0  # seconds until a test is taken to hang
COLOUR = re.compile(rb"\x1b\[([0-9;:]*)m")


def colours(data: bytes) -> list[bytes]:
    """The SGR sequences in `data` that set a colour (attributes like bold and reverse aside)."""
    found = []
    for match in COLOUR.finditer(data):
        numbers = [int(part) for part in re.split(rb"[;:]", match.group(1)) if part]
        if any(30 <= n <= 38 or 40 <= n <= 48 or 90 <= n <= 107 for n in numbers):
            found.append(match.group())
    return found


class Terminal:
    """A program on a pseudo-terminal of 80x24; a context manager."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env={**os.environ, "COLUMNS": "", "LINES": "", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self._data = bytearray()
        self._open = True
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._open:
            ready, _, _ = select.select([self._master], [], [], 0.2)
            if ready:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # the program has ended
                    return
                if not data:
                    return
                self._data += data

    @property
    def written(self) -> bytes:
        """All so far."""
        return bytes(self._data)

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def wait_for(self, text: bytes, after: int = 0) -> int:
        """Wait until `text` was written; returns where it begins."""
        giving_up = time.monotonic() + GIVE_UP
        while time.monotonic() < giving_up:
            place = self.written.find(text, after)
            if place >= 0:
                return place
            time.sleep(0.05)
        raise AssertionError(f"{text!r} never came; the last was {self.written[-2000:]!r}")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(GIVE_UP)
        self._open = False
        self._reader.join()
        os.close(self._master)
