"""Unanswerable questions made of a project's own rows: what is taken out, what is made up, and what is left alone."""

from __future__ import annotations

from appliance.dataset import Row
from appliance.evaluation.suite import Suite
from appliance.evaluation.suites.own_unknowns import own_unknowns, with_unknown, without_facts

NOTE = (
    "Note: The pump in hall two was oiled on Monday. The belt should be changed in March. All gauges are new.\n\n"
    "When should the belt be changed?"
)


def row(number: int, prompt: str, answer: str) -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return Row(f"{number:016x}", "g", messages, "f:1")


def test_the_sentences_that_hold_the_answer_go() -> None:
    made = without_facts(NOTE, "In March.")
    assert made is not None and "March" not in made and "changed in" not in made
    assert "oiled on Monday" in made and made.endswith("When should the belt be changed?")
    assert without_facts(NOTE, "In autumn, by two fitters.") is None  # it doesn't hold this answer
    assert without_facts("The belt is changed in March. When is it changed?", "March") is None  # all would go
    assert without_facts(NOTE.replace("?", "."), "In March.") is None  # nothing is asked


def test_a_rare_term_becomes_a_word_that_is_none() -> None:
    seen = {"what": 90, "treats": 40, "malaria": 2, "fever": 60}
    answer = "Malaria and its fever are treated with quinine."
    made = with_unknown("What treats malaria with fever? Malaria!", answer, seen, 100, "a")
    assert made is not None and "alaria" not in made
    word = made.split()[2]
    assert made == f"What treats {word} with fever? {word.capitalize()}!" and word not in seen
    assert with_unknown("What treats malaria?", answer, seen, 100, "a") == f"What treats {word}?"
    assert with_unknown("What treats fever?", answer, seen, 100, "a") is None  # no rare term
    assert with_unknown("What treats malaria?", "Quinine does it, as people say.", seen, 100, "a") is None
    assert with_unknown("What treats malaria?", "malaria_drugs", seen, 100, "a") is None  # a name alone


def test_a_suite_has_both_kinds_and_the_same_questions_unchanged() -> None:
    asked = [
        row(1, NOTE, "In March."),
        row(2, "What treats malaria?", "Malaria is treated with quinine."),
        row(3, "Who will win?", "I don't know."),
        row(4, "Say hello.", "Hello."),
    ]
    suite = own_unknowns(
        asked, [row(number, f"What of {number}?", "Fine.") for number in range(9, 60)], "text", "d"
    )
    assert isinstance(suite, Suite)
    assert [(case.values["category"], case.values["abstain"]) for case in suite.cases] == [
        ("facts taken out", True), ("answerable", False), ("about nothing", True), ("answerable", False),
        ("as they are", True),
    ]  # fmt: skip
    assert suite.cases[1].values["prompt"] == NOTE
    assert {gate.metric for gate in suite.gates} == {"abstained", "answered"}


def test_where_it_can_not_be_asked_the_reason_is_said() -> None:
    assert "labels, which have no way" in str(own_unknowns([row(1, NOTE, "a")], [], "labels", "d"))
    assert "JSON, which have no way" in str(own_unknowns([row(1, NOTE, "a")], [], "json", "d"))
    assert "no prompt of the test split" in str(own_unknowns([row(1, "Say hello.", "Hi")], [], "text", "d"))
