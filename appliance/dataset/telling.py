"""Progress told when it has gone a hundredth further or two seconds have passed: no phase is silent, none floods."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.events import Emit, Event

STAGE = "dataset"
_SECONDS = 2.0


class Telling:
    """Tells of one phase.

    Args:
        emit: gets the events.
        what: the phase in words.
        total: how much there is to do, in `unit`.
    """

    def __init__(self, emit: Emit, what: str, total: int, unit: str = "rows") -> None:
        self._emit = emit
        self._what, self._total, self._unit = what, total, unit
        self._told = 0
        self._when = time.monotonic()

    def __call__(self, done: int) -> None:
        """So much is done."""
        now = time.monotonic()
        if done - self._told >= max(self._total // 100, 1) or now - self._when >= _SECONDS:
            self._told, self._when = done, now
            self._emit(Event(STAGE, "progress", self._what, done=done, total=self._total, unit=self._unit))

    def begin(self) -> None:
        """Tell at once that the phase begins."""
        self._emit(Event(STAGE, "progress", self._what, done=0, total=self._total, unit=self._unit))

    def share(self) -> Callable[[float], None]:
        """The same for who knows a share from 0 to 1."""
        return lambda share: self(round(share * self._total))
