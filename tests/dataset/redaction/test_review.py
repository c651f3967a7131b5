"""The review: decisions on the disk at once, undone, resumed, and followed by the next preparing."""

from __future__ import annotations

import json
import stat

import pytest

from appliance.dataset import read_rows
from appliance.dataset.browsing import Review, find_row
from appliance.dataset.browsing.finding_place import place_of_finding
from appliance.dataset.browsing.review import Value
from appliance.dataset.redaction import redaction_inputs
from appliance.dataset.redaction.decisions import Decision
from appliance.errors import DataError
from tests.dataset.conftest import Bench
from tests.dataset.redaction.test_prepare_redacted import report, rows, written


@pytest.fixture
def reviewed(bench: Bench) -> Bench:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    bench.write("a.jsonl", rows(12).replace("please.", "please: grubbel is away."))
    bench.prepare()
    return bench


def value_of(review: Review, kind: str, masked: str = "") -> Value:
    for value in review.values:
        findings, at = review.finding(value, 0)
        if value.kind == kind and (not masked or findings[at]["masked"] == masked):
            return value
    raise AssertionError(f"no {kind} {masked}")


def test_values_are_counted_with_all_their_places_the_least_sure_first(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    assert review.kinds == {"email": 12, "name": 6}
    assert sum(len(value) for value in review.values) == len(report(reviewed)) == 48
    assert [value.score for value in review.values] == sorted(value.score for value in review.values)
    for value in review.values:
        for place in range(len(value)):
            findings, at = review.finding(value, place)
            assert findings[at]["value_id"] == value.id and findings[at]["id"] == value.place_id(place)
            assert len({line["row"] for line in findings}) == 1 and len(findings) == 4


def test_every_place_is_found_again_in_the_redacted_row(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    for value in review.values:
        for place in range(len(value)):
            findings, at = review.finding(value, place)
            found = find_row(reviewed.project.dataset, findings[at]["row"])
            assert found is not None
            where = place_of_finding(found[1], findings, at)
            assert where.text[where.start : where.end] == findings[at]["replacement"]
            assert where.role == ("user" if findings[at]["turn"] == 1 else "assistant")
            if findings[at]["turn"] == 1:
                before = "My name is " if value.kind == "name" else "write to "
                assert where.text[: where.start].endswith(before)


def test_a_kept_value_is_shown_where_it_stands(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    review.decide(value_of(review, "name", "A*** S******").id, Decision("keep"))
    reviewed.prepare()
    review = Review(reviewed.project)
    value = value_of(review, "name", "A*** S******")
    findings, at = review.finding(value, 0)
    found = find_row(reviewed.project.dataset, findings[at]["row"])
    assert found is not None
    where = place_of_finding(found[1], findings, at)
    assert where.text[where.start : where.end] == "Anna Schmidt"


def test_decisions_are_on_the_disk_at_once_and_a_new_review_goes_on(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    first, second = review.values[:2]
    assert review.next_open(-1) == 0 and review.progress() == (0, 18) and review.pending() == 0
    review.decide(first.id, Decision("redact"))
    path = reviewed.project.redaction_decisions
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"id": first.id, "decision": "redact"}
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = Review(reviewed.project)
    assert again.next_open(-1) == 1 and again.progress() == (1, 18) and again.progress(first.kind)[0] == 1
    assert again.pending() == 0  # it is what was done anyhow
    again.decide(second.id, Decision("keep"))
    assert again.pending() == 1
    reviewed.prepare()
    after = Review(reviewed.project)
    assert after.pending() == 0 and after.progress() == (2, 18)
    assert [value.id for value in after.values if not after.is_decided(value)] == [
        v.id for v in review.values[2:]
    ]


def test_undo_takes_back_one_by_one_and_leaves_what_others_wrote(reviewed: Bench) -> None:
    path = reviewed.project.redaction_decisions
    theirs = {"id": "0" * 16, "decision": "keep"}
    path.write_text(json.dumps(theirs) + "\n")
    review = Review(reviewed.project)
    value = review.values[0]
    review.decide(value.id, Decision("redact"))
    review.decide(value.id, Decision("keep"))
    by_hand = {"id": "1" * 16, "decision": "redact"}
    with path.open("a") as stream:
        stream.write(json.dumps(by_hand) + "\n")
    review.mark_missed("grubbel", "name")
    assert review.undo() == "grubbel" and reviewed.project.redaction_missed.read_text() == ""
    assert review.undo() == value.id and review.decisions[value.id] == Decision("redact")
    assert review.undo() == value.id and review.undo() == ""
    assert [json.loads(line) for line in path.read_text().splitlines()] == [theirs, by_hand]


def test_a_place_goes_before_its_value(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    value = value_of(review, "name", "A*** S******")
    assert len(value) == 4
    review.decide(value.place_id(0), Decision("keep"))
    assert not review.is_decided(value) and review.pending() == 1
    card = reviewed.prepare()
    assert card.redactions["kept"] == 1
    review = Review(reviewed.project)
    for place in range(4):
        review.decide(value_of(review, "name", "A*** S******").place_id(place), Decision("keep"))
    assert review.is_decided(value_of(review, "name", "A*** S******")) and review.pending() == 3


def test_a_wrong_kind_is_put_right_at_the_next_preparing(reviewed: Bench) -> None:
    review = Review(reviewed.project)
    value = value_of(review, "name", "A*** S******")
    review.decide(value.id, Decision("redact", "account"))
    assert review.pending() == 1
    card = reviewed.prepare()
    assert card.redactions["found"] == {"account": 4, "email": 24, "name": 20}
    assert "My name is [ACCOUNT_1]" in written(reviewed) and "Anna Schmidt" not in written(reviewed)
    review = Review(reviewed.project)
    assert review.pending() == 0 and any(
        found.id == value.id and found.kind == "account" for found in review.values
    )


def test_what_was_missed_is_found_everywhere_at_the_next_preparing(reviewed: Bench) -> None:
    assert "grubbel" in written(reviewed)
    before = redaction_inputs(reviewed.project)
    review = Review(reviewed.project)
    review.mark_missed("grubbel", "url")  # a kind that isn't looked for otherwise
    assert review.pending() == 1 and redaction_inputs(reviewed.project) != before
    assert stat.S_IMODE(reviewed.project.redaction_missed.stat().st_mode) == 0o600
    card = reviewed.prepare()
    assert "grubbel" not in written(reviewed)
    assert card.redactions["found"]["url"] == 12
    assert {line["why"] for line in report(reviewed) if line["kind"] == "url"} == {
        "a person marked it as missed"
    }
    assert Review(reviewed.project).pending() == 0


def test_a_missed_value_is_a_word_of_its_own_and_letter_by_letter(bench: Bench) -> None:
    bench.configure('[dataset.redact]\nmode = "placeholder"\n')
    lines = [
        {"prompt": f"Grubbel {n * 7919}, grubbeling, grubbel. grub.bel, {n * n}", "completion": f"{n * 31}"}
        for n in range(30)
    ]
    bench.write("a.jsonl", "\n".join(map(json.dumps, lines)) + "\n")
    bench.project.redaction_missed.write_text(json.dumps({"value": "grubbel", "kind": "name"}) + "\n")
    bench.prepare()
    for row in read_rows(bench.project.dataset / "train.jsonl"):
        assert (
            "Grubbel " in row.messages[0]["content"]
            and ", grubbeling, [NAME_1]. grub.bel" in row.messages[0]["content"]
        )


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("redaction-decisions.jsonl", '{"id": "0123456789abcdef", "decision": "keep", "kind": "name"}'),
        ("redaction-decisions.jsonl", '{"id": "0123456789abcdef", "decision": "redact", "kind": "nickname"}'),
        ("redaction-decisions.jsonl", "[]"),
        ("redaction-missed.jsonl", '{"value": " ", "kind": "name"}'),
        ("redaction-missed.jsonl", '{"value": "x", "kind": "nickname"}'),
        ("redaction-missed.jsonl", "{"),
    ],
)
def test_a_broken_line_is_named(reviewed: Bench, name: str, line: str) -> None:
    (reviewed.root / name).write_text("\n" + line + "\n")
    with pytest.raises(DataError, match=rf"{name}:2: no "):
        reviewed.prepare()
    with pytest.raises(DataError, match=rf"{name}:2: no "):
        Review(reviewed.project)


def test_there_is_nothing_to_review_without_redaction(bench: Bench) -> None:
    bench.write("a.jsonl", rows(12))
    bench.prepare()
    with pytest.raises(DataError, match=r"redactions\.jsonl: no such file") as caught:
        Review(bench.project)
    assert "[dataset.redact]" in caught.value.hint
