"""Keeps one engine alive, and changes it for another while requests go on.

The new engine is loaded beside the old one; new requests go to it once it is ready; the old one ends
when its last request is done. If the new one can't be loaded, the old one stays. A release whose engines
end one after another is given up; where nothing can be loaded at all, the supervisor stays and tries again:
safe mode.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from appliance.errors import AnchorholdError, ServingError, from_os_error
from appliance.serving.engine_client import Engine

LOG = logging.getLogger("anchorhold.supervisor")
_BACK_OFF = (0.2, 1.0, 5.0, 15.0, 60.0)  # seconds before the next start after that many failures in a row
_STEADY = 30.0  # seconds that an engine must have lived for its end to count as the first failure
LOOP = 4  # engines in a row that ended so soon, or couldn't be started: the release is given up
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
        change: grows whenever a release is made active; what failed is tried again if it was made so once more.
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
    change: int = field(default=0, compare=False)

    @property
    def identity(self) -> str:
        """The name that the API shows."""
        return f"{self.name}-{self.version}" if self.version else self.name


_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
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


def _ours(ask: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """The same, but a disk's error is one of ours: it must not end the thread that keeps the engine alive."""

    @functools.wraps(ask)
    def asked(*given: _Given.args, **named: _Given.kwargs) -> _Answer:
        try:
            return ask(*given, **named)
        except OSError as error:
            raise from_os_error(error) from error

    return asked


class Supervisor:
    """Runs in a thread of its own.

    Args:
        target: gives what is to be served now; None if nothing is installed.
        start: loads an engine.
        give_up: told of a release whose engines end (None: of one that can't even be read), and why; sees to it
            that `target` gives another, if it can.
    """

    def __init__(
        self,
        target: Callable[[], Target | None],
        start: Callable[[Target], Engine],
        give_up: Callable[[Target | None, str], None] = lambda _target, _reason: None,
    ) -> None:
        self._target = _ours(target)
        self._start = start
        self._give_up = _ours(give_up)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self.ending = threading.Event()  # a start that goes on should be given up
        self._current: Serving | None = None
        # failed to load; not tried again while the old one serves, unless its file is another
        self._refused: tuple[Target, int, _FileState] | None = None
        self._failures = 0
        self._next_try = 0.0
        self._tried: Target | None = None  # what was started last, or should have been
        self._beaten_by: Target | None = None  # was given up once, in vain
        self.restarts = 0
        self.problem = ""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def begin(self, stay: bool = False) -> None:
        """Load the first engine, then watch.

        Args:
            stay: if it can't be loaded, go on without one, and try again: safe mode.

        Raises:
            AnchorholdError: nothing to serve, or it can't be loaded.
        """
        target: Target | None = None
        try:
            target = self._target()
            if target is None:
                raise ServingError(
                    "no release is installed on this device", "install one: `anchorhold install STICK`"
                )
            self._tried = target
            self._current = self._first(target)
        except AnchorholdError as error:
            if not stay or self.ending.is_set() or (target is None and isinstance(error, ServingError)):
                raise
            self._failed(target, error.message)
        self._thread.start()

    def _first(self, target: Target) -> Serving:
        try:
            return Serving(target, self._start(target))
        except AnchorholdError as error:
            instead = self._target()
            if instead is None or instead == target:
                raise
            LOG.error("%s; trying %s", error.message, instead.identity)  # it was rolled back
            return Serving(instead, self._start(instead))

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
        return {
            "alive": alive,
            "restarts": self.restarts,
            "problem": self.problem,
            "safe_mode": not alive and (serving is None or self._failures >= LOOP),
        }

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
        dead = serving is None or not serving.engine.alive
        last = serving.target if serving is not None else None
        try:
            target = self._target()
        except AnchorholdError as error:
            if self.problem != error.message:
                LOG.error("what is to be served can't be read: %s", error.message)
            self.problem = error.message
            target = last
            if last is None and time.monotonic() >= self._next_try:
                self._unreadable(error.message)
        else:
            if target == last and not dead:
                self.problem = ""  # what could not be served isn't wanted any more
        if dead and target is not None and target != self._tried:
            self._failures, self._next_try = 0, 0.0  # something else was installed: at once
        if dead and time.monotonic() >= self._next_try:
            self._restart(serving, target or last)
        elif (
            serving is not None
            and target is not None
            and target != last
            and not dead
            and not self._is_refused(target)
        ):
            self._switch(serving, target)

    def _is_refused(self, target: Target) -> bool:
        return self._refused == (target, target.change, _file_state(target.model))

    def _restart(self, dead: Serving | None, target: Target | None) -> None:
        if dead is not None:
            if time.monotonic() - dead.since > _STEADY:
                self._failures = 0
            LOG.warning("engine %d has ended, starting another", dead.engine.pid)
            dead.engine.close()
            if target is None or self._is_refused(target):
                target = dead.target
        if target is None:
            return
        if self._failures >= LOOP and target != self._beaten_by:
            target = self._beaten(target)
        self._tried = target
        before = _file_state(target.model)
        try:
            engine = self._start(target)
        except AnchorholdError as error:
            if dead is None or target != dead.target:
                self._refused = (target, target.change, before)  # next time the one that did serve
            self._failed(target, error.message)
        else:
            self.problem = ""
            self.restarts += 1
            with self._lock:
                self._current = Serving(target, engine)
            self._wait()

    def _unreadable(self, reason: str) -> None:
        """Nothing runs, and what should run can't be read; the fourth time it is given up."""
        if self._failures == LOOP:
            with contextlib.suppress(AnchorholdError):
                self._give_up(None, reason)
                self._failures += 1  # once
                return  # and look at once what there is instead
        self._wait()

    def _failed(self, target: Target | None, reason: str) -> None:
        """An engine couldn't be started."""
        self.problem = f"{target.identity} can't be served: {reason}" if target is not None else reason
        LOG.error("engine can't be started: %s", reason)
        self._wait()

    def _wait(self) -> None:
        """Put off the next start, the longer the more engines in a row have failed."""
        self._next_try = time.monotonic() + _BACK_OFF[min(self._failures, len(_BACK_OFF) - 1)]
        self._failures += 1

    def _beaten(self, target: Target) -> Target:
        """Have a release given up whose engines end one after another; what is to be started then."""
        reason = self.problem or f"{self._failures} engines ended within {_STEADY:.0f} s of their start"
        self._beaten_by = target
        try:
            self._give_up(target, reason)
            instead = self._target()
        except AnchorholdError as error:
            self.problem = error.message
            return target
        if instead is None or instead == target:
            return target
        self._failures = 0
        return instead

    def _switch(self, old: Serving, target: Target) -> None:
        LOG.warning("changing from %s to %s", old.target.identity, target.identity)
        before = _file_state(target.model)
        try:
            engine = self._start(target)
        except AnchorholdError as error:
            if self.ending.is_set():
                return
            self.problem = f"{target.identity} can't be served: {error.message}"
            self._refused = (target, target.change, before)
            LOG.error("%s; %s keeps serving", self.problem, old.target.identity)
            return
        self.problem = ""
        with self._lock:
            self._current = Serving(target, engine)
            old.retired = True
            unused = old.users == 0
        if unused:
            old.engine.close()
