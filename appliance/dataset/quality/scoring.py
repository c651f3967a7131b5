"""A score for every row, from 0 (nothing speaks against it) to 1, with its reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.dataset.near import Frames, TextStore, find_frames
from appliance.dataset.near.normal import normalise
from appliance.dataset.near.views import SAMPLE, user_text
from appliance.dataset.placing import are_labels
from appliance.dataset.quality.labels import FOLDS, Doubt, doubt_labels
from appliance.dataset.quality.signals import Facts, Reason, Usual, facts_of, reasons_of
from appliance.dataset.rows import Row
from appliance.dataset.splitting import position

FILE_NAME = "quality.jsonl"
_BATCH = 512
_LEAST_REASON = 0.2
_SURE = 0.75  # the quantile of the own labels' probabilities that counts as no doubt

ReadAll = Callable[[], Iterator[Row]]


@dataclass(frozen=True)
class Score:
    """What speaks against one row.

    Attributes:
        id, source: of the row.
        score: 1 minus the product of what each reason leaves of 1.
        reasons: the heaviest first.
    """

    id: str
    source: str
    score: float
    reasons: tuple[Reason, ...]


def _joined(reasons: Sequence[Reason]) -> float:
    return 1 - math.prod(1 - penalty for _, penalty, _ in reasons)


def _label_reason(answer: str, own: float, sure: float, likelier: str) -> Reason | None:
    penalty = min(1.0, max(0.0, 1 - own / sure)) if sure else 0.0
    if penalty <= 0:
        return None
    if likelier == answer:
        return ("label", penalty, f"little in the prompt speaks for `{answer[:80]}`")
    return ("label", penalty, f"rows like it are `{likelier[:80]}`, not `{answer[:80]}`")


def _prompt(row: Row) -> str:
    return user_text(row.messages, symbols=True)


def score_rows(read: ReadAll, clusters: Mapping[str, int] | None = None) -> list[Score]:
    """Score every row of a set against the rest of it.

    Where answers are few distinct labels, a classifier that has not seen the row is asked for its label.

    Args:
        read: begins at the first row each time it is called, in the same order.
        clusters: id -> number, for rows that are near to others: they are judged together.

    Returns:
        a score a row, in their order.
    """
    sample = [_prompt(row) for row, _ in zip(read(), range(SAMPLE), strict=False)]
    frames = find_frames(sample)
    usual, facts = Usual(), list[Facts]()
    answers: Counter[str] = Counter()
    longest = 0
    with TextStore() as store:
        folds: list[int] = []
        pending: list[str] = []
        for row in read():
            text = frames.strip(_prompt(row))
            store.add(text)
            pending.append(text)
            facts.append(facts_of(text, row.answer))
            answers[row.answer] += 1
            longest = max(longest, len(row.answer))
            key = str((clusters or {}).get(row.id, row.group))
            folds.append(int(position(f"fold {key}") * FOLDS))
            if len(pending) == _BATCH:
                usual.count_windows(pending)
                pending.clear()
        usual.count_windows(pending)
        labelled = are_labels(len(answers), answers.total(), longest)
        usual.learn(facts, labelled)
        names = sorted(answers)
        doubt = _doubt(read, store, names, np.array(folds, dtype=np.int64)) if labelled else None
    return list(_scores(read, frames, facts, usual, names, doubt))


def _doubt(read: ReadAll, store: TextStore, names: Sequence[str], folds: NDArray[np.int64]) -> Doubt:
    number = {name: place for place, name in enumerate(names)}
    return doubt_labels(store, np.array([number[row.answer] for row in read()], dtype=np.int64), folds)


def _scores(
    read: ReadAll,
    frames: Frames,
    facts: Sequence[Facts],
    usual: Usual,
    names: Sequence[str],
    doubt: Doubt | None,
) -> Iterator[Score]:
    sure = float(np.quantile(doubt.own, _SURE)) if doubt is not None else 0.0
    for place, (row, known) in enumerate(zip(read(), facts, strict=True)):
        prompt = frames.strip(_prompt(row))
        reasons = reasons_of(prompt, normalise(row.answer, symbols=True), known, usual)
        if doubt is not None:
            likelier = names[int(doubt.likelier[place])]
            reason = _label_reason(row.answer, float(doubt.own[place]), sure, likelier)
            reasons += [reason] if reason else []
        reasons.sort(key=lambda each: (-each[1], each[0]))
        yield Score(row.id, row.source, _joined(reasons), tuple(reasons))


def worst(scores: Sequence[Score], share: float) -> set[str]:
    """The ids of the worst `share` of the rows, rounded down; on a tie those with the smaller ids."""
    order = sorted(scores, key=lambda each: (-each.score, each.id))
    return {each.id for each in order[: int(share * len(order))]}


def write_scores(folder: Path, scores: Sequence[Score], dropped: set[str]) -> None:
    """Write quality.jsonl, the worst first; small reasons are left out of it."""
    with storage.atomic_writer(folder / FILE_NAME) as stream:
        for each in sorted(scores, key=lambda each: (-each.score, each.id)):
            line = {
                "id": each.id,
                "source": each.source,
                "score": round(each.score, 4),
                "dropped": each.id in dropped,
                "reasons": [
                    {"signal": name, "penalty": round(penalty, 3), "text": text}
                    for name, penalty, text in each.reasons
                    if penalty >= _LEAST_REASON
                ],
            }
            stream.write(storage.json_line(line))
