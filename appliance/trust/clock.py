"""What time it is where the clock may be wrong: never earlier than anything that was signed or seen."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from appliance.errors import TrustError

BUILD_DATE = datetime(2026, 11, 1, tzinfo=UTC)  # this program didn't exist before
FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def to_text(moment: datetime) -> str:
    """`moment` in UTC, to the second, as the files spell it."""
    return moment.astimezone(UTC).strftime(FORMAT)


def from_text(text: object) -> datetime:
    """The inverse of `to_text`.

    Raises:
        TrustError: not such a time.
    """
    try:
        if not isinstance(text, str):
            raise ValueError("not text")
        return datetime.strptime(text, FORMAT).replace(tzinfo=UTC)
    except ValueError as error:
        raise TrustError(f"{text!r} isn't a time such as 2026-11-01T00:00:00Z") from error


def machine_time() -> datetime:
    """What this machine's own clock says."""
    return datetime.fromtimestamp(time.time(), UTC)


def latest(machine: datetime, seen: Iterable[datetime]) -> datetime:
    """The time to judge expiry by: the latest of the build date, all of `seen`, and the machine's clock."""
    return max(BUILD_DATE, machine, *seen).replace(microsecond=0)
