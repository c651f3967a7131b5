"""What a chat request may hold: checked here, before anything is done. Pure."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from appliance.serving.sampling import Sampling
from appliance.serving.schema_grammar import ANY_OBJECT

MAX_BODY = 4 * 1024 * 1024  # bytes
MAX_MESSAGES = 1024
MAX_STOPS = 8
_ROLES = ("system", "developer", "user", "assistant", "tool")
# Fields that change nothing about our answer, so that a client may send them.
_HARMLESS = {"user", "metadata", "store", "service_tier", "prompt_cache_key", "safety_identifier"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
}
_KNOWN = {
    "messages",
    "model",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "response_format",
    "retrieval",
}


class RequestError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status.
        code: for programs.
        message: for people.
        hint: what to do next.
        parameter: the field that is wrong.
        headers: to send along.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        hint: str = "",
        parameter: str | None = None,
        headers: dict[str, str] | None = None,
        **values: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.parameter = parameter
        self.headers = headers or {}
        self.values = values

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status)
        kind = kind or ("invalid_request_error" if self.status < 500 else "server_error")
        error = {"message": self.message, "type": kind, "param": self.parameter, "code": self.code}
        if self.hint:
            error["hint"] = self.hint
        return {"error": {**error, **self.values}}


@dataclass(frozen=True)
class AnswerFormat:
    """What `response_format` asks: the schema to hold the answer to, or None for any text.

    Attributes:
        schema: JSON Schema.
        strict: whether the answer must be held to all of it.
    """

    schema: dict[str, Any] | None
    strict: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """A checked request.

    Attributes:
        messages: turns with text.
        model: the name that was asked for; empty for any.
        sampling: with `max_tokens` 0 where the request names none.
        stream: answer piece by piece.
        include_usage: end the stream with a chunk of counts.
        answer_format: what was said of the answer's form; None for nothing, so that the release's own schema counts.
        retrieval: whether to look things up; None: as the release has it.
    """

    messages: list[dict[str, Any]]
    model: str
    sampling: Sampling
    stream: bool
    include_usage: bool
    answer_format: AnswerFormat | None = None
    retrieval: bool | None = None


def _wrong(parameter: str, message: str) -> RequestError:
    return RequestError(400, "invalid_value", f"{parameter}: {message}", parameter=parameter)


def _text(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = []
        for part in content:
            if (
                not isinstance(part, dict)
                or part.get("type") != "text"
                or not isinstance(part.get("text"), str)
            ):
                raise _wrong(where, 'only parts of {"type": "text", "text": ...} are understood')
            parts.append(part["text"])
        return "".join(parts)
    raise _wrong(where, "must be text")


def asks_as_trained(messages: list[dict[str, Any]], system: str) -> bool:
    """Whether a conversation brings no system prompt but perhaps the release's own."""
    return all(message["content"] == system for message in messages if message["role"] == "system")


def behind_system(messages: list[dict[str, Any]], system: str) -> list[dict[str, Any]]:
    """The conversation behind the release's system prompt, unless it brings one or the release has none."""
    if not system or any(message["role"] == "system" for message in messages):
        return messages
    return [{"role": "system", "content": system}, *messages]


def _messages(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not value:
        raise _wrong("messages", "must be a list with at least one turn")
    if len(value) > MAX_MESSAGES:
        raise _wrong("messages", f"at most {MAX_MESSAGES} turns (got {len(value)})")
    messages = []
    for number, turn in enumerate(value):
        where = f"messages[{number}]"
        if not isinstance(turn, dict) or turn.get("role") not in _ROLES:
            raise _wrong(where, f"must be an object with a role of {', '.join(_ROLES)}")
        role = "system" if turn["role"] == "developer" else turn["role"]
        messages.append({"role": role, "content": _text(turn.get("content"), f"{where}.content")})
    return messages


def _number(body: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(name, "must be a number")
    if not low <= value <= high:
        raise _wrong(name, f"must be from {low:g} to {high:g} (got {value:g})")
    return float(value)


def _integer(body: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(name, "must be a whole number")
    if not low <= value <= high:
        raise _wrong(name, f"must be from {low} to {high} (got {value})")
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, "must be true or false")
    return bool(value)


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) and stop for stop in stops):
        raise _wrong("stop", "must be a text or a list of texts, none empty")
    if len(stops) > MAX_STOPS:
        raise _wrong("stop", f"at most {MAX_STOPS} texts")
    return tuple(stops)


def _answer_format(value: Any) -> AnswerFormat | None:
    where = "response_format"
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "text":
        return AnswerFormat(None)
    if kind == "json_object":
        return AnswerFormat(ANY_OBJECT)
    if kind != "json_schema":
        raise _wrong(where, "must be an object with a type of text, json_object, json_schema")
    told = value.get("json_schema")
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(schema, dict):
        raise _wrong(f"{where}.json_schema.schema", "must be a JSON Schema, an object")
    return AnswerFormat(schema, _flag(told, "strict"))


def _refuse_unknown(body: dict[str, Any]) -> None:
    for name, value in body.items():
        if name in _KNOWN or value is None:
            continue
        if name in _NEUTRAL:
            if value not in _NEUTRAL[name]:
                raise RequestError(
                    400,
                    "unsupported_parameter",
                    f"{name}: not supported",
                    "leave it out",
                    parameter=name,
                )
        elif name not in _HARMLESS:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            raise RequestError(
                400,
                "unknown_parameter",
                f"{name}: unknown field" + (f" (did you mean `{near[0]}`?)" if near else ""),
                "docs/formats/api.md lists the fields",
                parameter=name,
            )


def parse(body: Any) -> ChatRequest:
    """Check the body of a chat request.

    Raises:
        RequestError: 400, naming the field.
    """
    if not isinstance(body, dict):
        raise RequestError(400, "invalid_json", "the body must be a JSON object")
    _refuse_unknown(body)
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", "must be an object")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        raise _wrong("model", "must be text")
    limit = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    seed = _integer(body, "seed", -1, -(2**63), 2**64 - 1)
    sampling = Sampling(
        max_tokens=_integer(body, limit, 0, 1, 1_000_000),
        temperature=_number(body, "temperature", 0.0, 0, 2),
        top_k=_integer(body, "top_k", 40, 0, 1_000_000),
        top_p=_number(body, "top_p", 0.95, 0, 1),
        min_p=_number(body, "min_p", 0.0, 0, 1),
        seed=None if body.get("seed") is None else seed & 0xFFFFFFFF,
        stop=_stops(body.get("stop")),
    )
    return ChatRequest(
        messages=_messages(body.get("messages")),
        model=model or "",
        sampling=sampling,
        stream=_flag(body, "stream"),
        include_usage=bool((options or {}).get("include_usage")),
        answer_format=_answer_format(body.get("response_format")),
        retrieval=None if body.get("retrieval") is None else _flag(body, "retrieval"),
    )
