"""The HTTP side: routes, and how errors are answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from appliance import __version__
from appliance.errors import AnchorholdError, ModelError, ServingError
from appliance.serving.engine_client import Completion
from appliance.serving.gateway import metrics
from appliance.serving.gateway.chat_request import MAX_BODY, RequestError, parse
from appliance.serving.gateway.exchange import EngineStream, Exchange, Gateway, HeldStream, whole_answer
from appliance.serving.response_cache import ResponseCache
from appliance.serving.supervisor import Serving
from appliance.watch import telling


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
            fresh = "no-store" in request.headers.get("cache-control", "").lower()
            chat = Exchange(
                self.gateway, serving, asked, fresh=fresh, probe="x-anchorhold-probe" in request.headers
            )
            await chat.hold_to_schema()
            tokens = await chat.tokens()
            known = await chat.remembered(tokens)
            if known is not None:
                chat.watched(known)
                return self._known(chat, known)
            stream = EngineStream(serving)
            stream.submit(tokens, chat.measured())
            if asked.stream:
                # From here on the stream holds engine and place, until it ends or the client leaves.
                return HeldStream(self._events(chat, stream), held.pop_all(), chat.headers(False))
            return await self._answer(request, chat, stream)

    @contextlib.contextmanager
    def _serving(self) -> Iterator[Serving]:
        with contextlib.ExitStack() as held:
            try:
                serving = held.enter_context(self.gateway.supervisor.use())
            except ServingError as error:
                raise RequestError(
                    503, "engine_unavailable", error.message, error.hint, headers={"retry-after": "2"}
                ) from error
            yield serving

    def _known(self, chat: Exchange, known: Completion) -> Response:
        if not chat.request.stream:
            return chat.whole(known, cached=True)
        data = chat.event({"role": "assistant", "content": known.text}, None) + chat.ending(known)
        return Response(data, media_type="text/event-stream", headers=chat.headers(True))

    async def _answer(self, request: Request, chat: Exchange, stream: EngineStream) -> Response:
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
        answer = whole_answer(text, stream.last)
        await chat.remember(answer)
        chat.watched(answer)
        return chat.whole(answer, cached=False)

    async def _events(self, chat: Exchange, stream: EngineStream) -> AsyncIterator[bytes]:
        parts: list[str] = []
        try:
            yield chat.event({"role": "assistant", "content": ""}, None)
            async for piece in stream.pieces():
                parts.append(piece)
                yield chat.event({"content": piece}, None)
            assert stream.last is not None
            try:
                answer = whole_answer("".join(parts), stream.last)
            except RequestError as error:  # too late for a status
                yield f"data: {json.dumps(error.body(), ensure_ascii=False)}\n\n".encode()
                return
            await chat.remember(answer)
            chat.watched(answer)
            yield chat.ending(answer)
        finally:
            if stream.last is None:
                self.gateway.cancelled += 1
                stream.cancel()

    async def models(self, _request: Request) -> Response:
        """GET /v1/models."""
        serving = self.gateway.supervisor.current
        if serving is None:
            return JSONResponse({"object": "list", "data": []})
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

    async def _engine_state(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the supervisor says, and the engine's counters; none of these while it is started again."""
        supervisor = self.gateway.supervisor
        state = supervisor.state()
        if not state["alive"]:
            return state, {}
        try:
            with supervisor.use() as serving:  # held, lest a change of release ends it meanwhile
                return state, await run_in_threadpool(serving.engine.stats)
        except ServingError as error:
            return {**state, "alive": False, "problem": error.message}, {}

    async def drift(self, _request: Request) -> Response:
        """GET /drift: how far inputs and outputs are from the usual."""
        watcher = self.gateway.watcher
        told = None if watcher is None else watcher.summary()
        if told is None:
            why = "nothing is watched here: a file is served that no device keeps"
            raise RequestError(404, "not_watched", why, "install a release, then `anchorhold serve`")
        return JSONResponse(told)

    async def metrics(self, _request: Request) -> Response:
        """GET /metrics: counters and drift in the Prometheus text format."""
        state, engine = await self._engine_state()
        return Response(metrics.text(self.gateway, state, engine), media_type=metrics.MEDIA_TYPE)

    async def health(self, _request: Request) -> Response:
        """GET /health: 200 while requests are answered, else 503; the body is the same."""
        gateway = self.gateway
        state, engine = await self._engine_state()
        serving = gateway.supervisor.current
        drift = gateway.watcher.summary() if gateway.watcher else None
        lame = "safe mode" if state["safe_mode"] else "restarting"
        room = gateway.queue + (serving.engine.info.slots if serving is not None else 0)
        body = {
            "status": "ok" if state["alive"] else lame,
            "problem": state["problem"],
            "restarts": state["restarts"],
            "version": __version__,
            "uptime_seconds": round(time.monotonic() - gateway.started, 1),
            **(_served(serving) if serving is not None else {"release": None, "model": None}),
            "engine": engine,
            "tokens_per_second": engine.get("tokens_per_second", 0.0),
            "memory_bytes": engine.get("memory_bytes", 0),
            "queue": {"open": gateway.open_requests, "waiting": engine.get("waiting", 0), "limit": room},
            "requests": {
                "served": gateway.served,
                "refused": gateway.refused,
                "cancelled": gateway.cancelled,
            },
            "cache": await run_in_threadpool(gateway.cache.stats) if gateway.cache else None,
            "drift": None if drift is None else telling.short(drift),
            "redteam": gateway.watcher.redteam() if gateway.watcher else None,
        }
        return JSONResponse(body, status_code=200 if state["alive"] else 503)


def _served(serving: Serving) -> dict[str, Any]:
    """Release and model, for /health."""
    target, info = serving.target, serving.engine.info
    return {
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
    }


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
            "POST /v1/chat/completions, GET /v1/models, GET /health, GET /drift, GET /metrics",
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
            Route("/drift", routes.drift, methods=["GET"]),
            Route("/metrics", routes.metrics, methods=["GET"]),
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
