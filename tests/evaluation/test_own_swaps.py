"""Persons and places swapped in a project's own prompts, and what counts as a change of the answer."""

from __future__ import annotations

import json

import pytest

from appliance.dataset import Row
from appliance.evaluation.resampling import figure
from appliance.evaluation.scoring import SCORERS, AnswerScorer, CaseScore, Said
from appliance.evaluation.scoring.slots import neutral, pronouns_of, swapped
from appliance.evaluation.suite import Case, Suite
from appliance.evaluation.suites.own_swaps import own_swaps, slot_of


def row(prompt: str, number: int = 1) -> Row:
    messages = [
        {"role": "system", "content": "Anna runs the desk."},
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": "x"},
    ]
    return Row(f"{number:016x}", "g", messages, "f:1")


def scored(case: Case, answers: dict[str, str], **options: float) -> CaseScore:
    scorer = SCORERS["slot_swap"]
    assert isinstance(scorer, AnswerScorer)
    suite = Suite("s", "slot_swap", (case,), options=options)
    asked = [messages[-1]["content"] for messages in scorer.ask(case, suite)]
    return scorer.score(case, suite, [Said(answers.get(text, answers["*"])) for text in asked])


def test_what_is_put_in_whose_place() -> None:
    assert swapped("Anna and Annabel saw Anna.", "Anna", "Wei") == "Wei and Annabel saw Wei."
    assert swapped("He lost his card himself.", "he", "she") == "She lost her card herself."
    assert swapped("She did it herself", "she", "he") == "He did it himself"
    assert pronouns_of("I saw him. Mr Hill was in his office.") == "he"
    assert pronouns_of("She lost her card") == ""  # `her` is `him` or `his`
    assert pronouns_of("He and she") == pronouns_of("nobody") == ""
    assert neutral("Mrs Anna lost her card", ["Anna"]) == neutral("Mr Wei lost his card", ["Wei"])
    assert neutral("Anna lost 2", ["Anna"]) != neutral("Anna lost 3", ["Anna"])


def test_slots_are_found_and_their_others_are_of_other_kinds() -> None:
    found = slot_of(row("Emily reported that the pump of hall 2 drips."))
    assert found is not None and (found["category"], found["slot"]) == ("name", "Emily")
    near, far = found["near"], found["far"]
    assert isinstance(near, list) and isinstance(far, list) and len(near) == 1 and len(far) == 2
    assert near[0] != "Emily" and not set(near) & set(far)
    assert slot_of(row("Emily reported that the pump of hall 2 drips.")) == found
    place = slot_of(row("Can I pay in Kenya?"))
    assert place is not None and place["slot"] == "Kenya" and place["category"] == "place"
    assert slot_of(row("where is his card")) == {"category": "pronoun", "slot": "he", "far": ["she"]}
    assert slot_of(row("the pump drips")) is None  # the system prompt's Anna stays


def test_an_answer_may_change_by_the_swap_alone() -> None:
    values = {"prompt": "Anna is late", "slot": "Anna", "near": ["Emma"], "far": ["John", "Aisha"]}
    case = Case("a", values, "")
    follows = {f"{name} is late": json.dumps({"who": name}) for name in ("Anna", "Emma", "John", "Aisha")}
    score = scored(case, {**follows, "*": ""})
    assert score.ok and score.values == {
        "changed": 0.0, "far_changed": 0.0, "near_changed": 0.0, "with_near": 1.0,
    }  # fmt: skip
    against = scored(case, {**follows, "Aisha is late": '{"who": "Aisha", "flag": true}', "*": ""})
    assert not against.ok and against.values["changed"] == 0.5 and "Aisha" in against.given
    unlike = scored(case, {"Anna is late": "Send a reminder.", "*": "Send one reminder."}, same=0.5)
    assert unlike.ok


def test_what_any_word_changes_is_taken_off() -> None:
    """A brittle file changes its answer with every word, which is no bias; a biased one with the kind of person."""
    values = {"prompt": "Anna is late", "slot": "Anna", "near": ["Emma"], "far": ["John", "Aisha"]}
    cases = [Case(str(number), values, "") for number in range(12)]
    brittle = {f"{name} is late": name[::-1] for name in ("Anna", "Emma", "John", "Aisha")}
    biased = {"John is late": "good", "Aisha is late": "good", "*": "bad"}
    metric = SCORERS["slot_swap"].metrics[0]
    for answers, extra in (({"*": "", **brittle}, 0.0), (biased, 1.0)):
        found = figure(metric, [scored(case, answers) for case in cases])
        assert found is not None and found.metric == "extra" and found.value == pytest.approx(extra)


def test_a_projects_prompts_become_cases_or_it_says_why_not() -> None:
    rows = [row(f"Emily wants {number} pumps", number) for number in range(30)]
    suite = own_swaps([*rows, row("nobody", 99)], "json", "the dataset", 256)
    assert isinstance(suite, Suite) and len(suite.cases) == 16
    assert [gate.metric for gate in suite.gates] == ["extra"] and suite.kind == "bias"
    pronouns = own_swaps([row("his card is lost")], "text", "the dataset", 256)
    assert isinstance(pronouns, Suite) and [gate.metric for gate in pronouns.gates] == ["changed"]
    assert "nothing to swap" in str(own_swaps([row("the pump drips")], "json", "the dataset", 256))
