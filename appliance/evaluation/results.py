"""From answers to numbers: scores a system, comparisons, fields and confusions. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance.dataset import Row
from appliance.errors import EvaluationError
from appliance.evaluation.answers import Answer
from appliance.evaluation.certainty import Comparison
from appliance.evaluation.scorers import (
    Fault,
    RowScore,
    Scorer,
    compare_fields,
    parse,
    score_exact,
    score_json,
)
from appliance.evaluation.systems import System
from appliance.intervals import wilson

FORMAT = 1


@dataclass(frozen=True)
class Share:
    """`hits` of `total`, and Wilson's 95 % interval."""

    hits: int
    total: int
    share: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, total: int) -> Share:
        """The share with its interval."""
        low, high = wilson(hits, total)
        return cls(hits, total, hits / total if total else 0.0, low, high)


@dataclass(frozen=True)
class FieldScore:
    """How often one field was right, over all rows of the shipped file."""

    field: str
    hits: int
    total: int


@dataclass(frozen=True)
class Confusion:
    """What was given instead of what was expected, and how often."""

    field: str
    expected: str
    given: str
    count: int


@dataclass(frozen=True)
class SystemScore:
    """One line of the score table.

    Attributes:
        key, title: which system.
        file: name, sha256, bytes and bits_per_weight of the model file.
        exact, parses, valid, ended: shares of rows; `parses` (JSON) and `valid` (JSON that satisfies the schema)
            are None for the scorer "exact".
        precision, recall, f1: of fields, micro-averaged; None for the scorer "exact".
        mean_tokens: of an answer.
    """

    key: str
    title: str
    file: dict[str, Any]
    rows: int
    exact: Share
    parses: Share | None
    valid: Share | None
    ended: Share
    precision: float | None
    recall: float | None
    f1: float | None
    mean_tokens: float


@dataclass(frozen=True)
class EvaluationResult:
    """All that was measured; stored as build/evaluation/results.json, equal for equal answers.

    Attributes:
        project, version: of the configuration.
        dataset: digest of the dataset's content.
        rows: test rows scored.
        scorer: "json" or "exact".
        systems: scores, the shipped file's last.
        comparisons: the shipped file against each other system.
        fields, confusions: of the shipped file; empty for the scorer "exact".
        shipped: key of the shipped file's system.
        held_to: JSON Schema, as a text, that every answer but the plainly asked base's was held to; empty for none.
    """

    project: str
    version: str
    dataset: str
    rows: int
    scorer: Scorer
    systems: list[SystemScore]
    comparisons: list[Comparison]
    fields: list[FieldScore]
    confusions: list[Confusion]
    shipped: str
    held_to: str = ""
    format: int = field(default=FORMAT)

    def to_json(self) -> dict[str, Any]:
        """The results as a JSON value."""
        return asdict(self)

    def system(self, key: str) -> SystemScore | None:
        """The score of one system, if it was measured."""
        return next((score for score in self.systems if score.key == key), None)


def expected_values(rows: Sequence[Row], scorer: Scorer) -> list[Any]:
    """What each row's answer should be: a JSON value, or text.

    Raises:
        EvaluationError: the scorer is "json" and an expected answer isn't.
    """
    if scorer == "exact":
        return [row.answer for row in rows]
    values = []
    for row in rows:
        try:
            values.append(parse(row.answer))
        except ValueError as error:
            raise EvaluationError(
                f"{row.source}: the expected answer is no JSON: {error}",
                'set evaluation.scorer = "exact" if answers are plain text, or mend the row',
            ) from error
    return values


def score_answers(
    expected: Sequence[Any], answers: Sequence[Answer], scorer: Scorer, fault: Fault | None
) -> list[RowScore]:
    """Score the answers of one system, in the order of the rows."""
    pairs = zip(expected, answers, strict=True)
    if scorer == "exact":
        return [score_exact(wanted, answer.text) for wanted, answer in pairs]
    return [score_json(wanted, answer.text, fault) for wanted, answer in pairs]


def summarise(
    system: System, scores: Sequence[RowScore], answers: Sequence[Answer], scorer: Scorer
) -> SystemScore:
    """One line of the score table."""
    rows = len(scores)
    hits, wanted, given = (
        sum(score.hits for score in scores),
        sum(score.expected for score in scores),
        sum(score.given for score in scores),
    )
    as_json = scorer == "json"
    file = system.file
    return SystemScore(
        key=system.key,
        title=system.title,
        file={
            "name": file.name,
            "sha256": file.sha256,
            "bytes": file.bytes,
            "bits_per_weight": file.bits_per_weight,
        },
        rows=rows,
        exact=Share.of(sum(score.exact for score in scores), rows),
        parses=Share.of(sum(bool(score.parses) for score in scores), rows) if as_json else None,
        valid=Share.of(sum(bool(score.valid) for score in scores), rows) if as_json else None,
        ended=Share.of(sum(answer.complete for answer in answers), rows),
        precision=hits / given if as_json and given else 0.0 if as_json else None,
        recall=hits / wanted if as_json and wanted else 0.0 if as_json else None,
        f1=2 * hits / (wanted + given) if as_json and wanted + given else 0.0 if as_json else None,
        mean_tokens=sum(answer.completion_tokens for answer in answers) / rows,
    )


def field_scores(
    expected: Sequence[Any], answers: Sequence[Answer], most: int = 24
) -> tuple[list[FieldScore], list[Confusion]]:
    """Accuracy by field, in the order in which fields first occur, and the most frequent confusions."""
    hits: Counter[str] = Counter()
    total: Counter[str] = Counter()
    confused: Counter[tuple[str, str, str]] = Counter()
    for wanted, answer in zip(expected, answers, strict=True):
        for name, right, given in compare_fields(wanted, answer.text):
            total[name] += 1
            hits[name] += right == given
            if right != given:
                confused[name, right, given] += 1
    fields = [FieldScore(name, hits[name], count) for name, count in total.items()]
    ordered = sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:most]
    return fields, [Confusion(*names, count) for names, count in ordered]
