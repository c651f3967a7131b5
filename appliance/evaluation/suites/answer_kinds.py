"""What a project's answers are: JSON, one of some labels, or free text; and by which scorer they are judged. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from appliance.evaluation.scoring.matching import normal

AnswerKind = Literal["json", "labels", "text"]
SCORER_OF: dict[AnswerKind, str] = {"json": "json_fields", "labels": "label", "text": "free_text"}
_LONGEST_LABEL = 8  # words
_MOST_LABELS = 1000
_ROWS_OF_A_LABEL = 4  # in the mean; answers that hardly ever come again are no labels


def kind_of(answers: Sequence[str], json: bool) -> AnswerKind:
    """What the answers are.

    Args:
        answers: of all rows, learnt and not.
        json: whether the project says that they are JSON.
    """
    if json:
        return "json"
    return "labels" if labels_of(answers) else "text"


def labels_of(answers: Sequence[str]) -> list[str]:
    """The labels, if the answers are labels: short ones, each of which comes again; else none."""
    distinct = {normal(answer): answer.strip() for answer in reversed(answers) if answer.strip()}
    few = 2 <= len(distinct) <= min(_MOST_LABELS, len(answers) // _ROWS_OF_A_LABEL)
    short = all(len(label.split()) <= _LONGEST_LABEL and "\n" not in label for label in distinct.values())
    return sorted(distinct.values()) if few and short and "" not in distinct else []


def values_of(kind: AnswerKind, answer: str, labels: Sequence[str]) -> dict[str, Any]:
    """The keys of a case that hold its right answer, as the kind's scorer knows them."""
    if kind != "labels":
        return {"reference": answer}
    spelt = {normal(label): label for label in labels}
    return {"label": spelt.get(normal(answer), answer.strip())}
