"""Several answers to one question: the best is learnt where something says which it is, and none where nothing does."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.dataset.reading import BadRow, RawRow
from tests.dataset.reading.conftest import Shelf, said

THREE = ["poor", "best", "worst"]


def rated(text_key: str = "response", **fields: list[Any]) -> list[dict[str, Any]]:
    """The three answers as objects, each with one value of every field."""
    return [
        {text_key: text, **{name: values[place] for name, values in fields.items()}}
        for place, text in enumerate(THREE)
    ]


@pytest.mark.parametrize(
    ("fields", "rejected", "told"),
    [
        ({"responses": THREE, "scores": [2, 3.5, 1]}, "worst", "`scores`"),
        ({"responses": THREE, "gpt4_scores": ["2", "3.5", "1"]}, "worst", "`gpt4_scores`"),
        ({"completions": THREE, "rewards": [0, 9, -1]}, "worst", "`rewards`"),
        ({"completions": THREE, "ranks": [2, 1, 3]}, "worst", "`ranks`"),
        ({"answers": THREE, "ranking": [1, 0, 2]}, "worst", "`ranking`"),
        ({"answers": THREE, "ranking": [2, 1, 2]}, "poor", "`ranking`"),
        ({"answers": THREE, "best": 1}, "", "`best`"),
        ({"answers": THREE, "best_answer": "best"}, "", "`best_answer`"),
        ({"answers": THREE, "selected": [False, True, False]}, "", "`selected`"),
        ({"responses": THREE, "scores": [2, 3, 1], "score": 7}, "worst", "`scores`"),
        ({"completions": rated(overall_score=[2.0, 8.5, 1.0], model=THREE)}, "worst", "`overall_score` of each"),
        ({"completions": rated(**{"fine-grained_score": [2.0, 8.5, 1.0]})}, "worst", "`fine-grained_score` of each"),
        ({"answers": rated("answer", rank=[2.0, 1.0, 3.0])}, "worst", "`rank` of each"),
        ({"answers": rated("text", pm_score=[2, 9, 0])}, "worst", "`pm_score` of each"),
        ({"answers": rated(is_accepted=[False, True, False])}, "", "`is_accepted` of each"),
    ],
)  # fmt: skip
def test_the_best_is_learnt_and_the_worst_rejected(
    shelf: Shelf, fields: dict[str, Any], rejected: str, told: str
) -> None:
    path = shelf.write("a.jsonl", [{"prompt": f"is P{number} up?", **fields} for number in range(3)])
    by = f"the {told}" if told.endswith("of each") else told
    assert shelf.detect(path).evidence.endswith(f"; of several answers a row the best by {by} is learnt")
    row, *_ = shelf.all_of(RawRow, path)
    assert said(row) == [("user", "is P0 up?"), ("assistant", "best")]
    assert row.rejected == rejected


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"responses": THREE}, "nothing says"),
        ({"responses": THREE, "score": 4}, "nothing says"),
        ({"responses": THREE, "scores": [1, 2]}, "`scores` doesn't say"),
        ({"responses": THREE, "scores": [1, None, 2]}, "`scores` doesn't say"),
        ({"responses": THREE, "scores": [1, float("nan"), 2]}, "`scores` doesn't say"),
        ({"responses": THREE, "scores": [5, 5, 5]}, "`scores` doesn't say"),
        ({"responses": THREE, "scores": [1, 2, 0], "ratings": [2, 1, 0]}, "`scores`, `ratings` doesn't say"),
        ({"responses": THREE, "ranking": [2, 0, 1]}, "`ranking` doesn't say"),
        ({"answers": THREE, "best": 7}, "`best` doesn't say"),
        ({"answers": THREE, "best": None}, "`best` doesn't say"),
        ({"answers": THREE, "best": [True, True, False]}, "`best` doesn't say"),
        ({"answers": rated()}, "nothing says"),
        ({"answers": rated(is_accepted=[False, False, False])}, "`is_accepted` doesn't say"),
    ],
)
def test_nothing_is_guessed(shelf: Shelf, fields: dict[str, Any], why: str) -> None:
    path = shelf.write("a.jsonl", [{"question": f"is P{number} up?", **fields} for number in range(3)])
    for row in shelf.all_of(BadRow, path):
        assert row.kind == "unlabeled-pair"
        assert f"holds 3 answers, and {why} which is the best" in row.reason


def test_answers_numbered_from_one_are_told_by_the_file(shelf: Shelf) -> None:
    """One row names the third of three, none the 0th: so 1 is the first in all of them."""
    rows = [
        {"prompt": f"P{number}?", "answers": THREE, "best": best} for number, best in enumerate((2, 3, 1))
    ]
    read = shelf.all_of(RawRow, shelf.write("a.jsonl", rows))
    assert [said(row)[1][1] for row in read] == ["best", "worst", "poor"]
    mixed = [*rows, {"prompt": "P4?", "answers": THREE, "best": 0}]
    read_mixed = shelf.read(shelf.write("b.jsonl", mixed))
    assert [isinstance(row, RawRow) for row in read_mixed] == [True, False, True, True]
    assert [said(row)[1][1] for row in read_mixed if isinstance(row, RawRow)] == ["worst", "best", "poor"]


def test_alpaca_has_several_outputs_too(shelf: Shelf) -> None:
    record = {"instruction": "say it", "input": "", "output": ["poor", "best"], "scores": [0, 1]}
    (row,) = shelf.all_of(RawRow, shelf.write("a.jsonl", [record]))
    assert (said(row)[1][1], row.rejected) == ("best", "poor")
    del record["scores"]
    (bad,) = shelf.all_of(BadRow, shelf.write("b.jsonl", [record]))
    assert bad.kind == "unlabeled-pair"


@pytest.mark.parametrize(
    ("answer", "learnt"),
    [
        (["yes"], "yes"),
        (["yes", "yes"], "yes"),
        ({"text": ["yes", "it is"], "answer_start": [3, 9]}, "yes"),
        ([{"text": "yes", "answer_start": 3}, {"text": "it is", "answer_start": 9}], "yes"),
        ([{"response": "yes"}], "yes"),
        ([{"unit": "P3"}, {"unit": "P4"}], '[{"unit": "P3"}, {"unit": "P4"}]'),
        ([1, 2], "[1, 2]"),
    ],
)  # fmt: skip
def test_one_answer_stays_one(shelf: Shelf, answer: Any, learnt: str) -> None:
    path = shelf.write("a.jsonl", [{"question": f"P{number}?", "answers": answer} for number in range(3)])
    assert "several" not in shelf.detect(path).evidence
    assert said(shelf.all_of(RawRow, path)[0])[1] == ("assistant", learnt)


def test_labels_are_all_learnt_and_passages_all_read(shelf: Shelf) -> None:
    rows = [{"text": "P3 leaks oil", "labels": ["leak", "oil"]}, {"text": "P3 is loud", "labels": ["noise"]}]
    read = shelf.all_of(RawRow, shelf.write("a.jsonl", rows))
    assert [said(row)[1][1] for row in read] == ["leak, oil", "noise"]
    record = {"context": ["P3 runs.", "P4 stands."], "question": "is P4 up?", "answer": "no"}
    (row,) = shelf.all_of(RawRow, shelf.write("b.jsonl", [record]))
    assert said(row)[0][1] == "P3 runs.\n\nP4 stands.\n\nis P4 up?"
    (bad,) = shelf.all_of(
        BadRow, shelf.write("c.jsonl", [{"prompt": ["is P3 up?", "P3?"], "completion": "yes"}])
    )
    assert (bad.kind, bad.reason[:23]) == ("content", "`prompt` holds 2 texts:")


def test_prompt_and_completion_as_turns(shelf: Shelf) -> None:
    asked, answered = {"role": "user", "content": "is P3 up?"}, {"role": "assistant", "content": "yes"}
    system = {"role": "system", "content": "be brief"}
    record: dict[str, Any] = {"prompt": [system, asked], "completion": [answered]}
    (row,) = shelf.all_of(RawRow, shelf.write("a.jsonl", [record]))
    assert said(row) == [("system", "be brief"), ("user", "is P3 up?"), ("assistant", "yes")]
    (row,) = shelf.all_of(RawRow, shelf.write("b.jsonl", [{"prompt": "is P3 up?", "completion": [answered]}]))
    assert said(row) == [("user", "is P3 up?"), ("assistant", "yes")]
    (bad,) = shelf.all_of(BadRow, shelf.write("c.jsonl", [{"prompt": [{"a": 1}], "completion": [answered]}]))
    assert bad.kind == "messages"
