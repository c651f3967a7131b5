"""Answers that are JSON, scored field by field; and answers that are one of a few labels."""

from __future__ import annotations

import json
from collections.abc import Sequence

from appliance.dataset.nearest import meant
from appliance.evaluation.scorers import canonical, parse, score_json
from appliance.evaluation.scoring.matching import normal
from appliance.evaluation.scoring.scorer import (
    ASKED,
    AnswerScorer,
    CaseScore,
    Key,
    Metric,
    Said,
    Values,
    blank,
    listed,
)
from appliance.evaluation.suite import Case, Suite

OTHER = "(none of the labels)"


def _json(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    reference = case.values["reference"]
    expected = parse(reference) if isinstance(reference, str) else reference
    score = score_json(expected, said[0].text)
    return CaseScore(
        {
            "exact": float(score.exact),
            "parses": float(bool(score.parses)),
            "twice_hits": 2.0 * score.hits,
            "fields": float(score.expected + score.given),
        },
        score.exact,
        said[0].text,
        json.dumps(expected, ensure_ascii=False),
        score.fault,
    )


def _json_faults(values: Values, _options: Values) -> list[str]:
    if isinstance(values["reference"], str):
        try:
            canonical(parse(values["reference"]))
        except (ValueError, RecursionError) as error:
            return [
                f"`reference` is a text that is no JSON ({error}); a JSON text stands in quotes of its own"
            ]
    return []


JSON_FIELDS = AnswerScorer(
    "json_fields",
    "the answer is JSON; its fields are compared with the reference's",
    {**ASKED, "reference": Key("json", True, "the right JSON value, or its text")},
    (
        Metric("f1", "F1 of the fields, over all cases together", sums=("twice_hits", "fields")),
        Metric("exact", "answers that equal the reference as JSON"),
        Metric("parses", "answers that are JSON"),
    ),
    score=_json,
    check=_json_faults,
)


def _label(case: Case, suite: Suite, said: Sequence[Said]) -> CaseScore:
    labels = listed(suite.options.get("labels"))
    given = normal(said[0].text)
    known = {normal(label): label for label in [*labels, case.text("label")]}
    found = known.get(given, OTHER)
    ok = found == case.text("label")
    return CaseScore(
        {"accuracy": float(ok)}, ok, said[0].text, case.text("label"), "", (case.text("label"), found)
    )


def _label_faults(values: Values, options: Values) -> list[str]:
    wrong = blank(values, "label", normal=normal)
    labels = listed(options.get("labels"))
    if not wrong and labels and values["label"] not in labels:
        near = meant(values["label"], labels)
        wrong = [f"`label` {values['label'][:60]!r} is none of the suite's `labels`{near}"]
    return wrong


def _labels_faults(options: Values) -> list[tuple[str, str]]:
    labels = list(dict.fromkeys(listed(options.get("labels"))))
    texts = blank({"labels": labels}, "labels", normal=normal)
    first: dict[str, str] = {}
    for label in labels:
        if first.setdefault(normal(label), label) != label:
            alike = f"{first[normal(label)]!r} and {label!r}"
            texts.append(f"`labels` {alike} are one, since case and punctuation are free")
    return [("labels", text) for text in texts]


LABEL = AnswerScorer(
    "label",
    "the answer is the right one of some labels; case and punctuation are free",
    {**ASKED, "label": Key("text", True, "the right label")},
    (Metric("accuracy", "answers with the right label"),),
    {"labels": Key("texts", about="all labels; an answer that is none of them is told as such")},
    score=_label,
    check=_label_faults,
    check_options=_labels_faults,
)
