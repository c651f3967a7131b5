"""The one error of this package."""

from __future__ import annotations


class ConvertError(Exception):
    """A model, adapter or file that can't be converted; no output was left behind.

    Args:
        message: what is wrong and where, one line.
        hint: what to do next, one line; may be empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
