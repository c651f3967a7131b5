"""Signals of a bad row that a person can check: each a penalty between 0 and 1 and the reason in words.

What is unusual is told from the set itself, by medians, so that a set of long or foreign texts isn't bad as such.
"""

from __future__ import annotations

import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.filtering import flaws_of
from appliance.dataset.near.shingles import mix, shingles

Reason = tuple[str, float, str]
"""(name of the signal, penalty, what is wrong in words)."""

_BUCKETS = 2**22
_FEW_WORDS = 8  # fewer repeat by chance
_USUAL = 0.9  # of the rows: what so many do, the others are noticed for not doing
_DEVIATIONS = 5.0


@lru_cache(maxsize=65536)
def _script(character: str) -> str:
    """The script that a letter is of, by its Unicode name; empty for what is no letter."""
    return unicodedata.name(character, "").partition(" ")[0] if character.isalpha() else ""


def script_of(text: str) -> str:
    """The script of most of the letters; empty without any."""
    counts = Counter(map(_script, text[:2000]))
    del counts[""]
    return counts.most_common(1)[0][0] if counts else ""


def _keys(answer: str) -> str:
    """The keys of an answer that is a JSON object, in order of the alphabet; empty for any other."""
    if not answer.startswith("{"):
        return ""
    try:
        value = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    return ",".join(sorted(value)) or "{}"


def _signs(text: str) -> float:
    """The share of characters that are neither letter, digit nor space."""
    return sum(not (character.isalnum() or character.isspace()) for character in text) / max(len(text), 1)


@dataclass
class Facts:
    """One row's numbers that the set's usual is made of."""

    length: float
    answer_length: float
    signs: float
    script: str
    answer_script: str
    keys: str
    flaws: tuple[tuple[str, str], ...] = ()


def facts_of(prompt: str, answer: str) -> Facts:
    """What the signals need to know of a row.

    Args:
        prompt: what the user said, without the frame that all rows share.
        answer: the last answer.
    """
    return Facts(
        float(np.log1p(len(prompt))),
        float(np.log1p(len(answer))),
        _signs(prompt),
        script_of(prompt),
        script_of(answer),
        _keys(answer),
        tuple(flaws_of(answer)),
    )


def _centre(values: Sequence[float]) -> tuple[float, float]:
    """Median, and the standard deviation that the median absolute deviation stands for."""
    array = np.array(values)
    median = float(np.median(array))
    return median, 1.4826 * float(np.median(np.abs(array - median)))


@dataclass
class Usual:
    """What is usual in a set.

    Attributes:
        length, answer_length, signs: (median, deviation) of logarithms of lengths, and of the share of signs.
        script, answer_script: of most rows; empty where no one script is usual.
        json: whether answers are usually JSON objects.
        keys: how many rows have each set of keys.
        rows: of the set.
        windows: (buckets,) in how many rows each three-character window stands, up to 255.
        labels: whether answers are labels, whose lengths say nothing.
    """

    length: tuple[float, float] = (0.0, 0.0)
    answer_length: tuple[float, float] = (0.0, 0.0)
    signs: tuple[float, float] = (0.0, 0.0)
    script: str = ""
    answer_script: str = ""
    json: bool = False
    keys: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    labels: bool = False
    windows: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(_BUCKETS, dtype=np.uint8))

    def count_windows(self, texts: Sequence[str]) -> None:
        """Count the windows of normalised texts, each once a text."""
        for buckets in _window_buckets(texts):
            self.windows[buckets] = np.minimum(self.windows[buckets].astype(np.int64) + 1, 255)

    def learn(self, facts: Sequence[Facts], labels: bool) -> None:
        """Take the usual from every row of the set."""
        self.rows, self.labels = len(facts), labels
        self.length = _centre([each.length for each in facts])
        self.answer_length = _centre([each.answer_length for each in facts])
        self.signs = _centre([each.signs for each in facts])
        self.script = _common([each.script for each in facts])
        self.answer_script = _common([each.answer_script for each in facts])
        self.keys = Counter(each.keys for each in facts)
        self.json = self.keys[""] <= (1 - _USUAL) * len(facts)


def _window_buckets(texts: Sequence[str]) -> list[NDArray[np.int64]]:
    codes, places = shingles(texts, "characters")
    buckets = (mix(codes) % np.uint64(_BUCKETS)).astype(np.int64)
    return [np.unique(buckets[begin:end]) for begin, end in itertools.pairwise(places)]


def _common(values: Sequence[str]) -> str:
    known = [value for value in values if value]
    if not known:
        return ""
    value, count = Counter(known).most_common(1)[0]
    return value if count >= _USUAL * len(known) else ""


def _outlier(value: float, usual: tuple[float, float], least: float) -> float:
    """0 within five deviations of the median, rising to 1 at twice that."""
    median, deviation = usual
    away = abs(value - median) / max(deviation, least)
    return float(np.clip(away / _DEVIATIONS - 1, 0, 1))


def _repeats(text: str, what: str) -> list[Reason]:
    words = text.split(" ")
    if len(words) < _FEW_WORDS:
        return []
    different = len(set(words)) / len(words)
    expected = min(1.0, 2.2 * len(words) ** -0.35)  # longer texts repeat more (Heaps' law)
    penalty = float(np.clip(1 - different / (0.6 * expected), 0, 1))
    return (
        [("repetition", penalty, f"{what} repeats: {different:.0%} of its words are different")]
        if penalty
        else []
    )


def reasons_of(prompt: str, answer: str, facts: Facts, usual: Usual) -> list[Reason]:
    """Everything that speaks against one row.

    Args:
        prompt, answer: normalised; the prompt without its frame.
        facts: of the row.
        usual: of the set that it stands in.
    """
    found: list[Reason] = []
    if penalty := _outlier(facts.length, usual.length, 0.25):
        side = "long" if facts.length > usual.length[0] else "short"
        found.append(("length", 0.6 * penalty, f"the prompt is unusually {side}"))
    if not usual.labels and (penalty := _outlier(facts.answer_length, usual.answer_length, 0.25)):
        side = "long" if facts.answer_length > usual.answer_length[0] else "short"
        found.append(("length", 0.6 * penalty, f"the answer is unusually {side}"))
    if facts.signs > usual.signs[0] and (penalty := _outlier(facts.signs, usual.signs, 0.03)):
        found.append(
            (
                "characters",
                0.7 * penalty,
                f"{facts.signs:.0%} of the prompt is neither letter, digit nor space",
            )
        )
    found += _repeats(prompt, "the prompt") + ([] if usual.labels else _repeats(answer, "the answer"))
    (buckets,) = _window_buckets([prompt])
    if len(buckets) and usual.rows >= 50:
        alone = float(np.count_nonzero(usual.windows[buckets] <= 1)) / len(buckets)
        if alone > 0.3:
            text = f"{alone:.0%} of the prompt's three-character windows stand in no other row"
            found.append(("unlike", min(1.0, 2 * (alone - 0.3)), text))
    if not usual.labels:
        found += [(kind, 0.7, reason) for kind, reason in facts.flaws]
    if answer == prompt and not usual.labels:
        found.append(("echo", 0.9, "the answer is the prompt"))
    if usual.json and not facts.keys:
        found.append(("form", 0.9, "the answer is no JSON object, as the others are"))
    elif usual.json and usual.keys[facts.keys] <= max(1, 0.001 * usual.rows):
        found.append(("form", 0.3, f"hardly another answer has the keys {facts.keys}"))
    for script, common, what in (
        (facts.script, usual.script, "prompt"),
        (facts.answer_script, usual.answer_script, "answer"),
    ):
        if script and common and script != common:
            found.append(
                (
                    "language",
                    0.8,
                    f"the {what} is written in {script.title()}, the others in {common.title()}",
                )
            )
    return found
