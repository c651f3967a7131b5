"""`log/audit.jsonl`: installs, refusals, rollbacks and drift, each line naming the digest of the line before."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.paths import Device
from appliance.trust import clock

_START = "0" * 64


def path(device: Device) -> Path:
    """Where the log lies."""
    return device.log / "audit.jsonl"


def _lines(data: bytes) -> list[bytes]:
    return [line for line in data.split(b"\n") if line]


def _chain(lines: list[bytes]) -> str:
    return storage.sha256_bytes(lines[-1]) if lines else _START


def append(device: Device, event: str, **data: Any) -> None:
    """Add one line, durably. The file itself is locked meanwhile, since installer and gateway both write it.

    A torn last line (power loss) is kept and closed: the chain goes on over it, and `verify` names it.
    """
    file = path(device)
    file.parent.mkdir(parents=True, exist_ok=True)
    new = not file.exists()
    fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        before = file.read_bytes()
        lines = _lines(before)
        entry = {
            "number": len(lines) + 1,
            "time": clock.to_text(clock.machine_time()),
            "event": event,
            "data": data,
            "previous": _chain(lines),
        }
        closing = b"\n" if before and not before.endswith(b"\n") else b""
        storage.append_whole(fd, closing + storage.canonical_json(entry) + b"\n")
    finally:
        os.close(fd)
    if new:
        storage.fsync_folder(file.parent)


def entries(device: Device) -> list[dict[str, Any]]:
    """All whole entries, oldest first."""
    found = []
    for line in _lines(path(device).read_bytes()) if path(device).exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # a torn line; `verify` names it
    return found


def verify(device: Device) -> list[str]:
    """What is wrong with the log, one line a fault; empty when the chain holds."""
    if not path(device).exists():
        return []
    faults: list[str] = []
    lines = _lines(path(device).read_bytes())
    for index, line in enumerate(lines):
        try:
            entry = json.loads(line)
            linked = entry["previous"] == _chain(lines[:index]) and entry["number"] == index + 1
        except (ValueError, KeyError, TypeError):
            faults.append(f"line {index + 1} is torn")
            continue
        if not linked:
            faults.append(f"line {index + 1} doesn't follow the line before it")
    return faults
