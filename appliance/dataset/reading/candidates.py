"""Several answers to one question, as sampling and rating leave them: which is the best, and which the worst. Pure.

A list of answers is no answer. What says which is better is a column beside it (`scores`, `ranks`, `best`) or a field
of each answer (`overall_score`, `rank`, `is_accepted`). Without either nothing is chosen: the first would be as good a
guess as the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.dataset.reading.columns import plain_name, words_of
from appliance.dataset.reading.material import Unfit

_TEXTS = (
    "response", "completion", "answer", "output", "reply", "generation", "generatedtext", "text", "content", "body",
    "value",
)  # fmt: skip
_SURE_TEXTS = _TEXTS[:7]  # that nothing but an answer is called
_SCORES = (
    "overallscore",
    "score",
    "rating",
    "reward",
    "pmscore",
    "grade",
    "vote",
    "upvote",
    "finegrainedscore",
)
_RANKS = ("rank",)  # each answer's own, the best has the least
_RANKINGS = ("ranking", "order")  # each answer's rank, or the answers' numbers from the best on
_BEST = (
    "best", "bestanswer", "bestresponse", "bestcompletion", "bestindex", "bestid", "chosen", "chosenindex", "preferred",
    "preference", "winner", "selected", "accepted", "acceptedanswer", "correctindex", "choice",
)  # fmt: skip
_FLAGS = (
    "best",
    "isbest",
    "selected",
    "isselected",
    "accepted",
    "isaccepted",
    "chosen",
    "ischosen",
    "preferred",
)
_SEVERAL = (*(f"{name}s" for name in _SURE_TEXTS), "replies", "candidates", "generations")
_REFERENCES = ("answerstart", "start", "startchar")  # of a text that holds the answer: all of them are right


@dataclass(frozen=True)
class Verdict:
    """What says which of several answers is the best.

    Attributes:
        told: the column, or the field of each answer, in words; empty: nothing does.
        first: the number of the first answer, where a number names the best: 0 or 1.
    """

    told: str = ""
    first: int = 0


@dataclass(frozen=True)
class Chosen:
    """Of a list of answers the best, and the worst; empty: not known which that is, or there is but one."""

    answer: str
    rejected: str = ""


def _text_of(one: Any) -> str | None:
    if isinstance(one, str):
        return one
    if not isinstance(one, Mapping):
        return None
    fields = {plain_name(str(key)): value for key, value in one.items()}
    return next((fields[name] for name in _TEXTS if isinstance(fields.get(name), str)), None)


def _is_candidate(one: Mapping[str, Any], several: bool) -> bool:
    """Whether an object is one of several answers, not a part of one answer that is JSON."""
    fields = {plain_name(str(key)) for key in one}
    rated = fields & {*_SCORES, *_RANKS, *_RANKINGS, *_FLAGS}
    return (several or bool(rated)) and _text_of(one) is not None and "role" not in fields


def answers_of(value: Any, column: str) -> list[str] | None:
    """The texts of a list of answers, all that it has; None: it is something else.

    References that a text holds (SQuAD's) are all right, so they are one answer: the first.
    """
    if not isinstance(value, list) or not value:
        return None
    if all(isinstance(one, str) for one in value):
        return list(value)
    if not all(isinstance(one, Mapping) for one in value):
        return None
    if not all(_is_candidate(one, column.casefold().endswith(_SEVERAL)) for one in value):
        return None
    texts = [str(_text_of(one)) for one in value]
    references = all({plain_name(str(key)) for key in one} & {*_REFERENCES} for one in value)
    return texts[:1] if references else texts


def _numbers(values: Sequence[Any]) -> list[float] | None:
    """Values as finite numbers; None: one isn't."""
    try:
        numbers = [float(value) for value in values if not isinstance(value, bool)]
    except (TypeError, ValueError, OverflowError):
        return None
    fine = len(numbers) == len(values) and all(abs(number) < float("inf") for number in numbers)
    return numbers if fine else None


def _by_score(scores: Sequence[float]) -> tuple[int, int] | None:
    """The best and the worst by what is the better the more; None: all are alike."""
    best, worst = max(scores), min(scores)
    return None if best == worst else (scores.index(best), scores.index(worst))


def _by_rank(ranks: Sequence[float]) -> tuple[int, int] | None:
    return _by_score([-rank for rank in ranks])


def _by_ranking(ranking: Sequence[float]) -> tuple[int, int | None] | None:
    """As ranks and as the answers' numbers from the best on, as far as both say the same."""
    ranks = _by_rank(ranking)
    first = min(ranking)
    if ranks is None or sorted(ranking) != [first + place for place in range(len(ranking))]:
        return ranks
    order = int(ranking[0] - first), int(ranking[-1] - first)
    if order[0] != ranks[0]:
        return None
    return ranks[0], ranks[1] if order[1] == ranks[1] else None


def _by_best(best: Any, texts: Sequence[str], first: int) -> tuple[int, int | None] | None:
    """By a number or the text of the best, or by a list of what holds of each."""
    if isinstance(best, list) and len(best) == len(texts) and all(isinstance(one, bool) for one in best):
        return (best.index(True), None) if sum(best) == 1 else None
    if isinstance(best, str) and best in texts:
        return texts.index(best), None
    numbers = _numbers([best])
    if numbers is None or not numbers[0].is_integer():
        return None
    place = int(numbers[0]) - first
    return (place, None) if 0 <= place < len(texts) else None


def _place_of_other(best: int, texts: Sequence[str]) -> int | None:
    """The one that isn't the best, where there are two."""
    return 1 - best if len(texts) == 2 else None


def _beside(record: Mapping[str, Any], column: str) -> list[tuple[str, str]]:
    """The columns that say which is best, with their kind; whole names before those that end so (`gpt4_scores`)."""
    kinds = (("scores", _SCORES), ("ranks", _RANKS), ("ranking", _RANKINGS), ("best", _BEST))
    found: list[tuple[int, str, str]] = []
    for key, value in record.items():
        if key == column:
            continue
        for kind, names in kinds:
            if kind != "best" and not isinstance(value, list):
                continue  # of the row, not of each answer
            if plain_name(key) in names:
                found.append((0, key, kind))
            elif kind != "best" and words_of(key)[-1:] and words_of(key)[-1] in names:
                found.append((1, key, kind))
    least = min((rank for rank, _, _ in found), default=0)
    return [(key, kind) for rank, key, kind in found if rank == least]


def _inside(value: Sequence[Any]) -> list[tuple[str, str]]:
    """The fields of each answer that say which is best, the surest alone."""
    kinds = (("scores", _SCORES), ("ranks", (*_RANKS, *_RANKINGS)), ("flags", _FLAGS))
    first = value[0] if isinstance(value[0], Mapping) else {}
    for kind, names in kinds:
        for name in names:
            for key in first:
                if plain_name(str(key)) == name and all(
                    isinstance(one, Mapping) and key in one for one in value
                ):
                    return [(str(key), kind)]
    return []


def _judge(kind: str, values: Any, texts: Sequence[str], first: int) -> tuple[int, int | None] | None:
    if kind == "best":
        return _by_best(values, texts, first)
    if kind == "flags":
        return (values.index(True), None) if [bool(one) for one in values].count(True) == 1 else None
    numbers = _numbers(values) if isinstance(values, list) and len(values) == len(texts) else None
    if numbers is None:
        return None
    return {"scores": _by_score, "ranks": _by_rank, "ranking": _by_ranking}[kind](numbers)


def find_verdict(records: Sequence[Mapping[str, Any]], column: str) -> Verdict | None:
    """What says which of the answers in `column` is the best, as some records show; None: no record has several."""
    several = [one for one in records if len(set(answers_of(one.get(column), column) or ())) > 1]
    if not several:
        return None
    inside = _inside(several[0][column])
    if inside:
        return Verdict(f"the `{inside[0][0]}` of each")
    beside = _beside(several[0], column)
    told = ", ".join(f"`{key}`" for key, _ in beside)
    return Verdict(told, _first_number(several, column, [key for key, kind in beside if kind == "best"]))


def _first_number(records: Sequence[Mapping[str, Any]], column: str, keys: Sequence[str]) -> int:
    """Whether the answers are numbered from 0 or from 1: no record names the 0th, but one the last but none."""
    named = [
        (numbers[0], len(record[column]))
        for record in records
        for key in keys
        if (numbers := _numbers([record.get(key)])) is not None
    ]
    return int(all(number > 0 for number, _ in named) and any(number == count for number, count in named))


def choose(record: Mapping[str, Any], column: str, verdict: Verdict | None) -> Chosen | None:
    """The best of a record's list of answers; None: it has none.

    Raises:
        Unfit: nothing says which is better, or what does says several things or nothing of these.
    """
    value: Any = record.get(column)
    texts = answers_of(value, column)
    if texts is None or not isinstance(value, list):
        return None
    if len(set(texts)) == 1:
        return Chosen(texts[0])
    first = verdict.first if verdict else 0
    columns = [(key, kind, [one[key] for one in value]) for key, kind in _inside(value)] or [
        (key, kind, record[key]) for key, kind in _beside(record, column)
    ]
    judged = [(key, _judge(kind, values, texts, first)) for key, kind, values in columns]
    places = {place[0] for _, place in judged if place is not None}
    told = ", ".join(f"`{key}`" for key, _ in judged)
    if len(places) != 1 or any(place is None for _, place in judged):
        what = f"{told} doesn't say which is the best" if told else "nothing says which is the best"
        raise Unfit(
            "unlabeled-pair",
            f"`{column}` holds {len(texts)} answers, and {what}: leave one of them, or add `scores`, a number each",
        )
    best = places.pop()
    worst = next((place[1] for _, place in judged if place is not None), None)
    if worst is None:
        worst = _place_of_other(best, texts)
    rejected = texts[worst] if worst is not None and texts[worst].strip() != texts[best].strip() else ""
    return Chosen(texts[best], rejected)
