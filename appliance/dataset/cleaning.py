"""Text and conversations made clean, or refused with the reason. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from appliance.dataset.nearest import meant
from appliance.storage import sha256_bytes

ROLES = ("system", "user", "assistant")
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad"))
# Spaces that look like a space and are another token to the model.
_SPACES = {
    ord(space): " "
    for space in "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
}
_LINE_END = re.compile(r"\r\n?|[\v\f\u0085\u2028\u2029]")
# What colours a terminal or names its window (ECMA-48: control sequences, strings, two-byte ones), whole.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*+[ -/]*+[@-~]|\x1b[\]PX^_][^\x07\x1b\x9c]*+(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*+[0-Z\\^-~]"
)
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
# Only from where a run begins: else a long run inside a line costs its square.
_TRAILING = re.compile(r"(?<![ \t])[ \t]++(?=\n|\Z)")


class BadConversation(Exception):  # noqa: N818 - a reason for one row, not a fault of the program
    """Why a conversation can't be learnt from.

    Attributes:
        kind: a short name that the card counts by.
        reason: one line for the person who has to mend the row.
    """

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def clean_text(text: str) -> str:
    """`text` in Unicode's NFC: plain spaces and line feeds, nothing invisible, no white space at its edges.

    Control characters go, and with them the sequences that colour a terminal; a form feed is a line feed.

    White space inside a line is kept: indentation may mean something.

    Raises:
        BadConversation: a NUL, or half a surrogate pair.
    """
    if "\0" in text:
        raise BadConversation("binary", "it holds a NUL character; is it binary data?")
    text = unicodedata.normalize("NFC", text)
    text = _LINE_END.sub("\n", text).translate(_INVISIBLE).translate(_SPACES)
    text = _ESCAPES.sub("", text).translate(_CONTROLS)
    text = _TRAILING.sub("", text).strip()
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadConversation(
            "encoding", "it holds half a surrogate pair, which no UTF-8 text can"
        ) from error
    return text


def _content(message: dict[str, Any], turn: int) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = []
        for part in content:
            if not (
                isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
            ):
                kind = part.get("type") if isinstance(part, dict) else type(part).__name__
                raise BadConversation(
                    "content", f"turn {turn}: a content part of type {kind!r}; only text is read"
                )
            parts.append(part["text"])
        return "".join(parts)
    if content is None:
        if message.get("tool_calls") or message.get("function_call"):
            raise BadConversation("content", f"turn {turn}: a tool call instead of text; only text is read")
        return ""
    if not isinstance(content, str):
        raise BadConversation("content", f"turn {turn}: `content` is {type(content).__name__}, not text")
    return content


def _role(message: dict[str, Any], turn: int) -> str:
    role = message.get("role")
    if role not in ROLES:
        roles = ", ".join(ROLES)
        reason = f"turn {turn}: role {role!r} is none of {roles}{meant(str(role), ROLES)}"
        raise BadConversation("roles", reason)
    return str(role)


def _check_order(roles: list[str]) -> None:
    spoken = roles[1:] if roles[0] == "system" else roles
    offset = len(roles) - len(spoken)
    for place, role in enumerate(spoken):
        expected = ("user", "assistant")[place % 2]
        if role != expected:
            turn = place + offset + 1
            raise BadConversation("roles", f"turn {turn}: `{role}` stands where `{expected}` should")
    if "assistant" not in roles:
        raise BadConversation("no-answer", "no assistant turn, so nothing to learn")
    if roles[-1] != "assistant":
        raise BadConversation(
            "no-answer", f"it ends with a `{roles[-1]}` turn; the last turn must be the answer"
        )


def clean_messages(messages: Any, system: str = "") -> list[dict[str, Any]]:
    """A conversation in OpenAI's form, cleaned: an optional system turn, then user and assistant in turn.

    Args:
        messages: what the file held under `messages`.
        system: a system prompt to put first when there is none.

    Raises:
        BadConversation: with the turn (counted from 1) and what is wrong.
    """
    if not isinstance(messages, list) or not messages:
        raise BadConversation(
            "messages", "`messages` is not a list of turns" if messages else "`messages` is empty"
        )
    clean: list[dict[str, Any]] = []
    for turn, message in enumerate(messages, start=1):
        if not isinstance(message, dict):
            raise BadConversation("messages", f"turn {turn} is {type(message).__name__}, not an object")
        role = _role(message, turn)
        clean.append({"role": role, "content": clean_text(_content(message, turn))})
    _check_order([message["role"] for message in clean])
    for turn, message in enumerate(clean, start=1):
        if not message["content"]:
            what = {"assistant": "empty answer", "user": "empty question", "system": "empty system prompt"}
            raise BadConversation("empty", f"turn {turn}: {what[message['role']]}")
    if system and clean[0]["role"] != "system":
        clean.insert(0, {"role": "system", "content": clean_text(system)})
    return clean


def default_group(messages: list[dict[str, Any]]) -> str:
    """The group of a row that names none: a digest of what the user said, whatever its case and spacing."""
    said = "\n".join(message["content"] for message in messages if message["role"] == "user")
    return sha256_bytes(" ".join(said.casefold().split()).encode())[:16]
