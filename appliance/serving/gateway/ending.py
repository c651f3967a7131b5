"""How signals end the gateway: at any moment, once, and with everything put away."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any


class Ending:
    """Handles SIGTERM, SIGINT and SIGHUP from the first moment to the last; a context manager.

    Before the server runs, SIGTERM is a `SystemExit(0)` and SIGINT a `KeyboardInterrupt` in the main thread.
    While it runs, both ask it to stop. After that they change nothing: we are ending already. The loop's own
    handlers would not do, as a loop that closes gives signals back their deadly default.
    """

    def __init__(self) -> None:
        self.asked: int | None = None  # the first signal that asked for the end
        self._stop: Callable[[], object] | None = None
        self._look: Callable[[], object] | None = None
        self._former: dict[int, Any] = {}

    def serving(self, stop: Callable[[], object], look: Callable[[], object]) -> None:
        """From now on signals call `stop`, and SIGHUP `look`; both must be safe in a signal handler."""
        self._stop, self._look = stop, look

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            if self._look is not None and self.asked is None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    self._look()
            return
        first, self.asked = self.asked is None, self.asked or number
        if self._stop is not None:
            with contextlib.suppress(RuntimeError):
                self._stop()
        elif first:
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(0)

    def __enter__(self) -> Ending:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
