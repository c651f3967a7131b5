"""How far a text is from the style of some others, by what can be counted: no model, and each part can be shown.

Burrows's Delta (Burrows 2002, Literary and Linguistic Computing 17: 267-287): rates of common words as z-scores of the
reference texts, and the mean of their absolute values. Common are words that a fifth of the references have (culling,
Hoover 2004, ibid. 19: 453-475), so that it works in any language that parts words, and with JSON. Beside the words
stand punctuation, lengths, and persons with capitals, each a group of its own and equally weighty.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from appliance.evaluation.scoring.overlap import words_of

Numbers = NDArray[np.float64]
GROUPS = ("words", "punctuation", "lengths", "manner")
LEAST_REFERENCES = 8  # fewer have no spread worth the name
_COMMON = 0.2  # share of the references that have a word
_MOST_WORDS = 50
_FARTHEST = 5.0  # of one feature, in standard deviations: one odd sign is not the whole style
_LEAST_SPREAD = 0.25  # of the references in a group, where they are all alike: no group may drown the others
_SIGNS = ".,;:!?'\"()-/{}[]*#`_\n"
_SENTENCE_END = re.compile(r"[.!?]+(?:\s|$)|\n+")
_FIRST = frozenset(["i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"])
_SECOND = frozenset(["you", "your", "yours", "yourself", "yourselves"])
_THIRD = frozenset(
    ["he", "him", "his", "she", "her", "hers", "they", "them", "their", "theirs", "it", "its", "one"]
)
GREETING = re.compile(
    r"^\W*(?:hi|hello|hey|dear|good (?:morning|day|afternoon|evening)|welcome|greetings)\b", re.IGNORECASE
)


def _features(text: str, common: Sequence[str]) -> list[Numbers]:
    """A text's features by group, in the order of `GROUPS`."""
    words, letters = words_of(text), [sign for sign in text if sign.isalpha()]
    count, length = max(1, len(words)), max(1, len(text))
    seen = Counter(words)
    plain = text.translate(str.maketrans("’‘“”–—", "''\"\"--"))
    signs = Counter(plain)
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    manner = [
        *(sum(seen[word] for word in person) / count for person in (_FIRST, _SECOND, _THIRD)),
        sum(letter.isupper() for letter in letters) / max(1, len(letters)),
        float(GREETING.match(text) is not None),
        float(text.lstrip()[:1].isupper()),
    ]
    return [
        np.array([seen[word] / count for word in common]),
        np.array([*(signs[sign] / length for sign in _SIGNS), sum(map(str.isdigit, text)) / length]),
        np.log1p([len(words), len(words) / max(1, len(sentences)), sum(map(len, words)) / count]),
        np.array(manner),
    ]


@dataclass(frozen=True)
class Profile:
    """The style of reference texts.

    Attributes:
        common: the words that are counted.
        centre, spread: by group, the mean of each feature and its standard deviation, or what one occurrence more in
            a text of usual length makes, whichever is more.
        own: by group, how far one reference is from the others, in the mean.
    """

    common: tuple[str, ...]
    centre: tuple[Numbers, ...]
    spread: tuple[Numbers, ...]
    own: tuple[float, ...]

    def distances(self, text: str) -> dict[str, float]:
        """By group, how far a text is from the references: 1 is as far as one of them from the others."""
        found = _features(text, self.common)
        return {
            name: _delta(part, centre, spread) / own
            for name, part, centre, spread, own in zip(
                GROUPS, found, self.centre, self.spread, self.own, strict=True
            )
        }

    def distance(self, text: str) -> float:
        """The mean over the groups."""
        return sum(self.distances(text).values()) / len(GROUPS)


def _delta(features: Numbers, centre: Numbers, spread: Numbers) -> float:
    if not features.size:
        return 0.0
    return float(np.minimum(np.abs(features - centre) / spread, _FARTHEST).mean())


def _common_words(texts: Sequence[str]) -> tuple[str, ...]:
    having = Counter(word for text in texts for word in set(words_of(text)))
    least = _COMMON * len(texts)
    ordered = sorted((-number, word) for word, number in having.items() if number >= least)
    return tuple(word for _, word in ordered[:_MOST_WORDS])


@lru_cache(maxsize=8)
def profile_of(texts: tuple[str, ...]) -> Profile:
    """The style of some texts.

    Raises:
        ValueError: fewer than eight.
    """
    if len(texts) < LEAST_REFERENCES:
        raise ValueError(
            f"{len(texts)} reference answers; the spread of a style takes {LEAST_REFERENCES} at least"
        )
    common = _common_words(texts)
    rows = [_features(text, common) for text in texts]
    word = 1 / max(1.0, float(np.mean([len(words_of(text)) for text in texts])))
    sign = 1 / max(1.0, float(np.mean([len(text) for text in texts])))
    floors = (
        np.full(len(common), word),
        np.full(len(_SIGNS) + 1, sign),
        np.full(3, 0.1),  # of a logarithm: a tenth more or less
        np.array([word, word, word, sign, 0.25, 0.25]),  # and a quarter of the texts
    )
    centres, spreads, owns = [], [], []
    for group, floor in enumerate(floors):
        table = np.array([row[group] for row in rows])
        centre, spread = table.mean(axis=0), np.maximum(table.std(axis=0), floor)
        others = (centre * len(texts) - table) / (len(texts) - 1)
        own = float(np.mean([_delta(row, rest, spread) for row, rest in zip(table, others, strict=True)]))
        centres.append(centre)
        spreads.append(spread)
        owns.append(max(own, _LEAST_SPREAD))
    return Profile(common, tuple(centres), tuple(spreads), tuple(owns))
