"""Each kind: what is found, what fails its check, and what looks like it and isn't."""

from __future__ import annotations

import pytest

from appliance.dataset.redaction import Options, Span, find
from appliance.dataset.redaction.spans import KINDS, resolve

EVERY = Options(kinds=frozenset(KINDS))


def found(text: str, before: str = "") -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in find(text, EVERY, before=before)]


FOUND = [
    ("email", "write to jane.doe+shop@mail.example.co.uk, please", "jane.doe+shop@mail.example.co.uk"),
    ("email", "write to jane dot doe at posteo dot de", "doe at posteo dot de"),
    ("email", "my email is janedoe 42 gmailcom", "janedoe 42 gmailcom"),
    ("phone", "Ring me on (020) 7946 0018 tonight", "(020) 7946 0018"),
    ("phone", "Tel: +49 30 901820", "+49 30 901820"),
    ("phone", "call 555-867-5309 now", "555-867-5309"),
    ("phone", "reach us under 01 42 68 53 00", "01 42 68 53 00"),
    ("card", "it was 4111 1111 1111 1111 I think", "4111 1111 1111 1111"),
    ("card", "charge 378282246310005 for it", "378282246310005"),
    ("card", "my credit card number is 4569874512564589", "4569874512564589"),
    ("iban", "pay into DE89 3704 0044 0532 0130 00 by Monday", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432", "GB82WEST12345698765432"),
    ("national_id", "SSN 536-90-4399", "536-90-4399"),
    ("national_id", "her NI number is AB 12 34 56 C", "AB 12 34 56 C"),
    ("national_id", "Steuer-ID 86095742719", "86095742719"),
    ("national_id", "numéro 2 55 08 14 168 025 38", "2 55 08 14 168 025 38"),
    ("national_id", "DNI 12345678Z", "12345678Z"),
    ("national_id", "codice fiscale RSSMRA85T10A562S", "RSSMRA85T10A562S"),
    ("national_id", "BSN 111222333", "111222333"),
    ("national_id", "PESEL 44051401359", "44051401359"),
    ("national_id", "personnummer 811218-9876", "811218-9876"),
    ("national_id", "henkilötunnus 131052-308T", "131052-308T"),
    ("national_id", "AHV 756.9217.0769.85", "756.9217.0769.85"),
    ("national_id", "CPF 529.982.247-25", "529.982.247-25"),
    ("national_id", "aadhaar 2341 2341 2346", "2341 2341 2346"),
    ("national_id", "my driver's license number is 5130634", "5130634"),
    ("national_id", "3972 this is my ssn", "3972"),
    ("account", "my account number is 09044163", "09044163"),
    ("account", "policy number abx 876499739", "abx 876499739"),
    ("ip", "from 81.2.69.142 again", "81.2.69.142"),
    ("ip", "via 2001:4860:4860::8888", "2001:4860:4860::8888"),
    ("mac", "card 00:1A:2B:3C:4D:5E is up", "00:1A:2B:3C:4D:5E"),
    ("secret", "key AKIAIOSFODNN7EXAMPLF is live", "AKIAIOSFODNN7EXAMPLF"),
    ("secret", "postgres://bob:s3cr3tpw@db.internal/x", "bob:s3cr3tpw"),
    ("secret", "api_key = 'q8Zr1LxT0vPw92mNbCdE'", "q8Zr1LxT0vPw92mNbCdE"),
    ("secret", "my password is hunter2!", "hunter2"),
    ("birth_date", "She was born on 10/23/1951 in May", "10/23/1951"),
    ("birth_date", "DOB: 3 March 1984", "3 March 1984"),
    ("address", "I live at 12 Main Street, Springfield, IL 62701.", "12 Main Street, Springfield, IL 62701"),
    ("address", "Sie wohnt in der Lindenstraße 14, 10969 Berlin", "Lindenstraße 14, 10969 Berlin"),
    ("address", "ship it to P.O. Box 912, Dover, DE 19903", "P.O. Box 912, Dover, DE 19903"),
    ("address", "Ann Lee\n12 Rue Victor Hugo\n69002 Lyon\nFrance", "12 Rue Victor Hugo\n69002 Lyon\nFrance"),
    ("address", "its 875 peter road al 98541", "875 peter road al 98541"),
    ("address", "ZIP: 3520", "3520"),
    ("name", "My name is Mashuu Samurakami.", "Mashuu Samurakami"),
    ("name", "Please ask Dr. Wells about it", "Wells"),
    ("name", "Kind regards,\nSofia Lindqvist", "Sofia Lindqvist"),
    ("name", "according to producer James Sparks it is", "James Sparks"),
    ("name", "hi this is kevin from sales", "kevin"),
    ("name", "the late Ludwig van der Berg wrote it", "Ludwig van der Berg"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "value"), FOUND, ids=[f"{k}-{v[:24]}" for k, _, v in FOUND])
def test_found(kind: str, text: str, value: str) -> None:
    assert (kind, value) in found(text)


NOT_FOUND = [
    "Order number 4532 1234 was shipped, invoice INV-2024-00173.",
    "Released 2024-01-05, fixed in version 1.2.3.4 and v10.0.0.1.",
    "It costs $1,234,567.89 or 12.345.678 EUR.",
    "See chapter 12, pages 100-150, and RFC 2606.",
    "Listening on 127.0.0.1:8080 with netmask 255.255.255.0.",
    "std::vector<int>::iterator at 10:30:45",
    "sha256 3f786850e387550fdab836ed7e6dc881de23001b",
    "password = None; token = os.environ['TOKEN']; secret: your_secret_here",
    "The password is incorrect.",
    "The meeting is on 12 March 2024, not on 11/03/2024.",
    "git@github.com:org/repo.git and lodash@4.17.21",
    "commit 1700000000 since 1999-2004",
    "Monday and Tuesday in January are quiet in Paris.",
    "The file name is Report and the product name is Aurora.",
    "We use Windows 10 and Python 3 in Terminal 5.",
    "Add 20 grams of sugar and stir for 5 minutes.",
    "GET STARTED NOW",
    "what is the status of my claim",
    "12 people answered 30 questions",
    "ff:ff:ff:ff:ff:ff",
    "isbn 978-3-16-148410-0",
]


@pytest.mark.parametrize("text", NOT_FOUND, ids=[text[:30] for text in NOT_FOUND])
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert found(text) == []


BROKEN = [
    ("card", "number 4111111111111112"),
    ("card", "0000000000000000"),
    ("iban", "DE88 3704 0044 0532 0130 00"),
    ("iban", "DE89 3704 0044 0532 0130"),
    ("national_id", "000-12-3456"),
    ("national_id", "666-12-3456"),
    ("national_id", "12345678A"),
    ("national_id", "RSSMRA85T10A562T"),
    ("national_id", "2 55 08 14 168 025 39"),
    ("national_id", "Steuer-ID 86095742718"),
    ("national_id", "BSN 111222334"),
    ("national_id", "PESEL 44051401358"),
    ("national_id", "756.9217.0769.84"),
    ("national_id", "529.982.247-26"),
    ("national_id", "131052-308U"),
    ("national_id", "BG 12 34 56 C"),
    ("ip", "256.1.2.3"),
]


@pytest.mark.parametrize(("kind", "text"), BROKEN, ids=[text for _, text in BROKEN])
def test_a_wrong_check_digit_is_none_of_its_kind(kind: str, text: str) -> None:
    assert kind not in {its for its, _ in found(text)}


def test_a_private_key_goes_as_a_whole() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIA9\nq1w2e3\n-----END EC PRIVATE KEY-----"
    assert found(f"here:\n{key}\nbye") == [("secret", key)]


def test_a_question_tells_what_its_answer_is() -> None:
    assert found("8541") == []
    assert found("8541", before="What are the last four digits of your SSN?") == [("national_id", "8541")]
    assert found("Tamina Okwu", before="May I have your name, please?") == [("name", "Tamina Okwu")]


def test_a_link_is_found_only_when_asked_for() -> None:
    text = "see https://www.example.org/x?y=1."
    assert find(text) == []
    assert found(text) == [("url", "https://www.example.org/x?y=1")]


def test_kinds_scores_and_what_is_allowed_are_obeyed() -> None:
    text = "Anna Schmidt, anna@example.org, support@example.org"
    assert [span.kind for span in find(text, Options(kinds=frozenset({"email"})))] == ["email", "email"]
    import re

    allowed = Options(
        allowed_values=frozenset({"anna schmidt"}), allowed_patterns=(re.compile(r"support@.*"),)
    )
    assert [text[span.start : span.end] for span in find(text, allowed)] == ["anna@example.org"]
    assert not find("hi this is kevin", Options(min_score=0.9))


def test_overlaps_lose_no_character() -> None:
    text = "0123456789abcdefghij"
    inner, outer, beside = (
        Span(2, 6, "ip", 0.9, ""),
        Span(0, 10, "address", 0.6, ""),
        Span(8, 14, "name", 0.5, ""),
    )
    spans = resolve([inner, outer, beside], text)
    assert spans == [outer, Span(10, 14, "name", 0.5, "")]
    unsure = Span(0, 10, "address", 0.4, "")
    assert {place for span in resolve([inner, unsure], text) for place in range(span.start, span.end)} == set(
        range(10)
    )


def test_placeholders_are_nobodys_and_join_no_name() -> None:
    assert found("[NAME_1] and [ADDRESS_12] met [EMAIL_3].") == []
    assert found("Dear [NAME_1],\nAnna Schmidt") == [("name", "Anna Schmidt")]
