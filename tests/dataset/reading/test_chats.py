"""Chats as people have them: begun by the assistant, ended by thanks, in pieces, with tools."""

from __future__ import annotations

import json
from typing import Any

import pytest

from appliance.chat_template import render
from appliance.dataset.cleaning import clean_messages
from appliance.dataset.reading import BadRow, RawRow
from appliance.serving.gateway.chat_request import RequestError, parse
from tests.dataset.reading.conftest import Shelf, said

ASKED = {"role": "user", "content": "is P3 up?"}
ANSWERED = {"role": "assistant", "content": "yes"}
SYSTEM = {"role": "system", "content": "be brief"}
GREETING = {"role": "assistant", "content": "Hello, how can I help?"}
THANKS = {"role": "user", "content": "thanks, bye"}
PLAIN = [("user", "is P3 up?"), ("assistant", "yes")]


def one(shelf: Shelf, record: Any, **dataset: Any) -> RawRow:
    (row,) = shelf.all_of(RawRow, shelf.write("a.jsonl", [record]), **dataset)
    return row


def bad(shelf: Shelf, record: Any, **dataset: Any) -> BadRow:
    (row,) = shelf.all_of(BadRow, shelf.write("a.jsonl", [record]), **dataset)
    return row


@pytest.mark.parametrize(
    ("turns", "expected", "kinds"),
    [
        ([GREETING, ASKED, ANSWERED], PLAIN, ["beginning"]),
        ([SYSTEM, GREETING, ASKED, ANSWERED], [("system", "be brief"), *PLAIN], ["beginning"]),
        ([ASKED, ANSWERED, THANKS], PLAIN, ["ending"]),
        (
            [ASKED, {"role": "user", "content": "hello?"}, ANSWERED],
            [("user", "is P3 up?\nhello?"), ("assistant", "yes")],
            ["merged"],
        ),
        ([ASKED, ASKED, ANSWERED], PLAIN, ["merged"]),
        ([ASKED, {"role": "user", "content": " "}, ANSWERED], PLAIN, ["merged"]),
        (
            [GREETING, ASKED, ANSWERED, {"role": "assistant", "content": "since noon"}, THANKS],
            [("user", "is P3 up?"), ("assistant", "yes\nsince noon")],
            ["beginning", "ending", "merged"],
        ),
    ],
)
def test_chats_are_trimmed_and_merged_as_transcripts_are(
    shelf: Shelf, turns: list[Any], expected: list[Any], kinds: list[str]
) -> None:
    row = one(shelf, {"messages": turns})
    assert said(row) == expected
    assert [kind for kind, _ in row.cuts] == kinds
    sharegpt = [{"from": turn["role"], "value": turn["content"]} for turn in turns]
    assert said(one(shelf, {"conversations": sharegpt})) == expected
    assert said(one(shelf, turns)) == expected
    clean_messages(row.messages)


def test_a_cut_says_what_went(shelf: Shelf) -> None:
    cuts = one(shelf, {"messages": [GREETING, ASKED, ASKED, ANSWERED, THANKS]}).cuts
    assert [text for _, text in cuts] == [
        "1 assistant turn before the first question: “Hello, how can I help?”",
        "1 user turn after the last answer: “thanks, bye”",
        "1 turn put to the one before, of the same side: “is P3 up?”",
    ]


@pytest.mark.parametrize(
    "turns",
    [
        [ASKED],
        [GREETING],
        [GREETING, ASKED],
        [SYSTEM],
        [ASKED, SYSTEM, ANSWERED, THANKS],
        [GREETING, ASKED, {"role": "assistant", "content": ""}],
        [GREETING, {"role": "robot", "content": "x"}, ASKED, ANSWERED],
        [GREETING, ASKED, {"role": "assistant", "content": 7}],
        [GREETING, {"role": "user", "content": [{"type": "image_url"}]}, ANSWERED],
        [SYSTEM, {"role": "user", "content": [{"type": "text", "text": " is "}]}, ANSWERED],
        [ASKED, ANSWERED, ASKED, ANSWERED],
    ],
)  # fmt: skip
def test_what_is_in_order_or_cannot_be_put_in_order_stays_as_it_is(shelf: Shelf, turns: list[Any]) -> None:
    row = one(shelf, {"messages": turns})
    assert row.messages == turns and not row.cuts


def test_sides_of_a_pair_are_put_in_order_alike(shelf: Shelf) -> None:
    denied = {"role": "assistant", "content": "no"}
    row = one(shelf, {"chosen": [GREETING, ASKED, ANSWERED, THANKS], "rejected": [GREETING, ASKED, denied]})
    assert (said(row), row.rejected) == (PLAIN, "no")
    assert [kind for kind, _ in row.cuts] == ["beginning", "ending"]


# Tools

PING = {
    "name": "ping",
    "description": "Is a unit up?",
    "parameters": {"type": "object", "properties": {"unit": {}}},
}
TOOL = {"type": "function", "function": PING}
CALLED = '<tool_call>\n{"name": "ping", "arguments": {"unit": "P3, läuft"}}\n</tool_call>'
ANSWER_OF_TOOL = "<tool_response>\npong\n</tool_response>"
ARGUMENTS = json.dumps({"unit": "P3, läuft"})
CALL = {"name": "ping", "arguments": ARGUMENTS}
RESULT = {"role": "tool", "content": "pong", "tool_call_id": "1"}


def openai(*calls: dict[str, Any], said: str | None = None) -> dict[str, Any]:
    listed = [{"id": str(n), "type": "function", "function": call} for n, call in enumerate(calls, start=1)]
    return {"role": "assistant", "content": said, "tool_calls": listed}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [ASKED, openai(CALL), RESULT, ANSWERED], "tools": [TOOL]},
        {"messages": [ASKED, openai(CALL), RESULT, ANSWERED, THANKS], "tools": json.dumps([TOOL])},
        {
            "messages": [
                ASKED,
                {"role": "assistant", "content": None, "function_call": CALL},
                {"role": "function", "name": "ping", "content": "pong"},
                ANSWERED,
            ],
            "functions": [PING],
        },
        {
            "conversations": [
                {"from": "human", "value": "is P3 up?"},
                {"from": "function_call", "value": json.dumps({"name": "ping", "arguments": {"unit": "P3, läuft"}})},
                {"from": "observation", "value": "pong"},
                {"from": "gpt", "value": "yes"},
            ],
            "tools": json.dumps([PING]),
        },
        {
            "conversations": [
                {"from": "human", "value": "is P3 up?"},
                {"from": "gpt", "value": CALLED},
                {"from": "tool", "value": ANSWER_OF_TOOL},
                {"from": "gpt", "value": "yes"},
            ],
            "tools": json.dumps([TOOL]),
        },
    ],
    ids=["openai", "openai as text", "functions", "sharegpt", "hermes"],
)  # fmt: skip
def test_tools_are_written_in_one_form_whatever_the_dialect(shelf: Shelf, record: Any) -> None:
    row = one(shelf, record, tools="text")
    (role, system), *turns = said(row)
    assert turns == [
        ("user", "is P3 up?"),
        ("assistant", CALLED),
        ("user", ANSWER_OF_TOOL),
        ("assistant", "yes"),
    ]
    assert role == "system" and f"<tools>\n{json.dumps(TOOL)}\n</tools>" in system
    clean_messages(row.messages)


def test_what_was_said_beside_calls_and_several_results_stay(shelf: Shelf) -> None:
    calls = openai(CALL, {"name": "now", "arguments": ""}, said="Let me see.")
    late = [{**RESULT, "tool_call_id": "2", "content": "noon"}, RESULT]
    row = one(shelf, {"messages": [SYSTEM, ASKED, calls, *late, ANSWERED], "tools": [TOOL]}, tools="text")
    now = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
    system, *turns = said(row)
    assert system[1].startswith("be brief\n\n# Tools\n\nYou may call one or more functions")
    assert turns[1:3] == [
        ("assistant", f"Let me see.\n{CALLED}\n{now}"),
        ("user", f"{ANSWER_OF_TOOL}\n<tool_response>\nnoon\n</tool_response>"),
    ]
    assert not row.cuts


def test_the_projects_system_prompt_stands_before_the_tools(shelf: Shelf) -> None:
    row = one(shelf, {"messages": [ASKED, ANSWERED], "tools": [TOOL]}, tools="text", system="be polite")
    assert said(row)[0][1].startswith("be polite\n\n# Tools\n")
    plain = one(shelf, {"messages": [ASKED, ANSWERED], "tools": []}, tools="text", system="be polite")
    assert said(plain) == PLAIN
    told = {"role": "system", "content": "You have <tools>[]</tools>"}
    row = one(shelf, {"messages": [told, ASKED, ANSWERED], "tools": [TOOL]}, tools="text")
    assert said(row)[0][1] == told["content"]


@pytest.mark.parametrize(
    ("record", "kind", "reason"),
    [
        ({"messages": [ASKED, openai({"arguments": "{}"}), RESULT, ANSWERED]}, "tool-call", "turn 2: a call that"),
        ({"messages": [ASKED, openai({"name": "f", "arguments": "{"}), ANSWERED]}, "tool-call", "arguments of 'f'"),
        ({"messages": [ASKED, openai({"name": "f", "arguments": "[1]"}), ANSWERED]}, "tool-call", "arguments of 'f'"),
        ({"messages": [ASKED, ANSWERED], "tools": ["hammer"]}, "tools", "`tools` holds no list of functions"),
        ({"messages": [ASKED, {**openai(CALL), "weight": 0}, ANSWERED]}, "weight", "turn 2"),
    ],
)  # fmt: skip
def test_calls_that_cannot_be_written_out_are_named(
    shelf: Shelf, record: Any, kind: str, reason: str
) -> None:
    found = bad(shelf, record, tools="text")
    assert found.kind == kind and reason in found.reason


def test_what_was_learnt_is_what_a_client_can_ask(shelf: Shelf) -> None:
    """The gateway takes no `tools`, so a client writes them as the rows have them: the same text for the model."""
    row = one(shelf, {"messages": [ASKED, openai(CALL), RESULT, ANSWERED], "tools": [TOOL]}, tools="text")
    asked = row.messages[:-1]
    request = parse({"messages": asked})
    template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    )
    texts = [render(template, turns, add_generation_prompt=True) for turns in (asked, request.messages)]
    assert texts[0] == texts[1] and CALLED in texts[0]
    with pytest.raises(RequestError, match="tools: not supported"):
        parse({"messages": asked, "tools": [TOOL]})
