"""One chat request on its way: admission, the cache, the engine's chunks, and the shapes of the answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response, StreamingResponse

from appliance.errors import DataError, ServingError
from appliance.retrieval import PassageIndex, with_passages
from appliance.serving import response_cache
from appliance.serving.engine_client import Chunk, Completion, completion
from appliance.serving.gateway.chat_request import (
    AnswerFormat,
    ChatRequest,
    RequestError,
    asks_as_trained,
    behind_system,
)
from appliance.serving.response_cache import ResponseCache
from appliance.serving.schema_grammar import grammar_of
from appliance.serving.supervisor import Serving, Supervisor
from appliance.watch.signals import Observed
from appliance.watch.sketch import MOST
from appliance.watch.watcher import Watcher

ANSWER_ROOM = 256  # tokens that passages leave to an answer whose length nobody named


@dataclass
class Gateway:
    """What the routes share.

    Attributes:
        supervisor: has the engine.
        cache: of answers; None for none.
        queue: requests that may wait beside those that are answered.
        watcher: takes what was answered; None for nobody.
    """

    supervisor: Supervisor
    cache: ResponseCache | None
    queue: int = 64
    watcher: Watcher | None = None
    started: float = field(default_factory=time.monotonic)
    open_requests: int = 0
    served: int = 0
    refused: int = 0
    cancelled: int = 0
    mean_seconds: float = 1.0  # of a request, moving

    @contextlib.contextmanager
    def admitted(self, slots: int) -> Iterator[None]:
        """A place among the open requests.

        Raises:
            RequestError: 429, with the seconds after which a place should be free.
        """
        if self.open_requests >= slots + self.queue:
            self.refused += 1
            seconds = max(1, round(self.mean_seconds * self.queue / slots))
            raise RequestError(
                429,
                "queue_full",
                f"{self.open_requests} requests are open already",
                f"ask again in {seconds} seconds",
                headers={"retry-after": str(seconds)},
            )
        self.open_requests += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.open_requests -= 1
            self.mean_seconds += 0.1 * (time.monotonic() - begun - self.mean_seconds)


class EngineStream:
    """Brings one request's chunks from the engine's reader thread into the event loop."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._chunks: asyncio.Queue[Chunk] = asyncio.Queue()
        self._number = 0
        self.last: Chunk | None = None

    def _take(self, chunk: Chunk) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
            self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)

    def submit(self, tokens: list[int], request: ChatRequest) -> None:
        """Hand the prompt to the engine."""
        self._number = self._serving.engine.submit(
            tokens, request.sampling, self._take, stream=request.stream
        )

    async def pieces(self) -> AsyncIterator[str]:
        """The texts as they come; afterwards `last` has the counts."""
        while self.last is None:
            chunk = await self._chunks.get()
            if chunk.finish is not None:
                self.last = chunk
            if chunk.text:
                yield chunk.text

    def cancel(self) -> None:
        """Stop the request unless it is done."""
        if self.last is None:
            with contextlib.suppress(ServingError):
                self._serving.engine.cancel(self._number)


def _usage(answer: Completion) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens},
    }


def _timings(answer: Completion) -> dict[str, float]:
    return {
        "queue_seconds": answer.queue_seconds,
        "prompt_seconds": answer.prompt_seconds,
        "seconds": answer.seconds,
    }


class Exchange:
    """A checked request, the engine that answers it, and the answer's forms.

    Args:
        gateway: what all requests share.
        serving: the engine.
        request: what was asked.
        fresh: neither take an answer from the cache nor keep it there.
        probe: it is a test of the release and nobody's work, so that who watches for drift isn't told.
    """

    def __init__(
        self,
        gateway: Gateway,
        serving: Serving,
        request: ChatRequest,
        *,
        fresh: bool = False,
        probe: bool = False,
    ) -> None:
        self.gateway = gateway
        self.serving = serving
        self.request = request
        self.number = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.key: str | None = None
        self._fresh, self._probe = fresh, probe
        self._asked: tuple[int, ...] = ()
        self.citations: list[dict[str, Any]] | None = None  # None: nothing was looked up

    def headers(self, cached: bool) -> dict[str, str]:
        """Whether the answer was remembered, and which release gave it."""
        target = self.serving.target
        return {
            "x-anchorhold-cache": "hit" if cached else "miss",
            "x-anchorhold-release": f"{target.identity} sha256:{target.digest}",
        }

    async def hold_to_schema(self) -> None:
        """Hold the answer to the request's schema, or to the release's where the request says nothing of either.

        A conversation with another system prompt asks for something else than what the release was trained for.

        Raises:
            RequestError: 400, an answer can't be held to the schema.
        """
        asked, target = self.request.answer_format, self.serving.target
        if (
            asked is None
            and target.schema is not None
            and asks_as_trained(self.request.messages, target.system)
        ):
            asked = AnswerFormat(target.schema)
        if asked is None or asked.schema is None:
            return
        try:
            grammar = await run_in_threadpool(partial(grammar_of, asked.schema, strict=asked.strict))
        except ServingError as error:
            raise RequestError(
                400, "invalid_schema", error.message, error.hint, parameter="response_format"
            ) from error
        self.request = replace(self.request, sampling=replace(self.request.sampling, grammar=grammar))

    async def tokens(self) -> list[int]:
        """Render, count, and settle `max_tokens`."""
        messages = behind_system(self.request.messages, self.serving.target.system)
        context = self.serving.engine.info.context
        wanted = self.request.sampling.max_tokens
        if self._looks_up():
            messages = await run_in_threadpool(self._look_up, messages, context - (wanted or ANSWER_ROOM))
        tokens = await run_in_threadpool(self.serving.engine.render, messages)
        if self.gateway.watcher is not None and not self._probe:
            text = self._last_message()[:MOST]
            self._asked = tuple(await run_in_threadpool(self.serving.engine.tokenize, text))
        if len(tokens) + max(wanted, 1) > context:
            asked = f" and {wanted} more were asked for" if wanted else ""
            raise RequestError(
                400,
                "context_length_exceeded",
                f"the conversation has {len(tokens)} tokens{asked}; the context has room for {context}",
                "shorten the conversation" + (" or ask for fewer tokens" if wanted else ""),
                parameter="messages",
                prompt_tokens=len(tokens),
                max_tokens=wanted or None,
                context_tokens=context,
            )
        if not wanted:
            self.request = replace(
                self.request, sampling=replace(self.request.sampling, max_tokens=context - len(tokens))
            )
        return tokens

    def _looks_up(self) -> bool:
        asked, target = self.request.retrieval, self.serving.target
        if asked and target.passages is None:
            raise RequestError(
                400,
                "no_documents",
                "this release brings no documents to look things up in",
                "leave `retrieval` out, or install a release with documents",
                parameter="retrieval",
            )
        return target.passages is not None and (target.looks_up if asked is None else asked)

    def _look_up(self, messages: list[dict[str, Any]], room: int) -> list[dict[str, Any]]:
        """The conversation with what was found for its last question, where that is a user's; what it cites is kept."""
        target, engine = self.serving.target, self.serving.engine
        assert target.passages is not None
        if messages[-1]["role"] != "user":
            return messages
        try:
            with PassageIndex(target.passages) as index:
                found = index.search(messages[-1]["content"], target.top)
        except DataError as error:
            raise RequestError(503, "documents_failed", error.message, error.hint) from error
        made, shown = with_passages(messages, found, lambda turns: len(engine.render(turns)) <= room)
        self.citations = [
            {"number": number, "source": each.passage.source, "title": each.passage.title}
            for number, each in enumerate(shown, start=1)
        ]
        return made

    async def remembered(self, tokens: list[int]) -> Completion | None:
        """The cached answer, where the request is deterministic."""
        cache, sampling = self.gateway.cache, self.request.sampling
        if cache is None or self._fresh or not sampling.deterministic:
            return None
        self.key = response_cache.key(
            self.serving.target.digest, tokens, sampling, self.serving.engine.info.build
        )
        return await run_in_threadpool(cache.get, self.key)

    async def remember(self, answer: Completion) -> None:
        """Keep the answer, if the request is deterministic."""
        if self.key is not None and self.gateway.cache is not None and answer.finish in {"stop", "length"}:
            await run_in_threadpool(self.gateway.cache.put, self.key, answer)

    def measured(self) -> ChatRequest:
        """The request for the engine; it tells its confidence where somebody watches."""
        watching = self.gateway.watcher is not None
        return replace(self.request, sampling=replace(self.request.sampling, confidence=watching))

    def watched(self, answer: Completion) -> None:
        """Count the request as answered, and hand it to whoever watches."""
        self.gateway.served += 1
        watcher = self.gateway.watcher
        if watcher is None or self._probe:
            return
        seen = Observed(
            prompt=self._last_message(),
            answer=answer.text,
            finish=answer.finish,
            tokens=answer.completion_tokens,
            confidence=answer.confidence,
            schema=bool(self.request.sampling.grammar),
            asked=self._asked,
        )
        watcher.put(self.serving.target.digest, seen)

    def _last_message(self) -> str:
        """The user's."""
        turns = self.request.messages
        return str(next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), ""))

    def whole(self, answer: Completion, cached: bool) -> Response:
        """The answer in one piece."""
        message = {"role": "assistant", "content": answer.text}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
        body = {
            "id": self.number,
            "object": "chat.completion",
            "created": self.created,
            "model": self.serving.target.identity,
            "choices": [choice],
            "usage": _usage(answer),
            "timings": _timings(answer),
            **self._cited(),
        }
        return JSONResponse(body, headers=self.headers(cached))

    def _cited(self) -> dict[str, Any]:
        return {} if self.citations is None else {"citations": self.citations}

    def event(self, delta: dict[str, Any] | None, finish: str | None, **values: Any) -> bytes:
        """One server-sent event; no choice in it if `delta` is None."""
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        body = {
            "id": self.number,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.serving.target.identity,
            "choices": choices,
            **values,
        }
        return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()

    def ending(self, answer: Completion) -> bytes:
        """The last events of a stream."""
        data = self.event({}, answer.finish, timings=_timings(answer), **self._cited())
        if self.request.include_usage:
            data += self.event(None, None, usage=_usage(answer))
        return data + b"data: [DONE]\n\n"


def whole_answer(text: str, last: Chunk) -> Completion:
    """The answer from its text and last chunk.

    Raises:
        RequestError: 503, the engine failed.
    """
    try:
        return completion(text, last)
    except ServingError as error:
        raise RequestError(
            503, "engine_failed", error.message, error.hint, headers={"retry-after": "2"}
        ) from error


class HeldStream(StreamingResponse):
    """A stream of events that gives back what it holds when it ends, however it ends."""

    def __init__(
        self, content: AsyncIterator[bytes], held: contextlib.ExitStack, headers: dict[str, str]
    ) -> None:
        super().__init__(
            content, media_type="text/event-stream", headers={**headers, "cache-control": "no-store"}
        )
        self._events = content
        self._held = held

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            close: Callable[[], Any] | None = getattr(self._events, "aclose", None)
            if close is not None:
                await close()
            self._held.close()
