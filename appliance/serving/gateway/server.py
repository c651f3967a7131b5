"""Runs the gateway: sockets, signals, and the engine's supervisor around it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import uvicorn

from appliance.errors import ServingError, UsageError
from appliance.serving import api_keys
from appliance.serving.gateway.app import make_app
from appliance.serving.gateway.chat_request import RequestError
from appliance.serving.gateway.exchange import Gateway
from appliance.serving.gateway_client import MAX_SOCKET_PATH


@dataclass(frozen=True)
class Address:
    """A TCP address of this machine's own."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From "HOST:PORT".

        Raises:
            UsageError: not an address, or one that others could reach.
        """
        host, colon, port = text.rpartition(":")
        host = host.strip("[]")
        if not colon or not port.isdigit() or not 0 <= int(port) <= 65535:
            raise UsageError(f"--tcp {text}: not HOST:PORT", "for example --tcp 127.0.0.1:8080")
        host = "127.0.0.1" if host in {"", "localhost"} else host
        try:
            local = ip_address(host).is_loopback
        except ValueError as error:
            raise UsageError(
                f"--tcp {text}: {host!r} is not an IP address", "use 127.0.0.1 or ::1"
            ) from error
        if not local:
            raise UsageError(
                f"--tcp {text}: other machines could reach this address",
                "use 127.0.0.1 or ::1; to serve others, put a TLS proxy that you trust in front",
            )
        return cls(host, int(port))


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
    """One of two servers in a process; signals are handled for both together."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bind_unix(path: Path) -> socket.socket:
    """Listen at `path`, for the owner and the group only.

    Raises:
        ServingError: another gateway answers there, or the path is too long.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ServingError(
            f"{path}: too long for a socket (at most {MAX_SOCKET_PATH} bytes)", "choose another with --socket"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        listening.bind(str(path))
    except BaseException:
        listening.close()
        raise
    finally:
        os.umask(before)
    listening.listen(128)
    return listening


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServingError(f"{path}: there is a file that is no socket", "choose another with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # its gateway was killed
            return
    raise ServingError(
        f"{path}: a gateway is running already", "stop it first, or choose another with --socket"
    )


def bind_tcp(address: Address, keys: Path) -> socket.socket:
    """Listen on loopback.

    Raises:
        ServingError: there is no key yet, or the port is taken.
    """
    if not api_keys.names(keys):
        raise ServingError("TCP needs a key and there is none", "make one: `anchorhold serve --new-key NAME`")
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ServingError(
            f"{address.host}:{address.port}: {error.strerror}", "choose another port with --tcp"
        ) from error
    listening.listen(128)
    return listening


def run(gateway: Gateway, unix: socket.socket, tcp: socket.socket | None, keys: Path) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP looks for a changed release."""
    path = Path(unix.getsockname())
    try:
        asyncio.run(_serve(gateway, unix, tcp, keys))
    finally:
        path.unlink(missing_ok=True)


async def _serve(gateway: Gateway, unix: socket.socket, tcp: socket.socket | None, keys: Path) -> None:
    app = make_app(gateway)
    servers = [(_server(app), unix)]
    if tcp is not None:
        servers.append((_server(RequireKey(app, keys)), tcp))

    def stop() -> None:
        for server, _ in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, gateway.supervisor.reload)
    await asyncio.gather(*(server.serve(sockets=[listening]) for server, listening in servers))


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
            timeout_graceful_shutdown=10,
        )
    )
