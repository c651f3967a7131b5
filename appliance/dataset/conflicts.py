"""The same prompt with another answer: found, told, and settled as the configuration says. Pure."""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Choice = Literal["keep", "drop", "majority"]


def digest(text: str) -> int:
    """A 64-bit number that is equal for equal texts."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def prompt_digest(messages: Sequence[Mapping[str, Any]]) -> int:
    """Equal for prompts that differ in case and spacing alone, the system prompt and earlier turns included."""
    turns = (
        f"{turn['role']}\0{' '.join((turn['content'] or '').casefold().split())}" for turn in messages[:-1]
    )
    return digest("\0".join(turns))


@dataclass(frozen=True)
class Conflict:
    """One prompt with several answers.

    Attributes:
        rows: numbers of the rows.
        kept: those that stay.
        near: the prompts are near to each other, not the same.
    """

    rows: tuple[int, ...]
    kept: tuple[int, ...]
    near: bool = False


def _settle(
    rows: Sequence[int], answers: NDArray[np.int64], repeats: NDArray[np.int64], choice: Choice
) -> list[int]:
    if choice == "keep":
        return list(rows)
    if choice == "drop":
        return []
    votes: Counter[int] = Counter()
    for row in rows:
        votes[int(answers[row])] += 1 + int(repeats[row])
    (best, most), (_, next_most) = votes.most_common(2)
    return [row for row in rows if answers[row] == best] if most > next_most else []


def _several(
    keys: NDArray[np.int64], answers: NDArray[np.int64], rows: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """The rows of each key under which there are different answers."""
    order = rows[np.argsort(keys[rows], kind="stable")]
    bounds = np.flatnonzero(np.concatenate([[True], keys[order][1:] != keys[order][:-1], [True]]))
    runs = (order[begin:end] for begin, end in itertools.pairwise(bounds) if end - begin > 1)
    return [run for run in runs if len(np.unique(answers[run])) > 1]


def find_conflicts(
    prompts: NDArray[np.int64],
    answers: NDArray[np.int64],
    rows: NDArray[np.int64],
    repeats: NDArray[np.int64],
    choice: Choice,
) -> list[Conflict]:
    """Every prompt with several answers among `rows`, and which rows stay.

    Args:
        prompts, answers: (all rows,) digests.
        rows: numbers of the rows that are looked at.
        repeats: (all rows,) how many equal conversations were dropped of each: they count for the majority.
        choice: `keep` all, `drop` all, or keep the answer of the `majority` (on a tie there is none: all go).
    """
    return [
        Conflict(tuple(run.tolist()), tuple(_settle(run.tolist(), answers, repeats, choice)))
        for run in _several(prompts, answers, rows)
    ]


def find_near_conflicts(
    clusters: NDArray[np.int64],
    prompts: NDArray[np.int64],
    answers: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> list[Conflict]:
    """Clusters of near prompts with several answers; told only, since a small difference may well ask for another."""
    return [
        Conflict(tuple(run.tolist()), tuple(run.tolist()), near=True)
        for run in _several(clusters, answers, rows)
        if len(np.unique(prompts[run])) > 1
    ]
