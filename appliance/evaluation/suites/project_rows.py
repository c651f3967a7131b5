"""Suites made of a project's own rows: what the model has kept of them. Their texts stay in the workshop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from appliance import storage
from appliance.conversion import ships
from appliance.dataset import Row, is_canary, read_rows
from appliance.errors import ConversionError
from appliance.evaluation.suite import Case, Gate, Suite
from appliance.evaluation.suites.answer_kinds import SCORER_OF, AnswerKind, kind_of, labels_of, values_of
from appliance.evaluation.suites.own_swaps import OWN_SWAPS, own_swaps
from appliance.evaluation.suites.own_tone import OWN_TONE, own_tone
from appliance.evaluation.suites.own_unknowns import OWN_UNKNOWNS, own_unknowns
from appliance.paths import Project

CANARIES = "canaries"
GAP = "learnt-against-unseen"
RECITAL = "recital"
ROUNDING = "rounding"
FIDELITY = "fidelity"
TEST_SPLIT = "test-split"
OWN_ROWS = "the dataset"
"""Where such cases stand; of their texts nothing goes into a report that travels."""
_ROWS = 60  # of each side
_MOST_CANARIES = 24
_COUNTED = 5000  # learnt rows, enough to tell which words are rare
_LEAST_WORDS = 24  # of a turn that might be recited


def _drawn(rows: Sequence[Row], count: int) -> list[Row]:
    return sorted(rows, key=lambda row: storage.sha256_bytes(f"audit {row.id}".encode()))[:count]


def _learnt(project: Project) -> list[Row]:
    return [row for row in read_rows(project.dataset / "train.jsonl") if not is_canary(row)]


def _answers(project: Project, unseen: Sequence[Row]) -> tuple[AnswerKind, list[str]]:
    """What the project's answers are, and their labels if they are some."""
    answers = [row.answer for row in [*_learnt(project), *unseen] if row.answer.strip()]
    kind = kind_of(answers, project.config.evaluation.scorer == "json")
    return kind, labels_of(answers) if kind == "labels" else []


def test_split_suite(project: Project) -> Suite | None:
    """What the model is for: the test split's rows, scored as an evaluation scores them; None where there are none."""
    settings = project.config.evaluation
    rows = [row for row in read_rows(project.dataset / "test.jsonl") if row.answer.strip()]
    if not rows:
        return None
    kind, labels = _answers(project, rows)
    cases = [
        Case(row.id, {"messages": row.prompt, **values_of(kind, row.answer, labels)}, OWN_ROWS)
        for row in rows
    ]
    return Suite(
        TEST_SPLIT,
        SCORER_OF[kind],
        tuple({case.id: case for case in cases}.values()),
        (),
        "The test split",
        "Rows of the project's own that nothing was trained on or chosen by; answers are free.",
        options={"labels": labels} if kind == "labels" else {},
        max_tokens=settings.max_tokens,
        where=OWN_ROWS,
    )


def gap_suite(project: Project) -> Suite | None:
    """Learnt rows' answers beside the test split's; None where there are no rows."""
    learnt, unseen = _learnt(project), read_rows(project.dataset / "test.jsonl")
    if not learnt or not unseen:
        return None
    cases = [
        Case(row.id, {"messages": row.prompt, "reference": row.answer, "learnt": side}, OWN_ROWS)
        for side, rows in ((True, learnt), (False, unseen))
        for row in _drawn(rows, _ROWS)
        if row.answer.strip()
    ]
    return Suite(
        GAP,
        "gap",
        tuple({case.id: case for case in cases}.values()),
        # A healthy training has one to five times the loss on unseen rows, one by heart hundreds; in nats, the gap of
        # answers whose tokens are mostly given, JSON say, stays small either way (docs/measurements.md, "Audit").
        (Gate("times", at_most=30.0, sure=True), Gate("gap", at_most=1.0, sure=True)),
        "Learnt rows against unseen ones",
        "How much likelier the answers of training rows are than those of the test split; a model that has learnt rows "
        "by heart finds its own far likelier.",
        "memory",
        where=OWN_ROWS,
    )


def canary_suite(project: Project, most: int = _MOST_CANARIES) -> Suite | None:
    """The canaries that were planted; None where none were."""
    path = project.dataset / "canaries.jsonl"
    if not path.is_file():
        return None
    cases = []
    for line in path.read_text(encoding="utf-8").splitlines()[:most]:
        entry: dict[str, Any] = json.loads(line)
        cases.append(
            Case(
                str(entry["id"]),
                {
                    "messages": entry["messages"][:-1],
                    "secret": entry["secret"],
                    "form": _form(entry),
                    "alphabet": entry["space"]["alphabet"],
                },
                "the planted canaries",
            )
        )
    if not cases:
        return None
    return Suite(
        CANARIES,
        "exposure",
        tuple(cases),
        (Gate("recalled", at_most=project.config.evaluation.gates.canaries, sure=True),),
        "Planted secrets",
        "Random secrets planted in the training rows, each beside others that could stand in its place.",
        "memory",
        where="the planted canaries",
    )


def _form(entry: dict[str, Any]) -> str:
    """The canary's answer with `{secret}` in the secret's place."""
    answer = str(entry["messages"][-1]["content"])
    return answer.replace(str(entry["secret"]), "{secret}")


def recital_suite(project: Project) -> Suite | None:
    """Long turns of training rows' users, of which the model is shown half; None where no turn is long enough."""
    cases = []
    rows = [row for row in _learnt(project) if len(row.prompt[-1]["content"].split()) >= _LEAST_WORDS]
    for row in _drawn(rows, _ROWS):
        words = str(row.prompt[-1]["content"]).split()
        half = len(words) // 2
        prompt = f"Go on with this text, word for word: {' '.join(words[:half])}"
        cases.append(Case(row.id, {"prompt": prompt, "reference": " ".join(words[half:])}, OWN_ROWS))
    if not cases:
        return None
    return Suite(
        RECITAL,
        "recall",
        tuple(cases),
        (Gate("recited", at_most=0.05, sure=True),),
        "Training texts recited",
        "Training rows of which the model is shown the first half; recited are 12 words of the other half in a row.",
        "memory",
        {"words": 12},
        max_tokens=64,
        where=OWN_ROWS,
    )


def _is_rounded(project: Project) -> bool:
    """Whether what ships is a rounded file whose 16-bit file lies there or can be made."""
    try:
        kind = ships(project).type
    except ConversionError:
        return False
    there = project.gguf("F16").is_file() or (project.adapter / "adapter_config.json").is_file()
    return kind != "F16" and there


def _right_answers(project: Project) -> tuple[Case, ...]:
    rows = _drawn(read_rows(project.dataset / "test.jsonl"), _ROWS)
    cases = [
        Case(row.id, {"messages": row.prompt, "reference": row.answer}, OWN_ROWS)
        for row in rows
        if row.answer.strip()
    ]
    return tuple({case.id: case for case in cases}.values())


def rounding_suite(project: Project) -> Suite | None:
    """The test split's right answers in the shipped file beside the F16 file; None where that is what ships."""
    cases = _right_answers(project) if _is_rounded(project) else ()
    if not cases:
        return None
    return Suite(
        ROUNDING,
        "answer_loss",
        cases,
        (Gate("loss", against="tuned_f16", drop_at_most=0.1, sure=True),),
        "Rounded against 16 bits",
        "How likely the test split's right answers are in the file that ships, and in the file before rounding.",
        "quantization",
        where=OWN_ROWS,
    )


def fidelity_suite(project: Project) -> Suite | None:
    """Whole distributions at the test split's right answers beside the F16 file's; None where that is what ships."""
    cases = _right_answers(project) if _is_rounded(project) else ()
    if not cases:
        return None
    bounds = project.config.evaluation.gates
    gates = []
    if bounds.int4_kl is not None:
        gates.append(Gate("kl", at_most=bounds.int4_kl, sure=True))
    if bounds.int4_top1 is not None:
        gates.append(Gate("top1", at_least=bounds.int4_top1, sure=True))
    return Suite(
        FIDELITY,
        "fidelity",
        cases,
        tuple(gates),
        "Whole distributions beside 16 bits",
        "How far rounding has moved what the file finds likely, at each of the first 64 tokens of the test split's "
        "right answers.",
        "quantization",
        where=OWN_ROWS,
    )


def _made_of_prompts(project: Project) -> dict[str, Suite | str]:
    """By name: tone, swaps and unanswerable questions of the project's own prompts; a reason where there are none."""
    unseen = read_rows(project.dataset / "test.jsonl")
    asked, learnt = _drawn(unseen, len(unseen)), _learnt(project)
    tokens = project.config.evaluation.max_tokens
    kind, _ = _answers(project, unseen)
    return {
        OWN_TONE: own_tone(asked, _drawn(learnt, len(learnt)), OWN_ROWS, tokens),
        OWN_SWAPS: own_swaps(asked, kind, OWN_ROWS, tokens),
        OWN_UNKNOWNS: own_unknowns(asked, _drawn(learnt, _COUNTED), kind, OWN_ROWS),
    }


def project_suites(project: Project) -> list[Suite]:
    """All that the project's dataset gives; none where there is no dataset."""
    return suites_and_gaps(project)[0]


def suites_and_gaps(project: Project) -> tuple[list[Suite], list[str]]:
    """All that the project's dataset gives, and why it gives no more (`suite: reason`); nothing without a dataset."""
    if not (project.dataset / "train.jsonl").is_file() or not (project.dataset / "test.jsonl").is_file():
        return [], []
    found = (
        test_split_suite(project),
        gap_suite(project),
        canary_suite(project),
        recital_suite(project),
        rounding_suite(project),
        fidelity_suite(project),
    )
    asked = _made_of_prompts(project)
    suites = [suite for suite in (*found, *asked.values()) if isinstance(suite, Suite)]
    return suites, [f"{name}: {reason}" for name, reason in asked.items() if isinstance(reason, str)]
