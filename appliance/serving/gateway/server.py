"""Runs the gateway's HTTP servers until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from appliance.serving import api_keys
from appliance.serving.gateway.app import make_app
from appliance.serving.gateway.chat_request import RequestError
from appliance.serving.gateway.ending import Ending
from appliance.serving.gateway.exchange import Gateway

_DRAIN = 4  # seconds that running answers may go on after the signal


class RequireKey:
    """ASGI middleware: nothing passes without a key.

    Args:
        app: what is behind.
        keys: where the hashes are.
    """

    def __init__(self, app: Any, keys: Path) -> None:
        self._app = app
        self._ring = api_keys.KeyRing(keys)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            scheme, _, key = given.partition(" ")
            if scheme.lower() != "bearer" or self._ring.name_of(key.strip()) is None:
                from starlette.responses import JSONResponse

                error = RequestError(
                    401,
                    "invalid_api_key",
                    "a key is needed" if not given else "this key is not known",
                    "send `Authorization: Bearer KEY`; `anchorhold serve --new-key NAME` makes one",
                )
                answer = JSONResponse(error.body(), 401, {"www-authenticate": "Bearer"})
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class _Server(uvicorn.Server):
    """One of the servers in a process; signals are handled for all together (see `ending`)."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def run(
    gateway: Gateway,
    sockets: Sequence[tuple[socket.socket, bool]],
    keys: Path,
    ending: Ending,
    ready: Callable[[], None],
) -> None:
    """Serve until a signal; SIGHUP looks for a changed release.

    Running answers may go on for a few seconds; a second signal cuts them off.

    Args:
        gateway: what serves.
        sockets: listening ones, each with whether its requests need a key.
        keys: where the hashes of the keys are.
        ending: has the signals.
        ready: called once signals end the server as they should and requests are answered.
    """
    asyncio.run(_serve(gateway, sockets, keys, ending, ready))


async def _serve(
    gateway: Gateway,
    sockets: Sequence[tuple[socket.socket, bool]],
    keys: Path,
    ending: Ending,
    ready: Callable[[], None],
) -> None:
    app = make_app(gateway)
    servers = [_server(RequireKey(app, keys) if needs_key else app) for _, needs_key in sockets]

    def stop() -> None:
        for server in servers:
            server.force_exit = server.should_exit
            server.should_exit = True

    loop = asyncio.get_running_loop()
    ending.serving(
        lambda: loop.call_soon_threadsafe(stop), lambda: loop.call_soon_threadsafe(gateway.supervisor.reload)
    )
    ready()
    await asyncio.gather(
        *(server.serve(sockets=[given]) for server, (given, _) in zip(servers, sockets, strict=True))
    )


def _server(app: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=_DRAIN,
        )
    )
