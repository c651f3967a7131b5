"""Lines of a file by their number, however large the file: every 64th line's place is remembered as it is passed."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock

EVERY = 64


def never() -> bool:
    """A `stop` that never says so."""
    return False


class LineFile:
    """A JSON-lines file, read where it is looked at. Safe to use from several threads.

    Args:
        path: the file; a missing one has no lines.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._marks = array("Q", [0])  # where the lines 0, 64, 128, ... begin
        self._lines = 0  # passed so far
        self._ended = not path.is_file()
        self._lock = Lock()

    def _pass(self, line: int) -> None:
        """Remember places until `line` is passed or the file ends."""
        with self._lock:
            if self._ended or self._lines > line:
                return
            with self.path.open("rb") as stream:
                place = self._marks[-1]
                stream.seek(place)
                self._lines = (len(self._marks) - 1) * EVERY
                for text in stream:
                    if not text.endswith(b"\n"):
                        break  # cut off: never a line of ours
                    place += len(text)
                    self._lines += 1
                    if self._lines % EVERY == 0:
                        self._marks.append(place)
                        if self._lines > line:
                            return
                self._ended = True

    def lines(self, first: int, count: int) -> list[bytes]:
        """Up to `count` lines from number `first` (from 0) on; fewer at the end of the file."""
        if first < 0 or count <= 0:
            return []
        self._pass(first)
        block = first // EVERY
        if block >= len(self._marks) or (self._ended and first >= self._lines):
            return []
        with self.path.open("rb") as stream:
            stream.seek(self._marks[block])
            for _ in range(first % EVERY):
                stream.readline()
            found = [stream.readline() for _ in range(count)]
        return [line for line in found if line.endswith(b"\n")]

    def count(self) -> int:
        """How many lines there are; reads the file to its end the first time."""
        self._pass(2**62)
        return self._lines

    def search(
        self,
        words: str,
        start: int,
        texts: Callable[[bytes], Iterable[str]],
        *,
        backwards: bool = False,
        stop: Callable[[], bool] = never,
    ) -> int:
        """The number of the next line that holds `words` (case doesn't matter), going round at the end; -1: none.

        Args:
            words: what to look for.
            start: the line after (or before) which it begins; looked at last.
            texts: the texts of a line that count.
            backwards: towards the beginning.
            stop: asked now and then; True ends it with -1.
        """
        wanted = words.casefold()
        # As it stands in JSON: most lines need not be parsed.
        raw = json.dumps(wanted, ensure_ascii=False)[1:-1]
        plain = wanted.isascii()

        def holds(line: bytes) -> bool:
            if plain and raw not in line.decode("utf-8", "replace").casefold():
                return False
            return any(wanted in text.casefold() for text in texts(line))

        total = self.count()
        if not total or not wanted:
            return -1
        blocks = -(-total // EVERY)
        first = min(max(start, 0), total - 1)
        for turn in range(blocks + 1):
            if stop():
                return -1
            step = -turn if backwards else turn
            block = (first // EVERY + step) % blocks
            numbers = list(range(block * EVERY, min(total, (block + 1) * EVERY)))
            # The first block is met twice: beyond `start` at first, and up to it at the end.
            if turn == 0:
                numbers = [n for n in numbers if (n < start if backwards else n > start)]
            if turn == blocks:
                numbers = [n for n in numbers if (n >= start if backwards else n <= start)]
            if not numbers:
                continue
            held = self.lines(numbers[0], len(numbers))
            found = [number for number, line in zip(numbers, held, strict=False) if holds(line)]
            if found:
                return found[-1] if backwards else found[0]
        return -1
