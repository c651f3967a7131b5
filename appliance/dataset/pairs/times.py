"""Times as chat logs write them, in minutes, so that silences can be told. Pure."""

from __future__ import annotations

import re
from datetime import datetime

_CLOCK = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp])?\.?[Mm]?\.?")
_DATES = (
    (re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)"), (1, 2, 3)),
    (re.compile(r"(?<!\d)(\d{1,2})[./-](\d{1,2})[./-](\d{4}|\d{2})(?!\d)"), (3, 2, 1)),
)
_EPOCH = re.compile(r"\d{10}(?:\d{3})?(?:\.\d+)?")
_DAY = 24 * 60


def minutes(time: str) -> tuple[float | None, bool]:
    """(minutes, whether they count from a date): of a date and a clock, a clock alone, or seconds since the epoch.

    Dates of which day and month can't be told apart are taken day first, which keeps silences within a month right.
    (None, False): not understood.
    """
    text = time.strip()
    if _EPOCH.fullmatch(text):
        value = float(text)
        return (value / 1000 if value > 1e11 else value) / 60, True
    clock = _CLOCK.search(text)
    if clock is None:
        return None, False
    hour, minute = int(clock[1]), int(clock[2])
    if clock[4]:
        hour = hour % 12 + (12 if clock[4] in "Pp" else 0)
    if hour > 24 or minute > 59:
        return None, False
    within = hour * 60 + minute + int(clock[3] or 0) / 60
    for pattern, order in _DATES:
        if match := pattern.search(text):
            year, month, day = (int(match[place]) for place in order)
            if month > 12 and day <= 12:
                month, day = day, month
            try:
                date = datetime(year + 2000 if year < 100 else year, month, day)
            except ValueError:
                continue
            return date.toordinal() * _DAY + within, True
    return within, False


class Clock:
    """Times of one transcript after the other, with the day passing where a clock alone goes back."""

    def __init__(self) -> None:
        self._days = 0
        self._last: float | None = None

    def read(self, time: str) -> float | None:
        """Minutes on one scale; None: not understood, and the time before it counts on."""
        value, dated = minutes(time)
        if value is None:
            return None
        if not dated:
            value += self._days * _DAY
            if self._last is not None and value < self._last - _DAY / 2:
                self._days += 1
                value += _DAY
        self._last = value
        return value
