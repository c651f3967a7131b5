"""What is found: spans of text, each of a kind, with a score and a reason; and which of two that overlap stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import get_args

from appliance.config import Kind, RedactSection

KINDS: tuple[str, ...] = get_args(Kind)
DEFAULT_KINDS = tuple(RedactSection().kinds)
_CONTAINER_SCORE = 0.45


@dataclass(frozen=True, order=True)
class Span:
    """A piece of text that is somebody's.

    Attributes:
        start, end: characters of the text, half open.
        kind: one of `KINDS`.
        score: how sure, from 0 to 1.
        why: what told it, in a few words.
    """

    start: int
    end: int
    kind: str
    score: float
    why: str

    def __len__(self) -> int:
        return self.end - self.start

    def overlaps(self, other: Span) -> bool:
        """Whether the two share a character."""
        return self.start < other.end and other.start < self.end

    def contains(self, other: Span) -> bool:
        """Whether `other` lies within this one, and is shorter."""
        return self.start <= other.start and other.end <= self.end and len(self) > len(other)


def _uncovered(span: Span, taken: list[Span]) -> Iterator[tuple[int, int]]:
    start = span.start
    for other in sorted(taken):
        if other.start > start:
            yield start, min(other.start, span.end)
        start = max(start, other.end)
    if start < span.end:
        yield start, span.end


def resolve(spans: Iterable[Span], text: str) -> list[Span]:
    """Spans that don't overlap and cover what the given ones cover, in the order of the text.

    A span around others takes their place where it is sure enough itself; else the surer one stays, and what it
    leaves of the other stays too, so that no character is lost by an overlap.
    """
    chosen: list[Span] = []
    cluster: list[Span] = []  # spans that hang together; none of another cluster touches them
    end = -1
    for span in sorted(set(spans)):
        if span.start >= end:
            chosen += _resolve_cluster(cluster, text)
            cluster = []
        cluster.append(span)
        end = max(end, span.end)
    return chosen + _resolve_cluster(cluster, text)


def _resolve_cluster(spans: list[Span], text: str) -> list[Span]:
    waiting = sorted(spans, key=lambda span: (-len(span), -span.score, span.start, span.kind))
    outer: list[Span] = []
    for span in waiting:
        around = [other for other in outer if other.contains(span) and other.score >= _CONTAINER_SCORE]
        if not around:
            outer.append(span)
    chosen: list[Span] = []
    for span in sorted(outer, key=lambda span: (-span.score, -len(span), span.start, span.kind)):
        taken = [other for other in chosen if other.overlaps(span)]
        if not taken:
            chosen.append(span)
            continue
        for start, end in _uncovered(span, taken):
            piece = text[start:end]
            start += len(piece) - len(piece.lstrip(" \t\n,.;:-"))
            end -= len(piece) - len(piece.rstrip(" \t\n,.;:-"))
            if sum(character.isalnum() for character in text[start:end]) > 1:
                chosen.append(replace(span, start=start, end=end))
    return sorted(chosen)
