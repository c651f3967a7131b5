"""The monitor on disk, and an operator's wish to begin it anew (docs/formats/drift.md)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.paths import Device
from appliance.trust import clock
from appliance.update import audit
from appliance.watch import baseline as baselines
from appliance.watch.monitor import Monitor

MAX_BYTES = 16 * 1024 * 1024  # of the state
_MODE = 0o600  # the sketch tells which words people have used


def path(device: Device) -> Path:
    """Where the state lies."""
    return device.watch / "drift.json"


def reset_path(device: Device) -> Path:
    """Where an operator's wish lies until the gateway takes it up."""
    return device.watch / "reset.json"


def write(device: Device, monitor: Monitor) -> None:
    """Replace the state, durably and whole or not at all."""
    storage.write_bytes(path(device), storage.canonical_json(monitor.to_json()) + b"\n", _MODE)


def read(device: Device) -> Monitor | None:
    """The state; None where there is none.

    Raises:
        ValueError: it is damaged; the message says how.
    """
    try:
        with path(device).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return Monitor.from_json(value)


def put_aside(device: Device) -> Path:
    """Rename a damaged state, so that it can be looked at; returns its new path."""
    aside = path(device).with_suffix(".damaged.json")
    path(device).replace(aside)
    return aside


def ask_reset(device: Device, keep_baseline: bool) -> None:
    """Leave the wish for the gateway, which alone writes the state."""
    time = clock.to_text(clock.machine_time())
    wish = {"keep_baseline": keep_baseline, "time": time, "by": audit.operator()}
    storage.write_json(reset_path(device), wish)


def asked_reset(device: Device) -> bool | None:
    """Whether the baseline is to be kept at the reset that was asked for; None where none was."""
    try:
        wish: Any = json.loads(reset_path(device).read_bytes())
    except OSError:
        return None
    except ValueError:
        return False  # somebody has wished for something
    return bool(wish.get("keep_baseline")) if isinstance(wish, dict) else False


def reset_by(device: Device) -> str:
    """Who asked for the reset, as their program said; "" if it isn't known."""
    try:
        wish: Any = json.loads(reset_path(device).read_bytes())
    except (OSError, ValueError):
        return ""
    return str(wish.get("by", ""))[:64] if isinstance(wish, dict) else ""


def forget_reset(device: Device) -> None:
    """The wish is fulfilled."""
    with contextlib.suppress(FileNotFoundError):
        reset_path(device).unlink()


def read_baseline(path_of: Path) -> baselines.Baseline:
    """A release's baseline, from the device's objects; its name is its digest.

    Raises:
        ValueError: damaged, or not what was installed.
        OSError: it can't be read.
    """
    with path_of.open("rb") as stream:
        data = stream.read(baselines.MAX_BYTES + 1)
    if len(data) > baselines.MAX_BYTES:
        raise ValueError(f"larger than {baselines.MAX_BYTES} bytes")
    if storage.sha256_bytes(data) != path_of.stem:
        raise ValueError("not the file that was installed")
    return baselines.from_json(json.loads(data))
