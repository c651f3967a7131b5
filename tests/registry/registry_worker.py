"""Works in a registry, and may be killed at it; run by the tests of this folder as a program.

Usage:
  registry_worker.py steps RELEASES TEMPLATE OUTPUT    each change to the disk kills one attempt, OUTPUT/N
  registry_worker.py adds REGISTRY DONE RELEASE…       adds each, and says so in the file DONE
  registry_worker.py promotes REGISTRY DONE RELEASE…   adds and promotes each, and says so in the file DONE
  registry_worker.py collects REGISTRY KEEP STOP       collects again and again until the file STOP is there
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.registry.collecting import collect
from appliance.registry.records import Sighting
from appliance.registry.store import Registry

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.truncate", "os.mkdir", "os.link", "os.chmod"}
ADDED, KEPT = "1.3.0", "1.1.0"


def scenario(folder: Path, releases: Path, say: Callable[[str], None]) -> None:
    """Every kind of change: add, promote, sight, collect."""
    with Registry(folder) as registry:
        digest = registry.add(releases / ADDED).digest
        say("added")
        registry.promote(registry.find(f"notes@{KEPT}").digest, "stable")
        say("promoted")
        registry.sight(digest, Sighting("device", "hut", "2026-11-01T00:00:00Z"))
        say("sighted")
        collect(registry, keep=1)
        say("collected")


def say_in(path: Path) -> Callable[[str], None]:
    """Appends a line, so that it is there before anything else happens."""

    def say(line: str) -> None:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{line}\n".encode())
        os.close(fd)

    return say


def attempt(folder: Path, releases: Path, allowed: int, done: Path) -> None:
    """The scenario, with death at the change after `allowed` ones; SQLite's statements count too."""
    left = allowed

    def count(_statement: str = "") -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if event in CHANGES or writes:
            inside = any(str(value).startswith(f"{folder}/") for value in arguments)
            if inside:
                count()

    connect = sqlite3.connect

    def traced(path: Path, **given: Any) -> sqlite3.Connection:
        connection = connect(path, **given)
        if str(path).startswith(f"{folder}/"):
            connection.set_trace_callback(count)
        return connection

    sqlite3.connect = traced  # type: ignore[assignment]
    sys.addaudithook(audit)
    scenario(folder, releases, say_in(done))


def steps(releases: Path, template: Path, output: Path) -> None:
    """Attempts until one ends by itself."""
    for allowed in range(10_000):
        folder = output / f"{allowed:04}"
        shutil.copytree(template, folder)
        child = os.fork()
        if child == 0:
            attempt(folder, releases, allowed, output / f"{allowed:04}.done")
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status == 0:
            return
        assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status


def adds(folder: Path, done: Path, releases: list[Path], promote: bool) -> None:
    """Add, and perhaps promote; a line in `done` for each that the registry has promised to keep."""
    say = say_in(done)
    with Registry(folder) as registry:
        for release in releases:
            digest = registry.add(release, parents=[]).digest
            say(f"added {digest}")
            if promote:
                registry.promote(digest, "stable")
                say(f"promoted {digest}")


def collects(folder: Path, keep: int, stop: Path) -> None:
    """Collect until told to stop."""
    rounds = 0
    while not stop.exists():
        with Registry(folder) as registry:
            collect(registry, keep)
        rounds += 1
    assert rounds


def main() -> None:
    """Run what the first word says."""
    verb, *words = sys.argv[1:]
    if verb == "steps":
        steps(*(Path(word) for word in words))
    elif verb in {"adds", "promotes"}:
        adds(Path(words[0]), Path(words[1]), [Path(word) for word in words[2:]], verb == "promotes")
    else:
        collects(Path(words[0]), int(words[1]), Path(words[2]))


if __name__ == "__main__":
    main()
