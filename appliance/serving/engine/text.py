"""From token bytes to text that may be shown: whole characters only, and nothing of a stop text."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


def held_back(text: str, stops: Sequence[str]) -> int:
    """How many characters at the end of `text` could be the beginning of a stop text."""
    longest = 0
    for stop in stops:
        for size in range(min(len(stop) - 1, len(text)), longest, -1):
            if text.endswith(stop[:size]):
                longest = size
                break
    return longest


def first_stop(text: str, stops: Sequence[str]) -> int:
    """Where the first stop text begins in `text`; -1 if there is none."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(found, default=-1)


class AnswerText:
    """Gathers an answer's bytes.

    Args:
        stops: texts before which the answer ends.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def add(self, data: bytes) -> str:
        """Take a token's bytes; returns what may be shown now. `stopped` is set once a stop text has come."""
        text = self._decoder.decode(data)
        if not self._stops:
            return text
        text = self._held + text
        place = first_stop(text, self._stops)
        if place >= 0:
            self.stopped = True
            self._held = ""
            return text[:place]
        held = held_back(text, self._stops)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def finish(self) -> str:
        """What was held back and is no stop text after all; half a character is dropped."""
        held, self._held = self._held, ""
        return held
