"""Conversations as people store them: chats, ShareGPT, Alpaca, prompt and completion, preference pairs, with tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.dataset.reading import BadRow, Document, RawRow, Transcript
from tests.dataset.reading.conftest import Shelf, said

ASKED = {"role": "user", "content": "is P3 up?"}
ANSWERED = {"role": "assistant", "content": "yes"}
DENIED = {"role": "assistant", "content": "no"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "ping", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "content": "pong", "tool_call_id": "1"}


def one(shelf: Shelf, record: Any, **dataset: Any) -> RawRow:
    (row,) = shelf.all_of(RawRow, shelf.write("a.jsonl", [record]), **dataset)
    return row


def bad(shelf: Shelf, record: Any, **dataset: Any) -> BadRow:
    (row,) = shelf.all_of(BadRow, shelf.write("a.jsonl", [record]), **dataset)
    return row


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [ASKED, ANSWERED]},
        {"messages": [ASKED, ANSWERED], "tools": [{"type": "function", "function": {"name": "ping"}}]},
        {"conversations": [{"from": "human", "value": "is P3 up?"}, {"from": "gpt", "value": "yes"}]},
        {"conversation": [{"role": "user", "content": "is P3 up?"}, {"role": "assistant", "content": "yes"}]},
        {"dialogue": [{"speaker": "USER", "utterance": "is P3 up?"}, {"speaker": "SYSTEM", "utterance": "yes"}]},
        {"instruction": "is P3 up?", "input": "", "output": "yes"},
        {"prompt": "is P3 up?", "completion": "yes"},
        {"question": "is P3 up?", "answer": "yes"},
        {"input": "is P3 up?", "output": "yes"},
        {"query": "is P3 up?", "response": "yes"},
        {"User Question": "is P3 up?", "best_answer": "yes", "wrong_answer": "no", "id": 4},
        {"id": "q1", "title": "P3", "question": "is P3 up?", "answers": {"text": ["yes"], "answer_start": [3]}},
        [ASKED, ANSWERED],
        ["is P3 up?", "yes"],
    ],
    ids=lambda record: ",".join(record) if isinstance(record, dict) else "list",
)  # fmt: skip
def test_one_conversation_in_many_forms(shelf: Shelf, record: Any) -> None:
    expected = [("user", "is P3 up?"), ("assistant", "yes")]
    assert said(one(shelf, record)) == expected
    (row,) = shelf.all_of(RawRow, shelf.write("b.json", json.dumps([record], indent=1)))
    assert (said(row), row.line) == (expected, 2)


def test_system_history_context_and_input_come_along(shelf: Shelf) -> None:
    row = one(
        shelf,
        {
            "system": "be brief",
            "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
        },
    )
    assert said(row) == [("system", "be brief"), ("user", "a"), ("assistant", "b")]
    row = one(shelf, {"instruction": "sum", "input": "1 2", "output": "3", "history": [["hi", "hello"]]})
    assert said(row) == [("user", "hi"), ("assistant", "hello"), ("user", "sum\n\n1 2"), ("assistant", "3")]
    row = one(shelf, {"context": "P3 is down.", "question": "is P3 up?", "answer": "no"})
    assert said(row)[0] == ("user", "P3 is down.\n\nis P3 up?")
    row = one(shelf, {"messages": [{"role": "developer", "content": "be brief"}, ASKED, ANSWERED]})
    assert said(row)[0] == ("system", "be brief")


def test_an_answer_that_is_an_object_is_its_json(shelf: Shelf) -> None:
    row = one(shelf, {"prompt": "P3?", "completion": {"unit": "P3", "note": "läuft"}})
    assert said(row)[1] == ("assistant", '{"unit": "P3", "note": "läuft"}')


def test_groups(shelf: Shelf) -> None:
    assert one(shelf, {"messages": [ASKED, ANSWERED], "group": 7}).group == "7"
    assert one(shelf, {"prompt": "a", "completion": "b", "doc": "m1"}, group_column="doc").group == "m1"


def test_columns_that_are_told_and_a_template(shelf: Shelf) -> None:
    record = {"report": "P3 is down", "team": "red", "kind": "fault", "ship": "Ada"}
    assert bad(shelf, record).kind == "columns"
    row = one(shelf, record, prompt_column="report", answer_column="kind", prompt_template="{ship}: {prompt}")
    assert said(row) == [("user", "Ada: P3 is down"), ("assistant", "fault")]


def test_a_conversation_ends_before_its_first_tool_call(shelf: Shelf) -> None:
    row = one(shelf, {"messages": [ASKED, ANSWERED, ASKED, CALL, RESULT, ANSWERED], "tools": []})
    assert said(row) == [("user", "is P3 up?"), ("assistant", "yes")]
    assert row.cuts == (("tool-call", "ends before turn 4, a tool call"),)
    reason = bad(shelf, {"messages": [ASKED, CALL, RESULT, ANSWERED]})
    assert (reason.kind, reason.reason.split(",")[0]) == ("tool-call", "turn 2: a tool call")
    assert 'dataset.tools = "text"' in reason.reason
    greeted = {"messages": [{"role": "assistant", "content": "hello"}, ASKED, CALL, RESULT, ANSWERED]}
    assert bad(shelf, greeted).kind == "tool-call"
    calls = [
        {"from": "human", "value": "a"},
        {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "x"},
    ]
    assert bad(shelf, {"conversations": [*calls, {"from": "gpt", "value": "b"}]}).kind == "tool-call"


def test_answers_that_are_marked_as_not_wanted(shelf: Shelf) -> None:
    assert bad(shelf, {"messages": [ASKED, {**ANSWERED, "weight": 0}]}).kind == "weight"
    assert said(one(shelf, {"messages": [ASKED, {**ANSWERED, "weight": 1}]}))[1][1] == "yes"
    rows = [
        {"prompt": "a", "completion": "good", "label": True},
        {"prompt": "b", "completion": "bad", "label": False},
    ]
    good, refused = shelf.read(shelf.write("kto.jsonl", rows))
    assert isinstance(good, RawRow) and said(good)[1][1] == "good"
    assert isinstance(refused, BadRow) and refused.kind == "unwanted"


HH = "\n\nHuman: is P3 up?\n\nAssistant: let me see\n\nHuman: well?\n\nAssistant: "


@pytest.mark.parametrize(
    ("record", "turns"),
    [
        ({"prompt": "is P3 up?", "chosen": "yes", "rejected": "no"}, 2),
        ({"question": "is P3 up?", "chosen": "yes", "rejected": "no", "system": "be brief"}, 3),
        ({"prompt": [ASKED], "chosen": "yes", "rejected": "no"}, 2),
        ({"prompt": [ASKED], "chosen": [ANSWERED], "rejected": [DENIED]}, 2),
        ({"prompt": "is P3 up?", "chosen": [ASKED, ANSWERED], "rejected": [ASKED, DENIED]}, 2),
        ({"chosen": HH + "yes", "rejected": HH + "no"}, 4),
        ({"prompt": "p", "response_0": "no", "response_1": "yes", "better_response_id": 1}, 2),
        ({"prompt": "p", "answer_a": "yes", "answer_b": "no", "winner": "model_a"}, 2),
        ({"conversations": [{"from": "human", "value": "p"}], "chosen": ANSWERED, "rejected": DENIED}, 2),
    ],
)  # fmt: skip
def test_preference_pairs(shelf: Shelf, record: dict[str, Any], turns: int) -> None:
    row = one(shelf, record)
    assert len(row.messages) == turns
    assert said(row)[-1] == ("assistant", "yes")
    assert row.rejected == "no"


@pytest.mark.parametrize(
    ("record", "kind", "reason"),
    [
        ({"prompt": "p", "response_a": "x", "response_b": "y"}, "unlabeled-pair", "nothing says which is better"),
        ({"prompt": "p", "answer_a": "x", "answer_b": "y", "winner": "tie"}, "unlabeled-pair", "`winner` is 'tie'"),
        ({"prompt": "p", "output_1": "x", "output_2": "y", "better": None}, "unlabeled-pair", "`better`"),
        ({"prompt": "p", "chosen": "x", "rejected": "x "}, "pair", "the same answer"),
        ({"chosen": "x", "rejected": "y"}, "pair", "without a prompt"),
        ({"chosen": HH + "x", "rejected": HH.replace("well", "so") + "y"}, "pair", "differ before their last turn"),
        ({"prompt": "p", "chosen": 4, "rejected": "y"}, "pair", "int"),
    ],
)  # fmt: skip
def test_pairs_that_teach_nothing_are_named(shelf: Shelf, record: Any, kind: str, reason: str) -> None:
    found = bad(shelf, record)
    assert found.kind == kind and reason in found.reason


def test_odd_rows_of_a_file_are_read_for_what_they_are_or_named(shelf: Shelf) -> None:
    rows = [{"messages": [ASKED, ANSWERED]}] * 9
    path = shelf.write(
        "a.jsonl", [*rows, {"instruction": "a", "input": "", "output": "b"}, {"foo": 1}, "text"]
    )
    things = shelf.read(path)
    assert isinstance(things[9], RawRow) and said(things[9]) == [("user", "a"), ("assistant", "b")]
    assert [(one.line, one.kind) for one in things[10:] if isinstance(one, BadRow)] == [
        (11, "messages"),
        (12, "messages"),
    ]


@pytest.mark.parametrize(
    ("record", "kind", "reason"),
    [
        ({"question": "q", "choices": ["a", "b"], "label": 1}, "multiple-choice", "multiple-choice"),
        ({"prompt": "p"}, "columns", "among 'prompt'"),
        ({"a": 1, "b": [2]}, "columns", "among 'a', 'b'"),
    ],
)
def test_objects_that_are_no_rows(shelf: Shelf, record: Any, kind: str, reason: str) -> None:
    found = bad(shelf, record)
    assert (found.line, found.kind) == (0, kind) and reason in found.reason


def test_people_with_names_are_a_transcript(shelf: Shelf) -> None:
    turns = [
        {"speaker": "Ada", "text": "is P3 up?"},
        {"speaker": "Bo", "text": "no"},
        {"speaker": "Ada", "text": "why?"},
    ]
    (found,) = shelf.all_of(Transcript, shelf.write("a.jsonl", [{"id": "t1", "turns": turns}]))
    assert (found.name, [(turn.speaker, turn.text) for turn in found.turns][1]) == ("t1", ("Bo", "no"))


def test_texts_alone_are_documents(shelf: Shelf) -> None:
    (found,) = shelf.all_of(
        Document, shelf.write("a.jsonl", [{"title": "Pumps", "text": "One.\n\nTwo.", "id": 3}])
    )
    assert (found.title, [block.text for block in found.blocks]) == ("Pumps", ["One.", "Two."])


@pytest.mark.parametrize(
    ("told", "fault"),
    [("alpaca", "no alpaca"), ("csv", ""), ("pdf", "doesn't begin as pdf does"), ("skip", "left out")],
)
def test_a_format_that_is_told_is_taken_at_its_word(shelf: Shelf, told: str, fault: str) -> None:
    path = shelf.write("data/a.jsonl", [{"messages": [ASKED, ANSWERED]}])
    found = shelf.detect(path, formats={"data/*.jsonl": told})
    if fault:
        assert not found.is_read and fault in found.refusal
    else:
        assert found.container == "table" and found.told


def test_a_telling_format_chooses_among_two_readings(shelf: Shelf) -> None:
    record = {"instruction": "i", "input": "x", "output": "o", "messages": [ASKED, ANSWERED]}
    path = shelf.write("a.jsonl", [record])
    (plain,) = shelf.all_of(RawRow, path)
    assert said(plain)[0][1] == "is P3 up?"
    (told,) = shelf.all_of(RawRow, path, formats={"*.jsonl": "alpaca"})
    assert said(told) == [("user", "i\n\nx"), ("assistant", "o")]


def test_a_file_of_two_shapes_half_and_half_is_read_row_by_row(shelf: Shelf) -> None:
    chat = {"messages": [{"role": "user", "content": "q1"}, {"role": "assistant", "content": "a1"}]}
    pair = {"prompt": "q2", "chosen": "good", "rejected": "bad"}
    for rows in ([chat, pair], [pair, chat], [chat, pair, pair, chat]):
        read = shelf.all_of(RawRow, shelf.write("mixed.jsonl", rows))
        assert sorted(row.rejected for row in read) == sorted(str(row.get("rejected", "")) for row in rows)
