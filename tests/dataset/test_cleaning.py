"""Text made clean, and conversations refused with a reason that helps."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.dataset.cleaning import BadConversation, clean_messages, clean_text, default_group

USER = {"role": "user", "content": "pump is down"}
ANSWER = {"role": "assistant", "content": "noted"}


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("cafe\u0301", "café"),
        ("a\u00a0b\u202fc", "a b c"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("\ufeffzero\u200bwidth", "zerowidth"),
        ("  edges \n", "edges"),
        ("line  \n  indented\tkept", "line\n  indented\tkept"),
        ("page one \f page two", "page one\n page two"),
        ("\x1b[1;31mERROR\x1b[0m pump\x07 off\x08", "ERROR pump off"),
        ("a\x1b]0;window's name\x07b\x1b]8;;http://x\x1b\\c\x1b(Bd\x1bMe", "abcde"),
        ("a\x9b31mb\x85c\x80d\x7fe", "ab\ncde"),
        ("a\x1b[31", "a[31"),  # cut short: no sequence, but nothing of it is obeyed either
        ("a\x1b]0;never ended", "a]0;never ended"),
        ("\x1b\x1b[31m[32mx", "[32mx"),
    ],
)
def test_text_is_normalised(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean
    assert clean_text(clean) == clean


@pytest.mark.parametrize(("text", "kind"), [("a\0b", "binary"), ("half \ud83d pair", "encoding")])
def test_text_that_is_none_is_refused(text: str, kind: str) -> None:
    with pytest.raises(BadConversation) as caught:
        clean_text(text)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "empty"),
        ("hello", "not a list"),
        ([USER], "no assistant turn"),
        ([USER, ANSWER, USER], "ends with a `user` turn"),
        ([ANSWER, USER], "turn 1: `assistant` stands where `user` should"),
        ([USER, USER, ANSWER], "turn 2: `user` stands where `assistant` should"),
        ([USER, {"role": "system", "content": "late"}, ANSWER], "turn 2: `system`"),
        ([USER, {"role": "assistent", "content": "x"}], "is `assistant` meant?"),
        ([USER, {"role": "assistant", "content": " \n"}], "turn 2: empty answer"),
        ([{"role": "user", "content": ""}, ANSWER], "turn 1: empty question"),
        ([USER, {"role": "assistant", "content": 7}], "`content` is int"),
        ([USER, {"role": "assistant", "content": None, "tool_calls": [{}]}], "a tool call instead of text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}, ANSWER], "'image_url'; only text is read"),
        ([USER, "noted"], "turn 2 is str, not an object"),
    ],
)
def test_bad_conversations_are_named(messages: Any, reason: str) -> None:
    with pytest.raises(BadConversation) as caught:
        clean_messages(messages)
    assert reason in caught.value.reason


def test_several_turns_and_text_parts_are_read() -> None:
    parts = {"role": "user", "content": [{"type": "text", "text": "pump "}, {"type": "text", "text": "down"}]}
    messages = clean_messages([{"role": "system", "content": "be brief"}, parts, ANSWER, USER, ANSWER])
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user", "assistant"]
    assert messages[1]["content"] == "pump down"


def test_the_configured_system_prompt_is_put_only_where_there_is_none() -> None:
    assert clean_messages([USER, ANSWER], "be brief")[0] == {"role": "system", "content": "be brief"}
    own = clean_messages([{"role": "system", "content": "mine"}, USER, ANSWER], "be brief")
    assert [message["content"] for message in own if message["role"] == "system"] == ["mine"]


def test_the_default_group_sees_neither_case_nor_spacing_nor_answer() -> None:
    one = default_group([{"role": "user", "content": "Pump  is\ndown"}, ANSWER])
    other = default_group([USER, {"role": "assistant", "content": "another answer"}])
    assert one == other != default_group([{"role": "user", "content": "pump is up"}, ANSWER])
