"""Exchanges off the project's topics: what the assistants' sides of all conversations speak of tells the topics."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.pairs.noise import is_small_talk
from appliance.dataset.pairs.sentences import content_words
from appliance.dataset.pairs.transcripts import Conversation

_BUCKETS = 2**18
_LEAST_CONVERSATIONS = 20  # fewer have no topics that could be told from chance
_LEAST_WORDS = 4  # of content; less is too little to judge by its topic
_OFF = 0.25  # of the median likeness


@dataclass(frozen=True)
class Judged:
    """An exchange of a conversation and what speaks against it.

    Attributes:
        place: of the user's turn among the messages; the assistant's stands behind it.
        score: likeness to the project's topics over the median of all; small talk has 0.
        reason: in words; empty: it stays.
    """

    place: int
    score: float
    reason: str


def _buckets(found: set[str]) -> NDArray[np.int64]:
    digests = [hashlib.blake2b(word.encode(), digest_size=4).digest() for word in sorted(found)]
    return np.array([int.from_bytes(digest, "big") % _BUCKETS for digest in digests], dtype=np.int64)


def exchange_text(messages: Sequence[dict[str, Any]], place: int) -> str:
    """What both sides say in an exchange."""
    return f"{messages[place]['content']}\n{messages[place + 1]['content']}"


class Topics:
    """Document frequencies of the assistants' words, hashed (2 MiB), and how near exchanges are to them.

    An exchange is a vector of the inverse document frequencies of its content words; the topics are the same of all
    conversations but its own, weighted by how many hold each word; likeness is their cosine.
    """

    def __init__(self) -> None:
        self._frequencies: NDArray[np.int64] = np.zeros(_BUCKETS, dtype=np.int64)
        self._likenesses: list[float] = []
        self.conversations = 0

    def count(self, conversation: Conversation) -> None:
        """Count the assistant's words of a conversation, each once."""
        self.conversations += 1
        self._frequencies[np.unique(self._assistant(conversation))] += 1

    @staticmethod
    def _assistant(conversation: Conversation) -> NDArray[np.int64]:
        said = " ".join(str(turn["content"]) for turn in conversation.messages if turn["role"] == "assistant")
        return _buckets(content_words(said))

    def _likeness(self, conversation: Conversation, text: str) -> float | None:
        found = content_words(text)
        if len(found) < _LEAST_WORDS:
            return None
        buckets = np.unique(_buckets(found))
        others = self._frequencies[buckets] - np.isin(buckets, self._assistant(conversation))
        weights = np.log((self.conversations + 1) / (self._frequencies[buckets] + 1)) + 0.1
        # The topics' own length is the same for all and falls out of what is compared.
        return float((weights * weights * others).sum() / np.sqrt((weights * weights).sum()))

    def learn(self, conversation: Conversation) -> None:
        """Take the likenesses of a conversation's exchanges into the median; after all have been counted."""
        for place in range(0, len(conversation.messages), 2):
            near = self._likeness(conversation, exchange_text(conversation.messages, place))
            if near is not None:
                self._likenesses.append(near)

    def median(self) -> float:
        """Of all likenesses; 0 where there are too few conversations to tell."""
        if self.conversations < _LEAST_CONVERSATIONS or not self._likenesses:
            return 0.0
        return float(np.median(self._likenesses))

    def judge(self, conversation: Conversation, median: float) -> list[Judged]:
        """Every exchange of a conversation.

        Args:
            conversation: one of those counted.
            median: as `median` gives it; 0 judges small talk alone.
        """
        judged = []
        for place in range(0, len(conversation.messages), 2):
            text = exchange_text(conversation.messages, place)
            if is_small_talk(text):
                judged.append(Judged(place, 0.0, "greetings and thanks alone"))
                continue
            near = self._likeness(conversation, text)
            score = near / median if near is not None and median > 0 else math.nan
            off = score < _OFF
            reason = (
                f"hardly a word that other conversations' answers use: {score:.2f} of the usual likeness"
                if off
                else ""
            )
            judged.append(Judged(place, score, reason))
        return judged
