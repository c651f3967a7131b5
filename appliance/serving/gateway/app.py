"""The HTTP side: routes, streaming, the bounded queue and the response cache around a supervised engine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from appliance import __version__
from appliance.errors import AnchorholdError, ModelError, ServingError
from appliance.serving import response_cache
from appliance.serving.engine_client import Chunk, Completion, completion
from appliance.serving.gateway.requests import MAX_BODY, ChatRequest, RequestError, parse
from appliance.serving.response_cache import ResponseCache
from appliance.serving.supervisor import Serving, Supervisor


@dataclass
class Gateway:
    """What the routes share.

    Attributes:
        supervisor: has the engine.
        cache: of answers; None for none.
        queue: requests that may wait beside those that are answered.
    """

    supervisor: Supervisor
    cache: ResponseCache | None
    queue: int = 64
    started: float = field(default_factory=time.monotonic)
    open_requests: int = 0
    served: int = 0
    refused: int = 0
    cancelled: int = 0
    mean_seconds: float = 1.0  # of a request, moving

    @contextlib.contextmanager
    def admitted(self, slots: int) -> Any:
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


class _Stream:
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
        self._number = self._serving.engine.submit(
            tokens, request.sampling, self._take, stream=request.stream
        )

    async def pieces(self) -> AsyncIterator[str]:
        while self.last is None:
            chunk = await self._chunks.get()
            if chunk.finish is not None:
                self.last = chunk
            if chunk.text:
                yield chunk.text

    def cancel(self) -> None:
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


class _Chat:
    """One chat request on its way."""

    def __init__(self, gateway: Gateway, serving: Serving, request: ChatRequest) -> None:
        self.gateway = gateway
        self.serving = serving
        self.request = request
        self.number = f"chatcmpl-{uuid.uuid4().hex}"
        self.created = int(time.time())
        self.key: str | None = None

    def headers(self, cached: bool) -> dict[str, str]:
        target = self.serving.target
        return {
            "x-anchorhold-cache": "hit" if cached else "miss",
            "x-anchorhold-release": f"{target.identity} sha256:{target.digest}",
        }

    async def tokens(self) -> list[int]:
        """Render, count, and settle `max_tokens`."""
        tokens = await run_in_threadpool(self.serving.engine.render, self.request.messages)
        context = self.serving.engine.info.context
        wanted = self.request.sampling.max_tokens
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

    async def remembered(self, tokens: list[int]) -> Completion | None:
        """The cached answer, where the request is deterministic."""
        cache, sampling = self.gateway.cache, self.request.sampling
        if cache is None or not sampling.deterministic:
            return None
        self.key = response_cache.key(
            self.serving.target.digest, tokens, sampling, self.serving.engine.info.build
        )
        return await run_in_threadpool(cache.get, self.key)

    async def remember(self, answer: Completion) -> None:
        if self.key is not None and self.gateway.cache is not None and answer.finish in {"stop", "length"}:
            await run_in_threadpool(self.gateway.cache.put, self.key, answer)

    def whole(self, answer: Completion, cached: bool) -> Response:
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
        }
        return JSONResponse(body, headers=self.headers(cached))

    def event(self, delta: dict[str, Any] | None, finish: str | None, **values: Any) -> bytes:
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
        data = self.event({}, answer.finish, timings=_timings(answer))
        if self.request.include_usage:
            data += self.event(None, None, usage=_usage(answer))
        return data + b"data: [DONE]\n\n"


async def _until_disconnected(request: Request) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            return


async def _body(request: Request) -> Any:
    data = bytearray()
    async for piece in request.stream():
        data += piece
        if len(data) > MAX_BODY:
            raise RequestError(
                413, "body_too_large", f"the body is larger than {MAX_BODY} bytes", "send less"
            )
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(
            400, "invalid_json", f"the body is not JSON: {error}", "send a JSON object"
        ) from error


class Routes:
    """The handlers.

    Args:
        gateway: what they share.
    """

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = parse(await _body(request))
        with contextlib.ExitStack() as held:
            serving = held.enter_context(self._serving())
            if asked.model and asked.model not in {serving.target.identity, serving.target.name}:
                raise RequestError(
                    404,
                    "model_not_found",
                    f"no model {asked.model!r} here",
                    f"leave `model` out, or ask for {serving.target.identity!r}",
                    parameter="model",
                )
            held.enter_context(self.gateway.admitted(serving.engine.info.slots))
            chat = _Chat(self.gateway, serving, asked)
            tokens = await chat.tokens()
            known = await chat.remembered(tokens)
            if known is not None:
                self.gateway.served += 1
                return self._known(chat, known)
            stream = _Stream(serving)
            stream.submit(tokens, chat.request)
            if asked.stream:
                # From here on the body's generator holds engine and place, until it ends or the client leaves.
                return _HeldStream(self._events(chat, stream), held.pop_all(), chat.headers(False))
            return await self._answer(request, chat, stream)

    @contextlib.contextmanager
    def _serving(self) -> Any:
        with contextlib.ExitStack() as held:
            try:
                serving = held.enter_context(self.gateway.supervisor.use())
            except ServingError as error:
                raise RequestError(
                    503, "engine_unavailable", error.message, error.hint, headers={"retry-after": "2"}
                ) from error
            yield serving

    def _known(self, chat: _Chat, known: Completion) -> Response:
        if not chat.request.stream:
            return chat.whole(known, cached=True)
        data = chat.event({"role": "assistant", "content": known.text}, None) + chat.ending(known)
        return Response(data, media_type="text/event-stream", headers=chat.headers(True))

    async def _answer(self, request: Request, chat: _Chat, stream: _Stream) -> Response:
        async def gather() -> str:
            return "".join([piece async for piece in stream.pieces()])

        answering = asyncio.create_task(gather())
        leaving = asyncio.create_task(_until_disconnected(request))
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientDisconnect
            text = answering.result()
        finally:
            stream.cancel()
            answering.cancel()
            leaving.cancel()
        assert stream.last is not None
        answer = _whole(text, stream.last)
        await chat.remember(answer)
        self.gateway.served += 1
        return chat.whole(answer, cached=False)

    async def _events(self, chat: _Chat, stream: _Stream) -> AsyncIterator[bytes]:
        parts: list[str] = []
        try:
            yield chat.event({"role": "assistant", "content": ""}, None)
            async for piece in stream.pieces():
                parts.append(piece)
                yield chat.event({"content": piece}, None)
            assert stream.last is not None
            try:
                answer = _whole("".join(parts), stream.last)
            except RequestError as error:  # too late for a status
                yield f"data: {json.dumps(error.body(), ensure_ascii=False)}\n\n".encode()
                return
            await chat.remember(answer)
            self.gateway.served += 1
            yield chat.ending(answer)
        finally:
            if stream.last is None:
                self.gateway.cancelled += 1
                stream.cancel()

    async def models(self, _request: Request) -> Response:
        """GET /v1/models."""
        serving = self.gateway.supervisor.current
        assert serving is not None
        info, target = serving.engine.info, serving.target
        model = {
            "id": target.identity,
            "object": "model",
            "created": 0,
            "owned_by": "anchorhold",
            "digest": f"sha256:{target.digest}",
            "description": info.description,
            "context": info.context,
            "parameters": info.parameters,
        }
        return JSONResponse({"object": "list", "data": [model]})

    async def health(self, _request: Request) -> Response:
        """GET /health: 200 while requests are answered, else 503; the body is the same."""
        gateway = self.gateway
        serving = gateway.supervisor.current
        assert serving is not None
        state = gateway.supervisor.state()
        engine: dict[str, Any] = {}
        if state["alive"]:
            try:
                engine = await run_in_threadpool(serving.engine.stats)
            except ServingError as error:
                state = {**state, "alive": False, "problem": error.message}
        target, info = serving.target, serving.engine.info
        body = {
            "status": "ok" if state["alive"] else "restarting",
            "problem": state["problem"],
            "restarts": state["restarts"],
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - gateway.started, 1),
            "release": {
                "name": target.name,
                "version": target.version,
                "digest": target.digest,
                "identity": target.identity,
            },
            "model": {
                "file": target.model.name,
                "description": info.description,
                "parameters": info.parameters,
                "context": info.context,
                "slots": info.slots,
                "threads": info.threads,
                "build": info.build,
            },
            "engine": engine,
            "tokens_per_second": engine.get("tokens_per_second", 0.0),
            "memory_bytes": engine.get("memory_bytes", 0),
            "queue": {
                "open": gateway.open_requests,
                "waiting": engine.get("waiting", 0),
                "limit": gateway.queue + info.slots,
            },
            "requests": {
                "served": gateway.served,
                "refused": gateway.refused,
                "cancelled": gateway.cancelled,
            },
            "cache": await run_in_threadpool(gateway.cache.stats) if gateway.cache else None,
        }
        return JSONResponse(body, status_code=200 if state["alive"] else 503)


def _whole(text: str, last: Chunk) -> Completion:
    try:
        return completion(text, last)
    except ServingError as error:
        raise RequestError(
            503, "engine_failed", error.message, error.hint, headers={"retry-after": "2"}
        ) from error


class _HeldStream(StreamingResponse):
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


def _error(error: RequestError) -> Response:
    return JSONResponse(error.body(), status_code=error.status, headers=error.headers)


async def _on_request_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _error(error)


async def _on_product_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, AnchorholdError)
    if isinstance(error, ModelError):
        return _error(RequestError(400, "template_refused", error.message, error.hint, parameter="messages"))
    return _error(RequestError(503, "engine_failed", error.message, error.hint, headers={"retry-after": "2"}))


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return _error(
        RequestError(
            status,
            "not_found" if status == 404 else "method_not_allowed",
            f"{request.method} {request.url.path}: not here",
            "POST /v1/chat/completions, GET /v1/models, GET /health",
        )
    )


def make_app(gateway: Gateway) -> Starlette:
    """The ASGI application."""
    routes = Routes(gateway)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.models, methods=["GET"]),
            Route("/health", routes.health, methods=["GET"]),
        ],
        exception_handlers={
            RequestError: _on_request_error,
            AnchorholdError: _on_product_error,
            ClientDisconnect: _on_disconnect,
            404: _on_http_error,
            405: _on_http_error,
        },
    )


def cache_at(path: Path | None) -> ResponseCache | None:
    """The response cache at `path`; None for none."""
    return None if path is None else ResponseCache(path)
