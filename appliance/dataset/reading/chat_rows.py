"""Objects that hold a conversation turn by turn: OpenAI's messages, ShareGPT, and their cousins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.config import ToolForm
from appliance.dataset.reading.material import Cut, Unfit
from appliance.dataset.reading.tool_turns import CALL_ROLES, call_turn, result_text

LIST_KEYS = ("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat")
ROLE_KEYS = ("role", "from", "speaker", "author", "sender")
TEXT_KEYS = ("content", "value", "text", "utterance", "message")
# What each kind of file calls the three roles, and what only tools say.
_ROLES = {
    **dict.fromkeys(("user", "human", "customer", "prompter", "client"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "bot", "chatgpt", "model", "ai", "agent", "bing", "bard"), "assistant"
    ),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(
        (
            "tool",
            "function",
            "observation",
            "function_call",
            "function_response",
            "tool_call",
            "tool_response",
        ),
        "tool",
    ),
}


def turn_keys(turns: Any) -> tuple[str, str] | None:
    """Under which keys a list of turns holds who speaks and what is said; None: it is no such list."""
    if not isinstance(turns, list) or not turns or not all(isinstance(turn, dict) for turn in turns):
        return None
    role = next((key for key in ROLE_KEYS if key in turns[0]), None)
    text = next((key for key in TEXT_KEYS if key in turns[0] and key != role), None)
    if role is None:
        return None
    if text is None:
        text = next((key for turn in turns for key in TEXT_KEYS if key in turn and key != role), "content")
    return role, text


def known_role(name: Any) -> str:
    """`system`, `user`, `assistant` or `tool` for any of the names that they go by; empty: a name of its own."""
    return _ROLES.get(name.strip().lower(), "") if isinstance(name, str) else ""


def roles_are_known(turns: list[dict[str, Any]], key: str) -> bool:
    """Whether all who speak are one of the known roles, so that the conversation can be learnt as it is."""
    return all(known_role(turn.get(key)) for turn in turns)


def _is_tool_turn(turn: Mapping[str, Any], role: str) -> bool:
    return role == "tool" or bool(turn.get("tool_calls")) or bool(turn.get("function_call"))


def _before_tools(messages: Sequence[Any], number: int) -> tuple[list[Any], list[Cut]]:
    """What was answered before turn `number`, the first of a tool.

    Raises:
        Unfit: nothing.
    """
    roles = [message["role"] if isinstance(message, dict) else None for message in messages]
    answered = max((place for place, role in enumerate(roles) if role == "assistant"), default=-1)
    if "user" not in roles[: answered + 1]:
        raise Unfit(
            "tool-call",
            f"turn {number}: a tool call, which the chat template can't show; "
            'dataset.tools = "text" writes calls into the text',
        )
    return list(messages[: answered + 1]), [("tool-call", f"ends before turn {number}, a tool call")]


class _Results:
    """The results of one turn's calls: one user turn, in the order of the calls, which is all that joins them."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._texts: list[tuple[int, str]] = []

    def called(self, ids: list[str]) -> None:
        """The assistant has made calls."""
        self._ids, self._texts = ids, []

    def add(self, turn: Mapping[str, Any], text: str) -> str:
        """One more result; all of them so far as the turn's text."""
        call = str(turn.get("tool_call_id") or "")
        self._texts.append((self._ids.index(call) if call in self._ids else len(self._ids), text))
        return "\n".join(text for _, text in sorted(self._texts, key=lambda each: each[0]))


def chat_messages(
    turns: Sequence[Any], keys: tuple[str, str], tools: ToolForm
) -> tuple[list[Any], list[Cut]]:
    """A list of turns in OpenAI's form, and what was left out of it.

    A chat template that knows roles and text (the embedded base's does) writes a tool call as nothing, and what is
    said after a tool has answered isn't known from the text. So a conversation ends before its first tool call, or
    calls and results become text (`tool_turns`).

    Args:
        turns: as the file holds them.
        keys: under which a turn holds who speaks and what is said.
        tools: `dataset.tools`.

    Raises:
        Unfit: nothing is answered before the first tool call, a call can't be written out, or an assistant's turn
            isn't to be learnt.
    """
    role_key, text_key = keys
    names = {str(turn.get(role_key)).strip().lower() for turn in turns if isinstance(turn, dict)}
    # Dialogue research calls the assistant "system" where it calls people "user".
    system_speaks = role_key == "speaker" and names == {"user", "system"}
    messages: list[Any] = []
    results = _Results()
    answering = False  # the last turn is a tool's
    for number, turn in enumerate(turns, start=1):
        if not isinstance(turn, dict):
            messages.append(turn)
            continue
        named, content = turn.get(role_key), turn.get(text_key)
        role = known_role(named)
        if system_speaks and role == "system":
            role = "assistant"
        if _is_tool_turn(turn, role) and tools == "cut":
            return _before_tools(messages, number)
        alone = isinstance(named, str) and named.strip().lower() in CALL_ROLES
        calls = alone or (role != "tool" and _is_tool_turn(turn, role))
        if (
            (role == "assistant" or calls)
            and turn.get("weight") == 0
            and not isinstance(turn.get("weight"), bool)
        ):
            raise Unfit(
                "weight", f"turn {number}: its weight of 0 says not to learn it; every answer is learnt"
            )
        if calls:
            text, ids = call_turn(turn, content, number, alone)
            results.called(ids)
            messages.append({"role": "assistant", "content": text})
        elif role == "tool":
            text = results.add(turn, result_text(content, number))
            if answering:
                messages.pop()
            messages.append({"role": "user", "content": text})
        else:
            messages.append({"role": role or named, "content": content})
        answering = role == "tool" and not calls
        if not answering and not calls:
            results.called([])
    return messages, []
