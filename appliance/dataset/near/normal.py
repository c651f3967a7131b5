"""What is compared: the words of a text without case, punctuation and the frame that all rows share. Pure."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_FRAME = 12  # characters; a shorter common beginning is language, not a frame
_LEAST_SHARE = 0.1  # of the sample: what fewer rows begin with isn't looked for


class _Folding(dict[int, int | str]):
    """Characters of some categories (first letters of Unicode's) become spaces; worked out once a character."""

    def __init__(self, categories: str) -> None:
        super().__init__()
        self._categories = categories

    def __missing__(self, code: int) -> int | str:
        self[code] = " " if unicodedata.category(chr(code))[0] in self._categories else code
        return self[code]


_BARE = _Folding("PSZC")  # punctuation, symbols, separators, control characters
_WITH_SYMBOLS = _Folding("PZC")


def normalise(text: str, *, symbols: bool = False) -> str:
    """`text` case-folded, punctuation as space, single spaces; a text of nothing else stays as it is.

    Args:
        symbols: whether signs such as `$` and `+` stay: they tell no rows apart, but may tell what is wrong with one.
    """
    folded = text.casefold()
    return " ".join(folded.translate(_WITH_SYMBOLS if symbols else _BARE).split()) or " ".join(folded.split())


@dataclass(frozen=True)
class Frames:
    """Beginnings and ends that so many rows share that they tell rows apart no longer.

    Attributes:
        heads, tails: normalised, longest first.
    """

    heads: tuple[str, ...] = ()
    tails: tuple[str, ...] = ()

    def strip(self, text: str) -> str:
        """A normalised text without its frame; a text that is nothing but frame stays whole."""
        bare = text
        for head in self.heads:
            if bare.startswith(head) and (len(bare) == len(head) or bare[len(head)] == " "):
                bare = bare[len(head) :].lstrip()
                break
        for tail in self.tails:
            if bare.endswith(tail) and (len(bare) == len(tail) or bare[-len(tail) - 1] == " "):
                bare = bare[: -len(tail)].rstrip()
                break
        return bare or text


def _common_heads(texts: Sequence[str]) -> list[str]:
    """The beginnings that at least half of the texts share, then half of those left, while many are left."""
    found: list[str] = []
    left = sorted(texts)
    least = max(8, int(len(left) * _LEAST_SHARE))
    while len(left) >= least:
        # Sorted, the texts with one beginning stand together: the first and last of a run of half tell its length.
        half = (len(left) + 1) // 2
        best = ""
        for first, last in zip(left, left[half - 1 :], strict=False):
            if not last.startswith(first[: len(best) + 1]):
                continue
            same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
            best = first[: sum(1 for _ in same)]
        # Whole words only; a head that is itself a whole text is cut before its last word, so that one is left.
        best = best[: best.rfind(" ")] if " " in best else ""
        if len(best) < LEAST_FRAME:
            break
        # What begins like a longer head takes its place: rows of one form must lose the same words.
        found = [head for head in found if not head.startswith(best)] + [best]
        left = [text for text in left if not text.startswith(best)]
    return sorted(found, key=lambda head: (-len(head), head))


def find_frames(sample: Sequence[str]) -> Frames:
    """The frames of a sample of normalised texts, such as an instruction that stands before every message.

    A frame is what at least half of the sample (or half of what no longer frame covers) begins or ends with.
    Fewer than sixteen texts have none: two questions that begin alike are no frame.
    """
    if len(sample) < 16:
        return Frames()
    heads = _common_heads(sample)
    bare = [Frames(tuple(heads)).strip(text) for text in sample]
    tails = _common_heads([" ".join(reversed(text.split(" "))) for text in bare])
    return Frames(tuple(heads), tuple(" ".join(reversed(tail.split(" "))) for tail in tails))
