"""Running a long program so that a person sees it live: its output to a log, one line every few seconds."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

EVERY = 4.0  # seconds between two lines of progress
TAIL = 25  # lines of the log shown when the program fails


def say(text: str) -> None:
    """One line to the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fail(message: str, hint: str = "") -> SystemExit:
    """The exception that ends a script with what is wrong and what to do next."""
    sys.stdout.flush()
    return SystemExit(f"error: {message}" + (f"\nhint: {hint}" if hint else ""))


def _last_line(log: Path) -> str:
    size = log.stat().st_size
    with log.open("rb") as stream:
        stream.seek(max(0, size - 4096))
        lines = [line.strip() for line in stream.read().decode(errors="replace").splitlines() if line.strip()]
    return re.sub(r"\s+", " ", lines[-1])[:84] if lines else ""


def run(
    arguments: Sequence[str | Path],
    label: str,
    log: Path,
    *,
    environment: dict[str, str] | None = None,
    cwd: Path | None = None,
) -> int:
    """Run a program, its output appended to `log`, with a line of progress every few seconds.

    Returns:
        Its exit status; after a failure the end of its output has been shown.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    say(f"  {label} …")
    begin = log.stat().st_size if log.exists() else 0
    with log.open("ab") as stream:
        child = subprocess.Popen(  # output goes to the file
            [str(word) for word in arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )
        try:
            while True:
                try:
                    status = child.wait(timeout=EVERY)
                    break
                except subprocess.TimeoutExpired:
                    say(f"  {label}: {time.monotonic() - started:4.0f} s  {_last_line(log)}")
        except BaseException as error:
            # The whole group: a build has children of its own.
            os.killpg(child.pid, signal.SIGTERM)
            child.wait()
            if isinstance(error, KeyboardInterrupt):
                say("stopped; run the same command again to go on")
                raise SystemExit(130) from None
            raise
    if status:
        with log.open("rb") as stream:
            stream.seek(begin)
            tail = deque(stream.read().decode(errors="replace").splitlines(), TAIL)
        for line in tail:
            say(f"    {line}")
        say(f"  {label}: failed after {time.monotonic() - started:.0f} s (all output: {log})")
    else:
        say(f"  {label}: done in {time.monotonic() - started:.0f} s")
    return status
