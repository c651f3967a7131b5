"""Talks to the gateway over its Unix socket; used by `anchorhold chat` and the terminal UI."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from appliance.errors import ServingError
from appliance.visible import visible

_START_HINT = "is it running? `anchorhold serve` starts it"
MAX_SOCKET_PATH = 107  # bytes; the kernel's limit for a Unix socket's path


def source_lines(citations: Sequence[Mapping[str, Any]]) -> list[str]:
    """What an answer was given to look at, a line each, as a terminal may show it."""
    return [
        f"[{each.get('number')}] {visible(str(each.get('source')), 80)}  {visible(str(each.get('title')), 100)}"
        for each in citations
    ]


class GatewayClient:
    """A connection to one gateway; a context manager. Safe to use from several threads.

    Args:
        socket: the gateway's Unix socket.
        timeout: seconds to wait for the next piece of an answer.
    """

    def __init__(self, socket: Path, *, timeout: float = 300.0) -> None:
        self.socket = socket
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)),
            base_url="http://gateway",
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=False,
        )

    def chat(
        self, messages: Sequence[Mapping[str, Any]], **params: Any
    ) -> Generator[str, None, dict[str, Any]]:
        """Ask, and get the answer's text piece by piece; closing the iterator early cancels the request.

        The generator returns how the answer ended: "finish_reason", "timings", "usage" and "citations", as the
        API gives them.

        Args:
            messages: turns, each with "role" and "content".
            params: fields of the request (docs/formats/api.md): max_tokens, temperature, seed, stop, ...

        Raises:
            ServingError: nobody answers, or the gateway refuses.
        """
        body = {
            "messages": list(messages),
            "stream_options": {"include_usage": True},
            **params,
            "stream": True,
        }
        try:
            with self._client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise self._refusal(response)
                return (yield from self._pieces(response))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    @staticmethod
    def _pieces(response: httpx.Response) -> Generator[str, None, dict[str, Any]]:
        ending: dict[str, Any] = {}
        for line in response.iter_lines():
            if not line.startswith("data: "):
                continue
            data = line.removeprefix("data: ")
            if data == "[DONE]":
                return ending
            event = json.loads(data)
            if "error" in event:
                raise ServingError(event["error"]["message"], event["error"].get("hint", ""))
            ending.update(
                {name: event[name] for name in ("usage", "timings", "citations") if event.get(name)}
            )
            for choice in event["choices"]:
                if choice.get("finish_reason"):
                    ending["finish_reason"] = choice["finish_reason"]
                text = choice["delta"].get("content")
                if text:
                    yield text
        return ending

    def complete(
        self, messages: Sequence[Mapping[str, Any]], *, probe: str = "", **params: Any
    ) -> dict[str, Any]:
        """Ask, and get the whole answer as the API gives it (docs/formats/api.md).

        Args:
            messages: turns, each with "role" and "content".
            probe: what tests the release by asking: computed now, whatever the cache of answers knows, and neither
                kept there nor counted as work where drift is watched.
            params: fields of the request.

        Raises:
            ServingError: nobody answers, or the gateway refuses.
        """
        body = {"messages": list(messages), **params, "stream": False}
        headers = {"cache-control": "no-store", "x-anchorhold-probe": probe} if probe else {}
        return self._json("POST", "/v1/chat/completions", body, headers)

    def health(self) -> dict[str, Any]:
        """How the gateway does; also while it has no engine (then `status` isn't "ok").

        Raises:
            ServingError: nobody answers.
        """
        try:
            response = self._client.get("/health")
            found: dict[str, Any] = response.json()
        except (httpx.HTTPError, json.JSONDecodeError) as error:
            raise self._unreachable(error) from error
        return found

    def drift(self) -> dict[str, Any]:
        """How far inputs and answers are from the usual (docs/formats/drift.md).

        Raises:
            ServingError: nobody answers, or nothing is watched.
        """
        return self._json("GET", "/drift", None)

    def models(self) -> list[dict[str, Any]]:
        """The served models (one).

        Raises:
            ServingError: nobody answers, or the gateway refuses.
        """
        found: list[dict[str, Any]] = self._json("GET", "/v1/models", None)["data"]
        return found

    def _json(
        self, method: str, path: str, body: dict[str, Any] | None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        found: dict[str, Any] = response.json()
        return found

    def _unreachable(self, error: Exception) -> ServingError:
        if isinstance(error, httpx.ReadTimeout):
            return ServingError("the gateway took too long to answer", "ask for fewer tokens, or try again")
        if isinstance(error, httpx.RemoteProtocolError):
            return ServingError("the gateway ended in the middle of an answer", _START_HINT)
        return ServingError(f"no gateway answers at {self.socket}", _START_HINT)

    @staticmethod
    def _refusal(response: httpx.Response) -> ServingError:
        try:
            error = response.json()["error"]
            return ServingError(error["message"], error.get("hint", ""))
        except (json.JSONDecodeError, KeyError, TypeError):
            return ServingError(f"the gateway answered with status {response.status_code}", "see its log")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> GatewayClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
