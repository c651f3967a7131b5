"""Numbers that are a whole turn: what the question before them, or their form, says they are."""

from __future__ import annotations

import pytest

from appliance.dataset.redaction import Options, find
from appliance.dataset.redaction.conversation import find_all, take_apart
from appliance.dataset.redaction.redactor import Redactor
from appliance.dataset.redaction.spans import KINDS

EVERY = Options(kinds=frozenset(KINDS))
UNSURE = Options(kinds=frozenset(KINDS), min_score=0.4)


def found(text: str, before: str = "", options: Options = EVERY) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find(text, options, before=before)]


@pytest.mark.parametrize("text", ["4.53E+15", "4,53E+15", "453 e 15", "yes, it's 4.5312e15", "7E+15"])
def test_a_long_number_that_a_spreadsheet_wrote(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["card"]
    assert [kind for kind, _ in found(text, "What is your account number?")] == ["account"]
    assert found(text, "How far away is the star, in metres?") == []


@pytest.mark.parametrize(
    "text",
    [
        "1.2e3",
        "6.02E+23",
        "4.53E-15",
        "the charge is 4.53E+15 of them",
        "0.5E+15",
        "E15",
        "lot 453 e 15 north",
    ],
)
def test_other_quantities_stay(text: str) -> None:
    assert found(text) == []


def test_a_label_tells_a_spreadsheets_number_too() -> None:
    assert found("my card number is 4.53E+15, the account no 7.1E+11") == [
        ("card", "4.53E+15"),
        ("account", "7.1E+11"),
    ]


def test_its_surrogate_is_another_number_of_the_same_length() -> None:
    redactor = Redactor("surrogate", b"k" * 32, EVERY)
    for text in ("4.53E+15", "453 e 15", "7E+15"):
        made = redactor.text(text)
        assert made != text
        assert len(made) == len(text)
        assert made[-2:] == "15"
        assert [kind for kind, _ in found(made)] == ["card"]


def test_a_json_number_in_that_form_is_told() -> None:
    turns = take_apart(
        [{"role": "user", "content": '{"card_number": 4.53E+15, "speed": 2.99E+8}'}], lambda _: False
    )
    fields = find_all(turns, EVERY)
    assert [(field.text, field.fixed, [span.kind for span in field.spans]) for field in fields] == [
        ("4.53E+15", True, ["card"])
    ]


BOTH = "May I have the last four of your SSN and your account number?"


def test_several_numbers_answer_in_the_order_of_the_question() -> None:
    assert found("8541 and 6415", BOTH) == [("national_id", "8541"), ("account", "6415")]
    assert found("6415, 8541", "Your account number and SSN please") == [
        ("account", "6415"),
        ("national_id", "8541"),
    ]


def test_a_number_beside_the_name_that_was_asked_for() -> None:
    asked = "Please tell me your full name and the last four digits of your SSN."
    assert ("national_id", "3331") in found("sandy johnson 3331", asked)
    assert ("national_id", "5478") in found("hmm raja and 5478", asked)


def test_amounts_years_of_age_and_long_answers_are_no_such_answers() -> None:
    assert found("about 4500 dollars", BOTH) == []
    assert found("$4500", BOTH) == []
    assert found("I have seen 4500 people waiting there for hours and hours", BOTH) == []
    assert found("8541 and 6415", "Which two numbers did the machine print?") == []


def test_a_number_that_nothing_explains_is_found_by_whoever_asks_for_the_unsure() -> None:
    assert found("8541 and 6415") == []
    assert found("8541 and 6415", options=UNSURE) == [("account", "8541"), ("account", "6415")]
    for text in ("2013", "20240131", "1700000000000", "0000", "amaze and 2013"):
        assert found(text, options=UNSURE) == []
    assert found("4539876512345678") == [("card", "4539876512345678")]  # a slip, by the checksum
    assert found("the part is 4539876512345678") == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("account nuber is ad 78945663", "ad 78945663"),
        ("okclaim number 120321456", "120321456"),
        ("the account number of my mother is 70445561", "70445561"),
        ("my claim number was 86512", "86512"),
        ("my account no 88761 ssn no 4356", "88761"),
    ],
)
def test_labels_as_people_type_them(text: str, value: str) -> None:
    assert ("account", value) in found(text)


def test_words_that_only_end_like_a_label() -> None:
    assert found("the discard number 12345 and scorecard number 4532") == []


def test_a_number_beside_an_address_for_mail() -> None:
    assert ("phone", "73823212932") in found("73823212932 and ann@posteo.de")
    assert ("phone", "73823212932") in found("ann@posteo.de\n73823212932")
    assert found("order 73823212932 and ann@posteo.de") == [("email", "ann@posteo.de")]


def test_what_is_redacted_is_not_redacted_again() -> None:
    redactor = Redactor("placeholder", b"k" * 32, EVERY)
    turns = [{"role": "assistant", "content": BOTH}, {"role": "user", "content": "hm 8541 and 6415"}]
    once = redactor.conversation(turns)
    assert once.messages[1]["content"] == "hm [NATIONAL_ID_1] and [ACCOUNT_1]"
    assert redactor.conversation(once.messages).findings == []
