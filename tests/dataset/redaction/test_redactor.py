"""Conversations through the redactor: stable stand-ins, JSON that stays JSON, and nothing left for a second time."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from appliance.dataset.redaction import Options, Redactor, Surrogates, find
from appliance.dataset.redaction.bank_numbers import is_card, is_iban
from appliance.dataset.redaction.decisions import Decision
from appliance.dataset.redaction.json_text import json_strings

KEY = b"a key that is long enough for it"
MODES = ("placeholder", "surrogate")


def talk(*contents: str) -> list[dict[str, Any]]:
    return [
        {"role": ("user", "assistant")[place % 2], "content": content}
        for place, content in enumerate(contents)
    ]


def texts(redactor: Redactor, *contents: str) -> list[str]:
    return [message["content"] for message in redactor.conversation(talk(*contents)).messages]


@pytest.fixture(scope="module")
def placing() -> Redactor:
    return Redactor("placeholder", KEY, Options())


@pytest.fixture(scope="module")
def inventing() -> Redactor:
    return Redactor("surrogate", KEY, Options())


def test_the_same_value_gets_the_same_placeholder(placing: Redactor) -> None:
    first, second, third = texts(
        placing,
        "My name is Aantje Mourik, mail aantje@mourik.nl or office@mourik.nl.",
        "Thank you Aantje. I have written to aantje@mourik.nl.",
        "aantje mourik here again, not Pieter Visser",
    )
    assert first == "My name is [NAME_1], mail [EMAIL_1] or [EMAIL_2]."
    assert second == "Thank you [NAME_1]. I have written to [EMAIL_1]."
    assert third.startswith("[NAME_1] here again")
    assert third.endswith("[NAME_2]")


def test_numbers_in_other_layouts_are_the_same_value(placing: Redactor) -> None:
    assert texts(placing, "card 4111 1111 1111 1111 or 4111111111111111") == ["card [CARD_1] or [CARD_1]"]


def test_a_placeholder_of_the_text_is_not_given_again(placing: Redactor) -> None:
    assert texts(placing, "[NAME_1] wrote to Anna Schmidt") == ["[NAME_1] wrote to [NAME_2]"]


def test_a_surrogate_is_of_its_form_and_the_same_in_every_conversation(inventing: Redactor) -> None:
    one = texts(inventing, "I am Anna SCHMIDT, card 4111-1111-1111-1111")[0]
    other = texts(inventing, "Is 4111 1111 1111 1111 the card of Anna?")[0]
    card = one.rpartition(" ")[2]
    assert is_card(card)
    assert [len(group) for group in card.split("-")] == [4, 4, 4, 4]
    assert card.replace("-", " ") in other
    given = one.split()[2]
    assert given != "Anna"
    assert given.istitle()
    assert one.split()[3].rstrip(",").isupper()
    assert other.endswith(f"of {given}?")


def test_another_key_gives_other_surrogates() -> None:
    value = "jane.doe@posteo.de"
    assert Surrogates(KEY).of("email", value) == Surrogates(KEY).of("email", value) != value
    assert Surrogates(KEY).of("email", value) != Surrogates(b"b" * 32).of("email", value)


VALUES = [
    ("email", "jane.doe42@posteo.de"), ("phone", "555-867-5309"), ("phone", "+49 30 901820"),
    ("phone", "(020) 7946 0018"),
    ("card", "378282246310005"), ("card", "4111 1111 1111 1111"), ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432"), ("national_id", "536-90-4399"), ("national_id", "12345678Z"),
    ("national_id", "RSSMRA85T10A562S"), ("national_id", "2 55 08 14 168 025 38"), ("national_id", "131052-308T"),
    ("national_id", "756.9217.0769.85"), ("national_id", "529.982.247-25"), ("national_id", "811218-9876"),
    ("ip", "81.2.69.142"), ("ip", "2001:4860:4860::8888"), ("mac", "00:1A:2B:3C:4D:5E"),
    ("secret", "AKIAIOSFODNN7EXAMPLF"),
    ("name", "Anna Schmidt"), ("name", "Ludwig van der Berg"), ("address", "12 Main Street, Springfield, IL 62701"),
    ("address", "P.O. Box 912, Dover, DE 19903"), ("address", "Lindenstraße 14, 10969 Berlin"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=[value for _, value in VALUES])
def test_a_surrogate_passes_its_own_finder(kind: str, value: str) -> None:
    for number in range(12):
        surrogate = Surrogates(bytes([number]) * 32).of(kind, value)
        assert surrogate != value
        spans = find(surrogate)
        covered = sum(len(span) for span in spans if span.kind == kind)
        assert covered * 2 >= len(surrogate), (surrogate, spans)
        if kind != "ip" and kind != "email":
            assert len(surrogate.split()) == len(value.split())
        if kind == "iban":
            assert is_iban(surrogate)
            assert surrogate[:2] == value[:2]


def test_a_dates_surrogate_is_a_date_near_it(inventing: Redactor) -> None:
    text = inventing.text("She was born on 10/23/1951.")
    month, day, year = text.rpartition(" ")[2].rstrip(".").split("/")
    assert (1 <= int(month) <= 12, 13 <= int(day) <= 28, 0 < abs(int(year) - 1951) < 5) == (True, True, True)


PARTS = [
    "My name is {}, ", "this is {} ", "Dear {},\n", "call 555-867-5309 ", "{} ssn 4356 ", "mail jane@posteo.de; ",
    "I live at 12 Main Street, Springfield, IL 62701. ", "policy number abx 876499739 ", "born 3 March 1984 ",
    "said {}. ",
    "card 4111 1111 1111 1111, ", "from 81.2.69.142 ", "order 66, version 1.2.3 ", "[NAME_3] ", "\n", "Thanks, ",
    "{} lives in ",
    "875 peter road al 98541 ", "password: Tr0ub4dor&3x ", "and ", "(", ")", "the corner of Elm and Oak ",
    "Tel: +49 30 901820 ",
]  # fmt: skip
PEOPLE = ["Anna Schmidt", "mashuu samurakami", "O'Brien", "Ludwig van der Berg", "kevin", "Zoë", "Suknović"]


def jumble(seed: int) -> str:
    chance = random.Random(seed)
    return "".join(
        part.replace("{}", chance.choice(PEOPLE)) for part in chance.choices(PARTS, k=chance.randrange(1, 9))
    ).strip()


@pytest.mark.parametrize("seed", range(150))
def test_redacting_twice_changes_nothing(placing: Redactor, seed: int) -> None:
    once = placing.conversation(talk(jumble(seed), jumble(seed + 1000), jumble(seed + 2000)))
    again = placing.conversation(once.messages)
    assert again.messages == once.messages
    assert not again.findings


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(40))
def test_json_stays_json_and_only_strings_change(mode: Any, seed: int) -> None:
    chance = random.Random(seed)
    value = {
        "customer_name": chance.choice(PEOPLE),
        "notes": [jumble(seed), 'a "quoted" back\\slash', None, True],
        "total": 12.50,
        "nested": {"phone": "555-867-5309", "count": seed, "\u00fcber": jumble(seed + 7)},
    }
    written = json.dumps(value, indent=chance.choice([None, 2]), ensure_ascii=chance.choice([True, False]))
    redacted = Redactor(mode, KEY, Options()).conversation(talk("go on", written)).messages[1]["content"]
    read = json.loads(redacted)

    def shape(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: shape(entry) for key, entry in part.items()}
        if isinstance(part, list):
            return [shape(entry) for entry in part]
        return "text" if isinstance(part, str) else part

    assert shape(read) == shape(value)
    assert read["nested"]["phone"] != "555-867-5309"
    assert read["notes"][1] == value["notes"][1]  # type: ignore[index]
    plain = json.dumps({"a": "x"}, indent=2)
    assert Redactor(mode, KEY, Options()).text(plain) == plain


def test_prompt_and_json_answer_get_the_same(placing: Redactor) -> None:
    prompt, answer = texts(
        placing,
        "this is kevin oduya, policy number abx 876499739",
        '{"name":"kevin oduya","policy":"abx 876499739","n":1}',
    )
    assert prompt == "this is [NAME_1], policy number [ACCOUNT_1]"
    assert answer == '{"name":"[NAME_1]","policy":"[ACCOUNT_1]","n":1}'


def test_a_json_number_is_told_and_left(placing: Redactor) -> None:
    redacted = placing.conversation(talk("take it down", '{"ssn": 536904399}'))
    assert redacted.messages[1]["content"] == '{"ssn": 536904399}'
    assert [(finding.kind, finding.done, finding.replacement) for finding in redacted.findings] == [
        ("national_id", "left", "")
    ]


def test_what_is_no_json_is_taken_as_text() -> None:
    assert json_strings('{"a": 1') is None
    assert json_strings("[NAME_1]") is None
    assert json_strings('"text"') is None
    strings = json_strings('{"firstName": "A\\"b", "x": [1, "c"]}')
    assert strings is not None
    assert [(string.key, string.value, string.number) for string in strings] == [
        ("first name", 'A"b', False), ("x", "1", True), ("x", "c", False)
    ]  # fmt: skip


def test_surrogates_step_in_where_placeholders_break_the_answer(placing: Redactor) -> None:
    def fault(answer: str) -> str:
        return "" if "@" in json.loads(answer)["mail"] else "no e-mail"

    messages = talk("mine is jane@posteo.de", '{"mail": "jane@posteo.de"}')
    prompt, answer = (message["content"] for message in placing.conversation(messages, fault).messages)
    mail = json.loads(answer)["mail"]
    assert mail.endswith("@example.com")
    assert prompt == f"mine is {mail}"


def test_a_decision_keeps_a_place_or_a_value_everywhere() -> None:
    messages = talk("I am Anna Schmidt, not Pieter Visser", "Hello Anna Schmidt")
    findings = Redactor("placeholder", KEY, Options()).conversation(messages).findings
    anna, pieter = findings[0], findings[1]
    assert anna.value_id == findings[2].value_id != pieter.value_id
    kept = Redactor("placeholder", KEY, Options(), {anna.value_id: Decision("keep")}).conversation(messages)
    assert [message["content"] for message in kept.messages] == [
        "I am Anna Schmidt, not [NAME_1]",
        "Hello Anna Schmidt",
    ]
    assert [finding.done for finding in kept.findings] == ["keep", "redact", "keep"]
    one_place = Redactor("placeholder", KEY, Options(), {anna.id: Decision("keep")}).conversation(messages)
    assert one_place.messages[1]["content"] == "Hello [NAME_2]"


def test_a_finding_masks_its_value(placing: Redactor) -> None:
    findings = placing.conversation(
        talk("I am Anna Schmidt, ssn 536-90-4399, key AKIAIOSFODNN7EXAMPLF")
    ).findings
    assert [finding.masked for finding in findings] == ["A*** S******", "###-##-####", "************#*******"]
    assert all("value" not in finding.to_json() for finding in findings)
    assert findings[0].to_json(raw=True)["value"] == "Anna Schmidt"


def test_the_builders_own_system_prompt_is_no_data() -> None:
    redactor = Redactor("placeholder", KEY, Options(), own_system="You help the clients of Anna Schmidt.")
    messages = [
        {"role": "system", "content": "You help the clients of Anna Schmidt."},
        *talk("Hi, Anna Schmidt here", "Hello"),
    ]
    redacted = redactor.conversation(messages).messages
    assert redacted[0]["content"] == messages[0]["content"]
    assert redacted[1]["content"] == "Hi, [NAME_1] here"
