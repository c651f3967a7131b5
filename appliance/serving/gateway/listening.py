"""Where the gateway listens: the Unix socket, of which there is one owner, and a TCP address."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from appliance.errors import ServingError, UsageError
from appliance.serving import api_keys
from appliance.serving.gateway_client import MAX_SOCKET_PATH


@dataclass(frozen=True)
class Address:
    """A TCP address to listen on."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """From "HOST:PORT".

        Raises:
            UsageError: not an address.
        """
        host, colon, port = text.rpartition(":")
        host = host.strip("[]")
        if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
            raise UsageError(f"--tcp {text}: not HOST:PORT", "for example --tcp 127.0.0.1:8080")
        host = "127.0.0.1" if host in {"", "localhost"} else host
        try:
            ip_address(host)
        except ValueError as error:
            raise UsageError(
                f"--tcp {text}: {host!r} is not an IP address", "use 127.0.0.1 or ::1"
            ) from error
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return ip_address(self.host).is_loopback

    def url(self, port: int) -> str:
        """The address with the port that was bound."""
        return f"http://[{self.host}]:{port}" if ":" in self.host else f"http://{self.host}:{port}"


@contextlib.contextmanager
def unix_socket(path: Path) -> Iterator[socket.socket]:
    """Listen at `path`, for the owner and the group only; afterwards the path is gone.

    A lock beside it tells a gateway that runs (or is just ending) from the socket of one that was killed.

    Raises:
        ServingError: another gateway runs there, or the path is too long.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ServingError(
            f"{path}: too long for a socket (at most {MAX_SOCKET_PATH} bytes)", "choose another with --socket"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with _owned(path):
        _clear_stale(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
            before = os.umask(0o117)
            try:
                listening.bind(str(path))
            finally:
                os.umask(before)
            try:
                listening.listen(128)
                yield listening
            finally:
                path.unlink(missing_ok=True)


def _running(path: Path) -> ServingError:
    return ServingError(
        f"{path}: a gateway is running already", "stop it first, or choose another with --socket"
    )


@contextlib.contextmanager
def _owned(path: Path) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    while True:
        with lock.open("ab") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _running(path) from error
            try:
                same = os.path.samestat(os.fstat(held.fileno()), lock.stat())
            except FileNotFoundError:
                same = False
            if not same:
                continue  # its former holder removed it between our opening and locking
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServingError(f"{path}: there is a file that is no socket", "choose another with --socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()  # its gateway was killed
            return
        except TimeoutError:
            pass  # somebody holds it, however busy
    raise _running(path)


def bind_tcp(address: Address, keys: Path) -> socket.socket:
    """Listen on a TCP address.

    Raises:
        ServingError: there is no key yet, or the address can't be had.
    """
    if not api_keys.names(keys):
        reach = "" if address.loopback else ", and other machines could reach this address"
        raise ServingError(
            f"--tcp {address.host}:{address.port}: TCP needs a key and there is none{reach}",
            "make one: `anchorhold serve --new-key NAME`",
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((address.host, address.port))
    except OSError as error:
        listening.close()
        raise ServingError(
            f"{address.host}:{address.port}: {error.strerror}", "choose another address or port with --tcp"
        ) from error
    listening.listen(128)
    return listening
