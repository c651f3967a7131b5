"""From outcomes to what an audit says: figures by system, by category, comparisons, confusions, examples. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from appliance import storage
from appliance.evaluation.auditing.running import Outcome
from appliance.evaluation.resampling import Difference, Figure, difference, figure
from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Case, Fault, Suite
from appliance.evaluation.suites.project_rows import OWN_ROWS
from appliance.evaluation.suites.reading import digest_of

_EXAMPLES = 6  # of a suite
_LONGEST = 600  # characters of a text in an example
_MOST_CATEGORIES = 24
PRIVATE = "memory"
"""A kind of suite whose cases are the project's own rows: nothing of their texts goes into a report that travels."""


@dataclass(frozen=True)
class SuiteResult:
    """One suite of an audit, as audit.json has it.

    Attributes:
        name, title, about, kind, scorer, licence: of the suite.
        digest: of what it asks and how it is scored.
        cases: asked and scored, on the shipped file.
        of: cases before a sample was drawn; 0: all were asked.
        figures: by system's key.
        categories: figures of the first metric by category, of the shipped file.
        differences: the shipped file against other systems.
        confusions: (expected, given, count): the whole matrix, right ones among them, but for its noughts.
        faults: what couldn't be read, asked or scored.
        examples: cases that aren't as they should be.
        gates: verdicts.
    """

    name: str
    title: str
    about: str
    kind: str
    scorer: str
    licence: str
    digest: str
    cases: int
    of: int
    figures: dict[str, list[Figure]]
    categories: dict[str, Figure] = field(default_factory=dict)
    differences: list[Difference] = field(default_factory=list)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    examples: list[dict[str, str]] = field(default_factory=list)
    gates: list[dict[str, Any]] = field(default_factory=list)

    def figure(self, system: str, metric: str) -> Figure | None:
        """A figure of one system, if it was measured."""
        return next((entry for entry in self.figures.get(system, []) if entry.metric == metric), None)


def _figures(outcome: Outcome) -> list[Figure]:
    scores = list(outcome.scores.values())
    found = [figure(metric, scores) for metric in SCORERS[outcome.suite.scorer].metrics]
    return [entry for entry in found if entry is not None]


def _categories(outcome: Outcome) -> dict[str, Figure]:
    metric = SCORERS[outcome.suite.scorer].metrics[0]
    groups: dict[str, list[Any]] = {}
    for case in outcome.suite.cases:
        name = case.text("category")
        if name and case.id in outcome.scores:
            groups.setdefault(name, []).append(outcome.scores[case.id])
    if len(groups) < 2:
        return {}
    found = {name: figure(metric, scores) for name, scores in sorted(groups.items())[:_MOST_CATEGORIES]}
    return {name: entry for name, entry in found.items() if entry is not None}


def _asked(case: Case) -> str:
    messages = case.values.get("messages")
    if messages:
        return "\n".join(f"{turn['role']}: {turn['content']}" for turn in messages)
    for key in ("prompt", "stereotype", "text"):
        if case.text(key):
            return case.text(key)
    return " | ".join(case.texts("choices"))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _examples(outcome: Outcome) -> list[dict[str, str]]:
    if outcome.suite.kind == PRIVATE or outcome.suite.where == OWN_ROWS:
        return []
    wrong = [
        case
        for case in outcome.suite.cases
        if case.id in outcome.scores and outcome.scores[case.id].ok is False
    ]
    wrong.sort(key=lambda case: storage.sha256_bytes(case.id.encode()))
    return [
        {
            "id": case.id,
            "where": case.where,
            "asked": _short(_asked(case)),
            "expected": _short(outcome.scores[case.id].expected),
            "given": _short(outcome.scores[case.id].given),
            "note": _short(outcome.scores[case.id].note),
        }
        for case in wrong[:_EXAMPLES]
    ]


def _confusions(outcome: Outcome) -> list[tuple[str, str, int]]:
    pairs = Counter(score.pair for score in outcome.scores.values() if score.pair)
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [(*pair, count) for pair, count in ordered]


def differences(ours: Outcome, theirs: Outcome, against: str) -> list[Difference]:
    """Every metric of the shipped file against another system's, on the cases that both have."""
    common = [number for number in ours.scores if number in theirs.scores]
    mine, other = [ours.scores[number] for number in common], [theirs.scores[number] for number in common]
    found = [difference(metric, mine, other, against) for metric in SCORERS[ours.suite.scorer].metrics]
    return [entry for entry in found if entry is not None]


def suite_result(
    suite: Suite, shipped: str, outcomes: Mapping[str, Outcome], faults: Sequence[Fault]
) -> SuiteResult:
    """What one suite came to.

    Args:
        suite: which.
        shipped: key of the shipped file's system.
        outcomes: by system's key.
        faults: of its file.
    """
    ours = outcomes[shipped]
    where = sorted({str(fault) for fault in [*faults, *ours.faults]})
    return SuiteResult(
        name=suite.name,
        title=suite.title or suite.name,
        about=suite.about,
        kind=suite.kind,
        scorer=suite.scorer,
        licence=suite.licence,
        digest=digest_of(suite),
        cases=len(ours.scores),
        of=suite.of,
        figures={key: _figures(outcome) for key, outcome in outcomes.items()},
        categories=_categories(ours),
        differences=[
            entry
            for key, outcome in outcomes.items()
            if key != shipped
            for entry in differences(ours, outcome, key)
        ],
        confusions=_confusions(ours),
        faults=where,
        examples=_examples(ours),
    )


def to_json(result: SuiteResult) -> dict[str, Any]:
    """A suite's result as a JSON value."""
    return asdict(result)
