"""How far answers are from a style: told by hand-made texts whose style somebody can see."""

from __future__ import annotations

import json

import pytest

from appliance.dataset import Row
from appliance.dataset.rows import row_id
from appliance.evaluation.auditing.instructed import instructed
from appliance.evaluation.resampling import difference, figure
from appliance.evaluation.scoring import SCORERS, AnswerScorer, CaseScore, Said
from appliance.evaluation.scoring.stylometry import GROUPS, profile_of
from appliance.evaluation.suite import Case, Suite
from appliance.evaluation.suites.own_tone import own_tone, terse

PARTS = ("pump", "belt", "valve", "bearing", "filter", "hose", "seal", "fan", "gauge", "motor")
PLAIN = tuple(
    f"Check the {part} before you start. The {part} should be {state}, and the guard should be closed."
    for part in PARTS
    for state in ("dry", "clean and tight")
)
CHATTY = (
    "Hey!!! I think we could maybe look at it? I'm not sure, haha... Let me know!",
    "# The hose\n\n- **Check** it\n- **Clean** it\n\n`done`",
    '{"part": "hose", "state": ["dry", 12, 14]}',
    "",
    "hose " * 120,
)
UNSEEN = "Check the clutch before you start. The clutch should be cold, and the guard should be closed."


def test_a_text_of_the_same_style_is_as_near_as_the_references_are_to_each_other() -> None:
    profile = profile_of(PLAIN)
    assert 0.3 < profile.distance(UNSEEN) < 1.5
    own = [profile.distance(text) for text in PLAIN]
    assert 0.3 < sum(own) / len(own) <= 1.0  # below 1, since their manner is all the same
    for text in CHATTY:
        assert profile.distance(text) > 2 * profile.distance(UNSEEN), text


def test_each_part_says_what_is_odd() -> None:
    profile = profile_of(PLAIN)
    near = profile.distances(UNSEEN)
    for part, text in (
        ("punctuation", UNSEEN.replace(".", "!").replace(",", ";")),
        ("lengths", f"{UNSEEN[:-1]} " * 8),
        ("manner", UNSEEN.upper()),
        ("words", "Looking at this clutch might help somebody whose machine is broken. Close some guards."),
    ):
        far = profile.distances(text)
        assert max(GROUPS, key=lambda name, far=far: far[name] - near[name]) == part  # type: ignore[misc]


def test_what_the_answers_say_is_not_their_style() -> None:
    """Other things said in the same manner are near; the same things said in another manner are far."""
    profile = profile_of(PLAIN)
    about = "Check the whale before you start. The whale should be wet, and the ocean should be closed."
    assert (
        profile.distance(about)
        < 1.6
        < profile.distance("the pump is dry?? ok... the belt is clean and tight??")
    )


def test_json_has_a_style_too() -> None:
    orders = tuple(
        json.dumps({"items": [{"drink": drink, "quantity": number}], "to_go": number > 2})
        for drink in ("latte", "mocha", "flat white", "tea")
        for number in (1, 2, 3)
    )
    profile = profile_of(orders)
    assert profile.distance('{"items": [{"drink": "espresso", "quantity": 4}], "to_go": true}') < 2
    assert profile.distance("One espresso, of course! I will bring it to your table.") > 3


def _scores(suite: Suite, texts: list[str]) -> list[CaseScore]:
    scorer = SCORERS["style_distance"]
    assert isinstance(scorer, AnswerScorer)
    return [
        scorer.score(case, suite, [Said(text)] * 2) for case, text in zip(suite.cases, texts, strict=True)
    ]


def test_the_distance_has_an_interval_and_a_paired_test() -> None:
    cases = tuple(Case(str(n), {"prompt": "x", "wordings": "y"}, "") for n in range(10))
    suite = Suite("s", "style_distance", cases, options={"references": list(PLAIN)}, kind="tone")
    near = _scores(
        suite,
        [
            f"Check the {part} daily. The {part} should be new, and the lid should be closed."
            for part in PARTS
        ],
    )
    far = _scores(suite, [CHATTY[number % len(CHATTY)] for number in range(10)])
    metric = SCORERS["style_distance"].metrics[0]
    found = figure(metric, near)
    assert found is not None and found.low < found.value < found.high < 2.5
    gap = difference(metric, near, far, "base_told")
    assert gap is not None and (gap.verdict, gap.wins, gap.losses) == ("better", 10, 0)
    worse = difference(metric, far, near, "base_told")
    assert worse is not None and worse.verdict == "worse"


def test_too_few_references_have_no_spread() -> None:
    suite = Suite("s", "style_distance", (Case("a", {"prompt": "x", "reference": list(PLAIN[:7])}, ""),))
    with pytest.raises(ValueError, match="7 reference answers; the spread of a style takes 8 at least"):
        _scores(suite, ["x"])


def test_the_base_is_told_the_rules_and_the_instruction() -> None:
    cases = (
        Case("a", {"prompt": "x"}, ""),
        Case("b", {"prompt": "x", "system": "Be a cook.", "rules": {"greeting": False}}, ""),
        Case("c", {"messages": [{"role": "system", "content": "Be."}, {"role": "user", "content": "x"}]}, ""),
    )
    options = {
        "max_words": 20,
        "forbidden": ["as an AI"],
        "plain": True,
        "instruction": "Speak like a sailor.",
    }
    told = instructed(Suite("s", "style", cases, options=options, system="Be a clerk."))
    scorer = SCORERS["style"]
    assert isinstance(scorer, AnswerScorer)
    systems = [scorer.ask(case, told)[0][0]["content"] for case in told.cases]
    rules = 'Speak like a sailor.\n\nAnswer in at most 20 words. Never say "as an AI".'
    assert systems[0].startswith(f"Be a clerk.\n\n{rules} Write plain text")
    assert systems[1].startswith(f"Be a cook.\n\n{rules} Do not greet. Write plain text")
    assert systems[2].startswith(f"Be.\n\n{rules}")
    plain = Suite("s", "semantic", cases[:1])
    assert instructed(plain) == plain


def _row(prompt: str, answer: str, system: str = "") -> Row:
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Row(row_id(messages), "g", messages, "f:1")


def test_a_projects_own_tone() -> None:
    learnt = [_row(f"How is {number}?", text, "Be short.") for number, text in enumerate(PLAIN)]
    asked = [_row(f"What of the {part}?", "?", "Be short.") for part in PARTS]
    suite = own_tone(asked, learnt, "the dataset", 256)
    assert isinstance(suite, Suite)
    own = suite.cases[0]
    assert own.texts("wordings") == [
        "what of the pump",
        "Hello, could you please help me with this? What of the pump?\n\nThank you very much!",
    ]
    assert all(case.values["system"] == "Be short." for case in suite.cases)
    assert len(suite.cases) == 10 and suite.max_tokens == 64
    instruction = suite.options["instruction"]
    assert sum(text in instruction for text in PLAIN) == 3
    assert instructed(suite).cases[0].text("system").startswith("Be short.\n\nAnswer in the style of")
    assert terse("Is it NEW?  ") == "is it new"


def test_why_a_project_has_no_tone_suite() -> None:
    learnt = [_row(str(number), text) for number, text in enumerate(PLAIN)]
    assert "7 different answers" in str(own_tone(learnt, learnt[:7], "", 64))
    turns = [*learnt[0].messages, {"role": "user", "content": "and?"}, {"role": "assistant", "content": "so"}]
    several = Row("a", "g", turns, "f:1")
    assert "several turns" in str(own_tone([several], learnt, "", 64))
