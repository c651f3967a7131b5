"""Tools written into the text of turns, in the one form that Hermes and Qwen 2.5 have for them. Pure.

system      what it says, an empty line, and `# Tools` with each definition as a line of JSON in <tools></tools>
assistant   what it says, then each call as <tool_call>, a line of {"name": …, "arguments": {…}}, </tool_call>
user        the results of these calls, each as <tool_response>, the result's text, </tool_response>
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from appliance.dataset.reading.material import Unfit
from appliance.dataset.reading.turn_order import turn_text

CALL_ROLES = ("function_call", "tool_call")
"""Roles whose turn is a call and nothing else (ShareGPT)."""
_DEFINITION_KEYS = ("tools", "functions")
_BEFORE = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
"""
_BEHIND = """
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{"name": <function-name>, "arguments": <args-json-object>}
</tool_call>"""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _parsed(value: Any) -> Any:
    """A value that may be held as the text of its JSON; None: text that is none."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def definitions(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The functions that a record defines under `tools` or `functions`, in OpenAI's form.

    Raises:
        Unfit: `tools` is there and holds something else.
    """
    found: list[dict[str, Any]] = []
    for key in _DEFINITION_KEYS:
        held = record.get(key)
        if not held or (isinstance(held, str) and not held.strip()):
            continue
        value = _parsed(held)
        for each in value if isinstance(value, list) else [value]:
            function = each.get("function", each) if isinstance(each, dict) else None
            if not isinstance(function, dict) or not isinstance(function.get("name"), str):
                raise Unfit(
                    "tools", f"`{key}` holds no list of functions with names, so what is called isn't known"
                )
            found.append({"type": "function", "function": function})
    return found


def with_definitions(messages: Sequence[Any], found: Sequence[Any], system: str) -> list[Any]:
    """The conversation with its tools in the system turn; as it is where they stand there already, or there are none.

    Args:
        messages: in OpenAI's form.
        found: the definitions.
        system: what the system turn says where there is none yet.
    """
    if not found:
        return list(messages)
    block = _BEFORE + "\n".join(map(_json, found)) + _BEHIND
    first = messages[0] if messages and isinstance(messages[0], dict) else {}
    if first.get("role") != "system":
        return [{"role": "system", "content": f"{system}\n\n{block}" if system else block}, *messages]
    text = turn_text(first.get("content"))
    if text is None or "<tools>" in text:
        return list(messages)
    return [{"role": "system", "content": f"{text}\n\n{block}" if text.strip() else block}, *messages[1:]]


def _call(value: Any, turn: int) -> str:
    value = _parsed(value)
    function = value.get("function", value) if isinstance(value, dict) else None
    function = _parsed(function)
    name = function.get("name") if isinstance(function, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise Unfit("tool-call", f"turn {turn}: a call that is no JSON object with a `name`")
    arguments = function.get("arguments", function.get("parameters"))
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        arguments = {}
    arguments = _parsed(arguments)
    if not isinstance(arguments, dict):
        raise Unfit("tool-call", f"turn {turn}: the arguments of {name!r} are no JSON object")
    return f"<tool_call>\n{_json({'name': name, 'arguments': arguments})}\n</tool_call>"


def _listed(value: Any) -> list[Any]:
    value = _parsed(value)
    return value if isinstance(value, list) else [value]


def call_turn(turn: Mapping[str, Any], content: Any, number: int, alone: bool) -> tuple[str, list[str]]:
    """What the assistant says in a turn with calls, and the calls' ids in their order.

    Args:
        turn: as its file holds it.
        content: the turn's text, or of a turn that is a call `alone` the call itself.
        number: of the turn, from 1.
        alone: its role says that it is a call (`CALL_ROLES`).

    Raises:
        Unfit: a call without a name, or whose arguments are no JSON object.
    """
    if alone:
        if isinstance(content, str) and "<tool_call>" in content:
            return content, []
        return "\n".join(_call(each, number) for each in _listed(content)), []
    text = turn_text(content)
    if text is None:
        raise Unfit("content", f"turn {number}: beside its call something other than text; only text is read")
    calls = _listed(turn["tool_calls"]) if turn.get("tool_calls") else _listed(turn["function_call"])
    said = [text] if text.strip() else []
    ids = [str(each.get("id", "")) if isinstance(each, dict) else "" for each in calls]
    return "\n".join([*said, *(_call(each, number) for each in calls)]), ids


def result_text(content: Any, number: int) -> str:
    """What a tool answered, as it stands in the user's turn.

    Raises:
        Unfit: parts that aren't text.
    """
    text = turn_text(content)
    if text is None:
        if isinstance(content, list) and any(isinstance(part, dict) and "type" in part for part in content):
            raise Unfit("content", f"turn {number}: a tool's result that isn't text; only text is read")
        text = _json(content)
    return text if "<tool_response>" in text else f"<tool_response>\n{text}\n</tool_response>"
