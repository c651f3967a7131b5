"""What a project's answers are taken for, and the whole confusion matrix of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from appliance.evaluation.auditing.confusion_table import confusion_table
from appliance.evaluation.auditing.results import suite_result
from appliance.evaluation.auditing.running import Outcome
from appliance.evaluation.scoring import SCORERS, AnswerScorer, Said
from appliance.evaluation.suite import Case, Suite
from appliance.evaluation.suites.answer_kinds import kind_of, labels_of
from appliance.evaluation.suites.project_rows import test_split_suite as split_suite
from appliance.paths import Project

LABELS = ("card_lost", "pin_blocked", "top_up")


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (LABELS * 4, "labels"),
        (LABELS * 3, "text"),  # each comes three times: too seldom
        (("yes",) * 40, "text"),  # one alone is no choice
        (tuple(f"Oil pump {number} and look at it again." for number in range(40)), "text"),
        (("a sentence of nine words is no label at all",  "x") * 20, "text"),
        (("Yes.", "yes", "No", "no") * 3, "labels"),
    ],
)  # fmt: skip
def test_few_short_answers_that_come_again_are_labels(answers: tuple[str, ...], kind: str) -> None:
    assert kind_of(answers, json=False) == kind
    assert kind_of(answers, json=True) == "json"


def test_a_label_has_one_spelling() -> None:
    assert labels_of(("Yes.", "yes", "No", "no") * 3) == ["No", "Yes."]


def _project(folder: Path, answers: list[str]) -> Project:
    (folder / "anchorhold.toml").write_text('[project]\nname = "p"\n\n[evaluation]\nscorer = "exact"\n')
    project = Project.open(folder)
    project.dataset.mkdir(parents=True)
    lines = [
        json.dumps(
            {
                "id": f"{number:016x}",
                "group": "g",
                "messages": [
                    {"role": "user", "content": f"note {number}"},
                    {"role": "assistant", "content": answer},
                ],
                "source": "f:1",
            }
        )
        + "\n"
        for number, answer in enumerate(answers)
    ]
    (project.dataset / "train.jsonl").write_text("".join(lines[20:]))
    (project.dataset / "test.jsonl").write_text("".join(lines[:20]))
    return project


def test_the_test_split_is_scored_by_what_its_answers_are(tmp_path: Path) -> None:
    project = _project(tmp_path, [LABELS[number % 3] for number in range(60)])
    suite = split_suite(project)
    assert suite is not None and suite.scorer == "label" and suite.options == {"labels": list(LABELS)}
    assert suite.cases[0].values["label"] in LABELS and "reference" not in suite.cases[0].values
    text = "".join(
        json.dumps({"id": f"{n:016x}", "group": "g", "source": "f:1", "messages": [
            {"role": "user", "content": "x"}, {"role": "assistant", "content": f"Look at pump {n} once more."},
        ]}) + "\n"
        for n in range(20)
    )  # fmt: skip
    (project.dataset / "test.jsonl").write_text(text)
    (project.dataset / "train.jsonl").write_text(text)
    free = split_suite(project)
    assert free is not None and free.scorer == "free_text" and "reference" in free.cases[0].values


def _outcome(labels: int) -> tuple[Suite, Outcome]:
    names = [f"label_{number:02}" for number in range(labels)]
    cases = tuple(Case(f"{name}-{n}", {"prompt": "x", "label": name}, "") for name in names for n in range(2))
    suite = Suite("s", "label", cases, options={"labels": names})
    scorer, outcome = SCORERS["label"], Outcome(suite)
    assert isinstance(scorer, AnswerScorer)
    for number, case in enumerate(cases):  # of each label one right and one as the label after it
        wrong = names[(number // 2 + 1) % labels]
        said = Said(case.text("label") if number % 2 == 0 else wrong)
        outcome.scores[case.id] = scorer.score(case, suite, [said])
    return suite, outcome


@pytest.mark.parametrize("labels", [3, 40, 41])
def test_the_whole_matrix_is_kept_and_shown_as_far_as_people_can_read_it(labels: int) -> None:
    suite, outcome = _outcome(labels)
    found = suite_result(suite, "shipped", {"shipped": outcome}, []).confusions
    assert len(found) == 2 * labels and sum(count for _, _, count in found) == 2 * labels
    assert ("label_00", "label_00", 1) in found and ("label_00", "label_01", 1) in found
    page = confusion_table(found)
    assert ("Confusion matrix" in page) is (labels <= 40)
    assert ("41 labels: the whole matrix stands in audit.json" in page) is (labels == 41)
    assert page.count("<tr>") == (1 + labels if labels <= 40 else 0) + 1 + min(24, labels)
    assert confusion_table([]) == "" and "&lt;b&gt;" in confusion_table([("<b>", "<b>", 2)])
