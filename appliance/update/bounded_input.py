"""Bytes of blocks that come by, taken so many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

from appliance.errors import TrustError


class BoundedInput:
    """A reader of a format that somebody else wrote.

    Args:
        blocks: its bytes.
        what: what it is, for messages.
        hint: what to do where it is malformed.
    """

    def __init__(self, blocks: Iterator[bytes], what: str, hint: str) -> None:
        self._blocks, self._held = blocks, memoryview(b"")
        self._what, self._hint = what, hint

    def fail(self, reason: str) -> NoReturn:
        """Raise the TrustError for a malformed input."""
        raise TrustError(f"{self._what}: {reason}", self._hint)

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes, which has been compared with a limit.

        Raises:
            TrustError: it ends before.
        """
        parts, due = [], size
        while due:
            if not self._held:
                self._held = memoryview(next(self._blocks, b""))
                if not self._held:
                    self.fail(f"ends within {what}")
            part, self._held = self._held[:due], self._held[due:]
            parts.append(part)
            due -= len(part)
        return b"".join(parts)

    @property
    def is_empty(self) -> bool:
        """Nothing follows."""
        return not self._held and not next(self._blocks, b"")
