"""The in-process seal: loopback and Unix sockets work, everything else is denied."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def sealed(code: str) -> subprocess.CompletedProcess[str]:
    program = "from appliance import offline\noffline.seal()\nimport socket\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_an_outside_address_is_denied_before_a_packet_leaves():
    done = sealed("socket.create_connection(('192.0.2.1', 80), timeout=5)")
    assert "PermissionError: anchorhold is offline" in done.stderr


def test_a_name_is_not_even_looked_up():
    done = sealed("socket.getaddrinfo('example.org', 80)")
    assert "looking up 'example.org' is denied" in done.stderr


def test_datagrams_and_open_binds_are_denied():
    done = sealed("socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))")
    assert "PermissionError" in done.stderr
    done = sealed("socket.socket().bind(('0.0.0.0', 0))")
    assert "PermissionError" in done.stderr


def test_loopback_and_unix_sockets_work():
    done = sealed(
        """
        import tempfile, os
        server = socket.socket(); server.bind(('127.0.0.1', 0)); server.listen()
        socket.create_connection(server.getsockname()).close()
        path = os.path.join(tempfile.mkdtemp(), 's'); unix = socket.socket(socket.AF_UNIX); unix.bind(path)
        unix.listen(); client = socket.socket(socket.AF_UNIX); client.connect(path); print('fine')
        """
    )
    assert done.stdout == "fine\n", done.stderr


def test_hub_clients_are_told():
    assert sealed("import os; print(os.environ['HF_HUB_OFFLINE'])").stdout == "1\n"
