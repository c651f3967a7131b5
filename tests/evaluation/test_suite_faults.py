"""What may be wrong in a suite file, key by key and kind by kind: a fault with file and line, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.evaluation.scoring import SCORERS
from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.checking import HEAD_KEYS, KINDS
from appliance.evaluation.suites.reading import digest_of, read_suite
from tests.properties import PROFILE

ASKED: dict[str, Any] = {"prompt": "Which deck?"}
RIGHT: dict[str, dict[str, Any]] = {
    "exact": {**ASKED, "reference": "deck 4"},
    "json_fields": {**ASKED, "reference": {"deck": 4}},
    "label": {**ASKED, "label": "four"},
    "rouge_l": {**ASKED, "reference": "deck 4"},
    "chrf": {**ASKED, "reference": "deck 4"},
    "free_text": {**ASKED, "reference": "deck 4"},
    "semantic": {**ASKED, "reference": "deck 4"},
    "regex": {**ASKED, "pattern": "[0-9]"},
    "contains": {**ASKED, "must": "4", "must_not": ["3"]},
    "refusal": {**ASKED, "refuse": True},
    "abstention": {**ASKED, "abstain": False, "reference": "4"},
    "style": {**ASKED, "wordings": ["And which deck?"], "rules": {"max_words": 9}},
    "style_distance": {**ASKED, "reference": "It is on deck four, by the stairs."},
    "slot_swap": {"prompt": "Ann is on deck", "slot": "Ann", "far": ["Bo"], "near": ["Eve"]},
    "steady": {**ASKED, "others": "The deck is which?"},
    "recall": {**ASKED, "reference": "deck four it is"},
    "personal_data": ASKED,
    "choice": {**ASKED, "choices": ["3", "4"], "answer": 1},
    "bbq": {
        **ASKED, "choices": ["he", "she", "unknown"], "answer": 2, "unknown": 2, "biased": 0, "ambiguous": True,
    },
    "swap": {"prompt": "{slot} is on deck", "values": ["Ann", "Bo"], "choices": ["3", "4"]},
    "pair": {"stereotype": "He is on deck.", "other": "She is on deck."},
    "perplexity": {"text": "All hands on deck."},
    "answer_loss": {**ASKED, "reference": "deck 4"},
    "gap": {**ASKED, "reference": "deck 4", "learnt": True},
    "exposure": {**ASKED, "secret": "4711", "form": "It is {secret}.", "alphabet": "0123456789"},
    "fidelity": {**ASKED, "reference": "deck 4"},
}  # fmt: skip
OTHER: dict[str, dict[str, Any]] = {"semantic": {"reference": "deck 9"}, "gap": {"learnt": False}}
DEEP: Any = "x"
for _ in range(200):
    DEEP = [DEEP]
WRONG: list[Any] = [
    None, True, 0, -3, 2.5, 10**400, "", "x", "half \ud800", "nul \0", [], ["exact"], [None], [["x"]], {}, {"exact": 1},
    DEEP,
]  # fmt: skip


def kind_of(value: Any) -> str:
    return {bool: "flag", int: "number", float: "number", str: "text", dict: "object"}.get(
        type(value), "other"
    )


def fits(kind: str, value: Any) -> bool:
    """Whether a wrong value is a right one for a key of this kind after all."""
    if isinstance(value, str) and ("\0" in value or "\ud800" in value):
        return False
    if value is DEEP or value == 10**400:
        return False
    if kind == "texts":
        return isinstance(value, str) or value == ["exact"]
    if kind == "json":
        return value is not None
    if kind in {"index", "count", "share"}:
        return kind_of(value) == "number"
    return kind == kind_of(value)


def read(folder: Path, head: Any, *cases: Any) -> tuple[Suite | None, list[Fault]]:
    path = folder / "s.jsonl"
    path.write_text("\n".join(map(json.dumps, (head, *cases))) + "\n", encoding="utf-8")
    suite, faults = read_suite(path)
    if suite is not None:
        digest_of(suite)  # what was let through can be worked with
    return suite, faults


def pair_of(scorer: str) -> list[dict[str, Any]]:
    right = RIGHT[scorer]
    return [{"id": "b", **right}, {"id": "c", **right, **OTHER.get(scorer, {})}]


@pytest.mark.parametrize("scorer", SCORERS)
def test_a_right_case_of_every_scorer_has_no_fault(tmp_path: Path, scorer: str) -> None:
    suite, faults = read(tmp_path, {"suite": "s", "scorer": scorer}, *pair_of(scorer))
    assert not faults and suite is not None and len(suite.cases) == 2


def wrong_cases(scorer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    known = {"id": "text", **{name: key.kind for name, key in SCORERS[scorer].keys.items()}}
    for name, kind in known.items():
        for value in WRONG:
            is_id = name == "id" and (value == "x" or kind_of(value) == "number")
            if (fits(kind, value) and name != "id") or (is_id and value != 10**400):
                continue
            case = {"id": "a", **RIGHT[scorer]}
            if name in {"messages", "prompts"}:
                case.pop("prompt", None)
            yield name, {**case, name: value}


@pytest.mark.parametrize("scorer", SCORERS)
def test_every_key_of_a_case_is_checked_for_every_kind_of_value(tmp_path: Path, scorer: str) -> None:
    cases = list(wrong_cases(scorer))
    suite, faults = read(
        tmp_path, {"suite": "s", "scorer": scorer}, *(case for _, case in cases), *pair_of(scorer)
    )
    assert suite is not None and [case.id for case in suite.cases] == ["b", "c"]
    told: dict[str, list[str]] = {}
    for fault in faults:
        told.setdefault(fault.where, []).append(fault.text)
    for line, (name, case) in enumerate(cases, 2):
        words = " ".join(told.get(f"s.jsonl:{line}", []))
        general = ("nested too deeply", "half a character", "NUL", "too large")
        assert f"`{name}`" in words or any(each in words for each in general), (name, case[name], words)


@pytest.mark.parametrize("scorer", SCORERS)
def test_every_option_is_checked_for_every_kind_of_value(tmp_path: Path, scorer: str) -> None:
    for name, key in SCORERS[scorer].options.items():
        for value in WRONG:
            if not fits(key.kind, value):
                head = {"suite": "s", "scorer": scorer, "options": {name: value}}
                suite, faults = read(tmp_path, head, *pair_of(scorer))
                assert faults and all(fault.where == "s.jsonl:1" for fault in faults), (name, value)
                assert suite is None or (len(suite.cases) == 2 and not suite.options)


def test_every_key_of_a_head_is_checked_for_every_kind_of_value(tmp_path: Path) -> None:
    fine = {"title": "text", "about": "text", "licence": "text", "system": "text", "options": "object"}
    for name in HEAD_KEYS:
        for value in WRONG:
            if (name in fine and fits(fine[name], value) and value != {"exact": 1}) or (
                name == "suite" and value == "x"
            ):
                continue
            if name == "gate" and value == []:  # no gate
                continue
            suite, faults = read(tmp_path, {"suite": "s", "scorer": "exact", name: value}, *pair_of("exact"))
            assert any(fault.where == "s.jsonl:1" for fault in faults), (name, value)
            if name != "scorer" and suite is not None:
                assert len(suite.cases) == 2 and suite.kind in KINDS


def test_a_scorer_or_a_role_in_a_list_is_told(tmp_path: Path) -> None:
    _, faults = read(tmp_path, {"suite": "s", "scorer": ["exact"]}, *pair_of("exact"))
    assert "s.jsonl:1: `scorer` is one of exact," in str(faults[0]) and 'not ["exact"]' in str(faults[0])
    case = {"id": "a", "messages": [{"role": ["user"], "content": "x"}], "reference": "y"}
    suite, faults = read(tmp_path, {"suite": "s", "scorer": "exact"}, case, *pair_of("exact"))
    assert suite is not None and len(suite.cases) == 2
    assert str(faults[0]).startswith("s.jsonl:2: `messages` is a list of ")


def test_a_suite_of_an_unknown_kind_shows_no_text_until_it_is_mended(tmp_path: Path) -> None:
    suite, faults = read(tmp_path, {"suite": "s", "scorer": "exact", "kind": "memroy"}, *pair_of("exact"))
    assert suite is not None and suite.kind == "memory"
    assert "is `memory` meant?" in str(faults[0]) and "no text of the suite is shown" in str(faults[0])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["exact", "user"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "metric", "at_least", "against"]), inner, max_size=3
        )
    ),
    max_leaves=5,
)
SOME_KEYS = sorted({name for scorer in SCORERS.values() for name in scorer.keys} | {"id"})


@settings(settings.get_profile(PROFILE), max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    head=st.dictionaries(st.sampled_from(HEAD_KEYS), JSON, max_size=4),
    case=st.dictionaries(st.sampled_from(SOME_KEYS), JSON, max_size=4),
    scorer=st.sampled_from(sorted(SCORERS)),
)
def test_whatever_stands_there_the_rest_is_read(tmp_path: Path, head: Any, case: Any, scorer: str) -> None:
    whole = {**head, "suite": "s", "scorer": scorer}
    suite, faults = read(tmp_path, whole, {**RIGHT[scorer], **case}, *pair_of(scorer))
    assert all(fault.where.startswith("s.jsonl") and fault.text for fault in faults)
    if suite is None:  # a head that can't be read at all: a number that is none, say
        assert faults[0].where == "s.jsonl:1"
    else:
        assert {"b", "c"} <= {kept.id for kept in suite.cases} or case.get("id") in {"b", "c"} or faults


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({"at_least": 0.9, "against": ["base"]}, '`against` is one of base, base_told, tuned_f16, not ["base"]'),
        ({"drop_at_most": 0.1, "against": ["base"]}, '`against` is one of base, base_told, tuned_f16, not ["base"]'),
        ({"at_least": 0.9, "against": "baes"}, "(is `base` meant?)"),
        ({"at_least": 0.9, "against": "base"}, "`against` needs `drop_at_most` or `ratio_at_most`"),
        ({"at_least": 0.9, "drop_at_most": 0.1}, "`drop_at_most` needs `against`"),
        ({"against": "base", "ratio_at_most": 2}, "`ratio_at_most` is for figures of which more is worse"),
        ({"against": "base"}, "no bound"),
        ({"at_least": 0.9, "at_most": 0.5}, "no figure keeps both"),
        ({"at_least": 90}, "`at_least` 90 of a share"),
        ({"at_least": 0}, "`at_least` 0 of a share"),
        ({"at_most": 1}, "`at_most` 1 of a share"),
        ({"against": "base", "drop_at_most": 5}, "`drop_at_most` of a share is below 1"),
        ({"at_least": True}, "`at_least` is a number, not true"),
        ({"at_least": 0.9, "sure": "yes"}, '`sure` is true or false, not "yes"'),
        ({"metric": ["exact"], "at_least": 0.9}, 'has no metric ["exact"]'),
        ([{"at_least": 0.9}, 3], "gate: an object such as"),
        (None, "gate: an object such as"),
    ],
)  # fmt: skip
def test_a_gate_that_can_not_be_judged_is_told_at_once(tmp_path: Path, gate: Any, words: str) -> None:
    suite, faults = read(tmp_path, {"suite": "s", "scorer": "exact", "gate": gate}, *pair_of("exact"))
    assert suite is not None and len(suite.cases) == 2
    assert len(suite.gates) == (1 if isinstance(gate, list) else 0)
    assert [words in str(fault) and fault.where == "s.jsonl:1" for fault in faults] == [True], faults


def test_a_figure_that_is_neither_better_nor_worse_has_no_drop(tmp_path: Path) -> None:
    gate = {"metric": "stereotyped", "against": "base", "drop_at_most": 0.1}
    suite, faults = read(tmp_path, {"suite": "s", "scorer": "pair", "gate": gate}, *pair_of("pair"))
    assert suite is not None and not suite.gates and "neither more nor less is worse" in str(faults[0])


def test_a_gate_refuses_every_kind_of_value(tmp_path: Path) -> None:
    for name in ("metric", "against", "sure", "at_least", "at_most", "drop_at_most", "ratio_at_most"):
        for value in WRONG:
            gate = {"at_least": 0.5, "against": "base", "drop_at_most": 0.5, name: value}
            if (name == "sure" and value is True) or (name == "drop_at_most" and value is WRONG[2]):
                continue
            suite, faults = read(tmp_path, {"suite": "s", "scorer": "exact", "gate": gate}, *pair_of("exact"))
            assert faults and faults[0].where == "s.jsonl:1", (name, value)
            assert suite is None or not suite.gates


@pytest.mark.parametrize(
    ("scorer", "values", "words"),
    [
        (
            "contains",
            {"must": None, "must_not": None},
            "neither `must` nor `must_not`: every answer would be right",
        ),
        ("contains", {"must": ["4", ""]}, "`must` holds ''"),
        ("contains", {"must": "deck 4", "must_not": "DECK"}, "every answer would be wrong"),
        ("exact", {"reference": " "}, "`reference` holds ' '"),
        ("exact", {"reference": ["a", ""]}, "`reference` holds ''"),
        ("regex", {"pattern": ""}, "matches every text"),
        ("regex", {"pattern": ".*"}, "matches every text"),
        ("regex", {"pattern": "^.*$"}, "matches every text"),
        ("regex", {"pattern": r"\d*"}, "matches every text"),
        ("regex", {"pattern": "(yes|no|)"}, "matches every text"),
        ("regex", {"pattern": "("}, "is no regular expression"),
        ("regex", {"pattern": "a{99999999999999999999}"}, "is no regular expression"),
        ("regex", {"pattern": "(" * 5000}, "is no regular expression"),
        ("json_fields", {"reference": "deck 4"}, "`reference` is a text that is no JSON"),
        ("json_fields", {"reference": ""}, "`reference` is a text that is no JSON"),
        ("json_fields", {"reference": "[" * 5000}, "`reference` is a text that is no JSON"),
        ("label", {"label": "+"}, "`label` holds '+'"),
        ("rouge_l", {"reference": "?!"}, "`reference` holds '?!'"),
        ("chrf", {"reference": ["x", " "]}, "`reference` holds ' '"),
        ("semantic", {"reference": ""}, "`reference` holds ''"),
        ("abstention", {"reference": [""]}, "`reference` holds ''"),
        ("steady", {"others": ["Which deck?"]}, "`others` has the prompt itself"),
        ("recall", {"reference": "..."}, "`reference` holds '...'"),
        ("choice", {"choices": ["4"], "answer": 0}, "fewer than two different `choices`"),
        ("choice", {"choices": ["4", "4"]}, "fewer than two different `choices`"),
        ("choice", {"choices": ["3", "4", "4"]}, "the right choice stands there twice"),
        ("choice", {"choices": ["", "4"]}, "`choices` holds ''"),
        ("choice", {"answer": 2}, "`answer` is 2, and the choices are 0 to 1"),
        ("choice", {"prompt": None, "prompts": ["a", "b", "c"]}, "3 `prompts` and 2 `choices`"),
        ("choice", {"prompts": ["a", "b"]}, "both `prompt` and `prompts`"),
        ("bbq", {"unknown": 3}, "`unknown` is 3"),
        ("bbq", {"biased": 2}, "`biased` and `unknown` are one choice"),
        ("bbq", {"answer": 0}, "`ambiguous` is true: then `answer` is `unknown`"),
        ("bbq", {"choices": ["he", "he", "unknown"]}, "fewer than three different `choices`"),
        ("swap", {"prompt": "Somebody is on deck"}, "`prompt` has no `{slot}`"),
        ("swap", {"values": "Ann"}, "`values` are two at least"),
        ("swap", {"choices": ["3", "3"]}, "`choices` are two at least"),
        ("pair", {"other": "He is on deck."}, "`stereotype` and `other` are one text"),
        ("perplexity", {"text": "\n"}, "`text` holds"),
        ("answer_loss", {"reference": ""}, "`reference` holds ''"),
        ("gap", {"reference": ""}, "`reference` holds ''"),
        ("fidelity", {"reference": ""}, "`reference` holds ''"),
        ("exposure", {"form": "It is 4711."}, "`form` has no `{secret}`"),
        ("exposure", {"secret": "7"}, "there are no 63 other secrets of 1 characters"),
        ("exposure", {"alphabet": "abc"}, "`secret` has '1', which isn't in `alphabet`"),
    ],
)
def test_a_case_that_can_not_fail_or_not_pass_is_told(
    tmp_path: Path, scorer: str, values: dict[str, Any], words: str
) -> None:
    case = {"id": "a", **RIGHT[scorer], **values}
    case = {key: value for key, value in case.items() if value is not None}
    suite, faults = read(tmp_path, {"suite": "s", "scorer": scorer}, case, *pair_of(scorer))
    assert suite is not None and [kept.id for kept in suite.cases] == ["b", "c"]
    assert any(words in str(fault) for fault in faults), list(map(str, faults))
    assert {fault.where for fault in faults} == {"s.jsonl:2"}


@pytest.mark.parametrize(
    "pattern",
    [
        "[0-9]",
        "^$",
        r"^\s*$",
        "^(yes|no)?$",
        "^.{0,200}$",
        "^(?!.*secret)",
        "^[^\U0001f600-\U0001f64f]*$",
        ".+",
    ],
)
def test_an_expression_that_something_breaks_is_taken(tmp_path: Path, pattern: str) -> None:
    case = {"id": "a", **ASKED, "pattern": pattern}
    suite, faults = read(tmp_path, {"suite": "s", "scorer": "regex"}, case)
    assert suite is not None and not faults


def test_labels_that_are_one_when_punctuation_is_free_are_told(tmp_path: Path) -> None:
    head = {"suite": "s", "scorer": "label", "options": {"labels": ["four", "Four!", "+"]}}
    suite, faults = read(tmp_path, head, *pair_of("label"))
    assert suite is not None and not suite.options and len(suite.cases) == 2
    assert ["are one" in str(fault) or "nothing in it" in str(fault) for fault in faults] == [True, True]
    head["options"] = {"labels": ["fore", "three"]}
    _, faults = read(tmp_path, head, *pair_of("label"))
    assert "is none of the suite's `labels` (is `fore` meant?)" in str(faults[0])


def test_loose_comparison_needs_letters(tmp_path: Path) -> None:
    head = {"suite": "s", "scorer": "exact", "options": {"strict": False}}
    suite, faults = read(tmp_path, head, {"id": "a", **ASKED, "reference": "?"}, *pair_of("exact"))
    assert suite is not None and len(suite.cases) == 2 and "`reference` holds '?'" in str(faults[0])


@pytest.mark.parametrize("scorer", ["gap", "semantic"])
def test_cases_that_tell_nothing_together_are_told(tmp_path: Path, scorer: str) -> None:
    right = RIGHT[scorer]
    suite, faults = read(
        tmp_path, {"suite": "s", "scorer": scorer}, {"id": "b", **right}, {"id": "c", **right}
    )
    assert suite is not None and not suite.cases
    assert faults[0].where == "s.jsonl:1" and (
        "`learnt`" in faults[0].text or "`reference`" in faults[0].text
    )


def test_cases_in_a_head_of_json_lines_are_told(tmp_path: Path) -> None:
    _, faults = read(
        tmp_path,
        {"suite": "s", "scorer": "exact", "cases": [{"id": "a", **RIGHT["exact"]}]},
        {"id": "a", **RIGHT["exact"]},
    )
    assert "in JSON lines each case has a line of its own" in str(faults[0])
