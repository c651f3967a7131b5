"""Which terminal this is: full, or plain (no colour, ASCII only) for serial lines and consoles."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping

PLAIN_TERMINALS = frozenset({"linux", "vt100", "vt102", "vt220", "vt320", "dumb", "ansi"})
FRAMES_FULL = "30"
FRAMES_PLAIN = "10"  # a serial line carries no more


def wants_plain(environment: Mapping[str, str], asked: bool = False) -> bool:
    """True if colours and non-ASCII signs are to be avoided."""
    return asked or bool(environment.get("NO_COLOR")) or environment.get("TERM", "") in PLAIN_TERMINALS


def prepare(environment: MutableMapping[str, str], plain: bool) -> None:
    """Set what Textual reads once, when it is imported; call it before that."""
    environment.setdefault("TEXTUAL_FPS", FRAMES_PLAIN if plain else FRAMES_FULL)
    environment.setdefault("TEXTUAL_ANIMATIONS", "none")
    environment.setdefault("ESCDELAY", "100")
    if plain:
        environment["NO_COLOR"] = "1"


def is_plain() -> bool:
    """`wants_plain` for this process."""
    return wants_plain(os.environ)
