"""Copying from a terminal that may be far away: OSC 52, and a file, since a terminal never confirms."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path

from appliance import storage
from appliance.paths import state_folder

MAX_OSC52 = 74_000  # bytes of text; xterm and tmux cut longer ones


def copies_file() -> Path:
    """Where the last copied answer is also kept."""
    return state_folder() / "last-answer.txt"


def sequence(text: str, environment: Mapping[str, str]) -> str:
    """The OSC 52 sequence that puts `text` on the terminal's clipboard; "" if it is too long for one.

    Inside tmux and screen it is wrapped, so that it reaches the terminal outside.
    """
    data = text.encode("utf-8")
    if len(data) > MAX_OSC52:
        return ""
    plain = f"\x1b]52;c;{base64.b64encode(data).decode('ascii')}\x07"
    if environment.get("TMUX"):
        doubled = plain.replace("\x1b", "\x1b\x1b")
        return f"{plain}\x1bPtmux;{doubled}\x1b\\"
    if environment.get("TERM", "").startswith("screen"):
        return f"\x1bP{plain}\x1b\\"
    return plain


def write_file(path: Path, text: str) -> str:
    """Keep `text` at `path`, readable by its owner alone; returns the path, or "" if the disk said no."""
    try:
        storage.write_text(path, text, mode=0o600)
    except OSError:
        return ""
    return str(path)
