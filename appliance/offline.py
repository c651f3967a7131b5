"""No network, ever: hub clients told so, telemetry off, and sockets other than loopback and Unix denied in-process."""

from __future__ import annotations

import ipaddress
import os
import sys
from typing import Any

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_AUDITED = {"socket.connect", "socket.sendto", "socket.bind", "socket.sendmsg"}
_sealed = False


def _is_local(address: Any) -> bool:
    if isinstance(address, (str, bytes)):  # a Unix socket's path
        return True
    if not isinstance(address, tuple) or not address:
        return address is None
    host = str(address[0])
    if host in {"", "localhost"}:
        return host == "localhost"
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return False


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _AUDITED and len(arguments) > 1 and not _is_local(arguments[1]):
        raise PermissionError(f"anchorhold is offline: {event} to {arguments[1]!r} is denied")
    if event == "socket.getaddrinfo" and arguments and arguments[0] is not None:
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else str(arguments[0])
        if not _is_local((host, 0)):
            raise PermissionError(f"anchorhold is offline: looking up {host!r} is denied")


def seal() -> None:
    """Deny this process, from now on, every socket but loopback and Unix ones; idempotent.

    It guards against accident (a library that phones home), not against hostile code in the same process.
    """
    global _sealed
    if _sealed:
        return
    _sealed = True
    os.environ.update(_ENVIRONMENT)
    sys.addaudithook(_audit)
