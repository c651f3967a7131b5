"""How far answers are from the style of reference answers, over all wordings of a question."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.evaluation.scoring.scorer import ASKED, AnswerScorer, CaseScore, Key, Metric, Said
from appliance.evaluation.scoring.style import ask_wordings
from appliance.evaluation.scoring.stylometry import GROUPS, profile_of
from appliance.evaluation.suite import Case, Suite

_ABOUT = {
    "words": "the same, by the rates of the words that a fifth of the references have",
    "punctuation": "by signs, digits and line breaks",
    "lengths": "by the lengths of answers, sentences and words",
    "manner": "by persons, capitals and greetings",
}


def _references(suite: Suite) -> tuple[str, ...]:
    given = suite.options.get("references", [])
    own = [given] if isinstance(given, str) else [str(text) for text in given]
    return tuple(dict.fromkeys([*own, *(text for case in suite.cases for text in case.texts("reference"))]))


def _score(_case: Case, suite: Suite, said: Sequence[Said]) -> CaseScore:
    profile = profile_of(_references(suite))
    found = [profile.distances(answer.text) for answer in said]
    totals = [sum(parts.values()) / len(GROUPS) for parts in found]
    worst = max(range(len(said)), key=totals.__getitem__)
    values = {name: sum(parts[name] for parts in found) / len(said) for name in GROUPS}
    note = ", ".join(f"{name} {found[worst][name]:.1f}" for name in GROUPS)
    return CaseScore(
        {"distance": sum(totals) / len(said), **values},
        None,
        said[worst].text,
        "the style of the reference answers",
        note,
    )


STYLE_DISTANCE = AnswerScorer(
    "style_distance",
    "how far answers are from the style of the reference answers (Burrows's Delta); 1: as one of them from the others",
    {
        **ASKED,
        "wordings": Key("texts", about="other wordings of the same question"),
        "reference": Key("texts", about="an answer in the style that is wanted, or several"),
    },
    (
        Metric(
            "distance",
            "mean of the four below; 1: as far as one reference answer is from the others",
            "lower",
            shape="number",
        ),
        *(Metric(name, _ABOUT[name], "lower", shape="number") for name in GROUPS),
    ),
    {
        "references": Key("texts", about="answers in the style that is wanted, beside those of the cases"),
        "instruction": Key("text", about="what the base is told to answer in this style"),
    },
    score=_score,
    ask=ask_wordings,
)
