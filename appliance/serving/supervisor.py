"""Keeps one engine alive, and changes it for another while requests go on.

The new engine is loaded beside the old one; new requests go to it once it is ready; the old one ends
when its last request is done. If the new one can't be loaded, the old one stays.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import AnchorholdError, ServingError
from appliance.serving.engine_client import Engine

LOG = logging.getLogger("anchorhold.supervisor")
_BACK_OFF = (0.2, 1.0, 5.0, 15.0, 60.0)  # seconds before the next start after that many failures in a row
_STEADY = 30.0  # seconds that an engine must have lived for its end to count as the first failure
_LOOK = 1.0  # seconds between looks at the engine and at what is to be served


@dataclass(frozen=True)
class Target:
    """What is to be served.

    Attributes:
        name, version: of the release, or the file's name and "".
        digest: of the release, or of the file.
        model: the GGUF.
        context: tokens that a request needs room for.
        system: put before conversations that bring no system prompt; the model was trained behind it.
        schema: what answers to such conversations are held to; None for nothing.
        passages: an index of documents to look things up in; None for none.
        top: how many passages a question gets.
        looks_up: whether without being asked.
        baseline: the release's own spread of inputs (`watch.baseline`); None where it has none.
    """

    name: str
    version: str
    digest: str
    model: Path
    context: int = 2048
    system: str = ""
    schema: dict[str, Any] | None = field(default=None, hash=False)
    passages: Path | None = None
    top: int = 3
    looks_up: bool = False
    baseline: Path | None = None

    @property
    def identity(self) -> str:
        """The name that the API shows."""
        return f"{self.name}-{self.version}" if self.version else self.name


_FileState = tuple[int, int, int] | None


def _file_state(path: Path) -> _FileState:
    """Tells a model's file from one that was put in its place."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


class Serving:
    """A running engine with its target, and how many requests use it."""

    def __init__(self, target: Target, engine: Engine) -> None:
        self.target = target
        self.engine = engine
        self.since = time.monotonic()
        self.users = 0
        self.retired = False


class Supervisor:
    """Runs in a thread of its own.

    Args:
        target: gives what is to be served now; None if nothing is installed.
        start: loads an engine.
    """

    def __init__(self, target: Callable[[], Target | None], start: Callable[[Target], Engine]) -> None:
        self._target = target
        self._start = start
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.ending = threading.Event()  # a start that goes on should be given up
        self._current: Serving | None = None
        # failed to load; not tried again while the old one serves, unless its file is another
        self._refused: tuple[Target, _FileState] | None = None
        self._failures = 0
        self._next_try = 0.0
        self.restarts = 0
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def begin(self) -> None:
        """Load the first engine, then watch.

        Raises:
            AnchorholdError: nothing to serve, or it can't be loaded.
        """
        target = self._target()
        if target is None:
            raise ServingError(
                "no release is installed on this device", "install one: `anchorhold install STICK`"
            )
        try:
            engine = self._start(target)
        except AnchorholdError as error:
            instead = self._target()
            if instead is None or instead == target:
                raise
            LOG.error("%s; trying %s", error.message, instead.identity)  # it was rolled back
            target, engine = instead, self._start(instead)
        self._current = Serving(target, engine)
        self._thread.start()

    def reload(self) -> None:
        """Look at once whether something else is to be served, and try again what failed."""
        self._refused = None
        self._wake.set()

    @contextlib.contextmanager
    def use(self) -> Iterator[Serving]:
        """The engine for one request; it isn't ended before the request is done.

        Raises:
            ServingError: there is none at the moment.
        """
        with self._lock:
            serving = self._current
            if serving is None or not serving.engine.alive:
                raise ServingError(
                    f"the engine is being started again{': ' + self.problem if self.problem else ''}",
                    "ask again in a few seconds",
                )
            serving.users += 1
        try:
            yield serving
        finally:
            with self._lock:
                serving.users -= 1
                last = serving.retired and serving.users == 0
            if last:
                threading.Thread(target=serving.engine.close, daemon=True).start()

    @property
    def current(self) -> Serving | None:
        """What serves now, dead or alive."""
        return self._current

    def state(self) -> dict[str, Any]:
        """For /health."""
        serving = self._current
        alive = serving is not None and serving.engine.alive
        return {"alive": alive, "restarts": self.restarts, "problem": self.problem}

    def close(self) -> None:
        """End the engine and the watching."""
        self.ending.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._current is not None:
            self._current.engine.close()

    def _run(self) -> None:
        while not self.ending.is_set():
            self._wake.wait(_LOOK)
            self._wake.clear()
            if not self.ending.is_set():
                self._look()

    def _look(self) -> None:
        serving = self._current
        assert serving is not None
        dead = not serving.engine.alive
        try:
            target = self._target()
        except AnchorholdError as error:
            if self.problem != error.message:
                LOG.error("what is to be served can't be read: %s", error.message)
            self.problem = error.message
            target = serving.target
        else:
            if target == serving.target and not dead:
                self.problem = ""  # what could not be served isn't wanted any more
        if dead and time.monotonic() >= self._next_try:
            self._restart(serving, target or serving.target)
        elif target is not None and target != serving.target and not dead and not self._is_refused(target):
            self._switch(serving, target)

    def _is_refused(self, target: Target) -> bool:
        return self._refused == (target, _file_state(target.model))

    def _restart(self, dead: Serving, target: Target) -> None:
        if time.monotonic() - dead.since > _STEADY:
            self._failures = 0
        LOG.warning("engine %d has ended, starting another", dead.engine.pid)
        dead.engine.close()
        if self._is_refused(target):
            target = dead.target
        before = _file_state(target.model)
        try:
            engine = self._start(target)
        except AnchorholdError as error:
            self.problem = error.message
            if target != dead.target:
                self._refused = (target, before)  # next time the one that did serve
            LOG.error("engine can't be started: %s", error.message)
        else:
            self.problem = ""
            self.restarts += 1
            with self._lock:
                self._current = Serving(target, engine)
        pause = _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
        self._failures += 1
        self._next_try = time.monotonic() + pause

    def _switch(self, old: Serving, target: Target) -> None:
        LOG.warning("changing from %s to %s", old.target.identity, target.identity)
        before = _file_state(target.model)
        try:
            engine = self._start(target)
        except AnchorholdError as error:
            if self.ending.is_set():
                return
            self.problem = f"{target.identity} can't be served: {error.message}"
            self._refused = (target, before)
            LOG.error("%s; %s keeps serving", self.problem, old.target.identity)
            return
        self.problem = ""
        with self._lock:
            self._current = Serving(target, engine)
            old.retired = True
            unused = old.users == 0
        if unused:
            old.engine.close()
