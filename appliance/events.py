"""Progress as data: one stream of events that the terminal, the TUI and the log file all read.

A long job takes an `Emit` and calls it; it never prints. On disk an event is one JSON line
(docs/formats.md, "events.jsonl").
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

Kind = Literal["started", "progress", "message", "warning", "metric", "finished", "skipped", "failed"]


@dataclass(frozen=True)
class Event:
    """One thing that happened in a stage.

    Attributes:
        stage: the stop on the road ("dataset", "train", "convert", ...).
        kind: what sort of event.
        text: a line for a person; may be empty for "progress" and "metric".
        done, total: how far, in `unit`; total 0 means unknown.
        data: values for programs (losses, counts, paths).
        time: seconds since the epoch.
    """

    stage: str
    kind: Kind
    text: str = ""
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)


Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """An `Emit` for callers that want no progress."""


class EventFile:
    """Appends events to a JSON-lines file; a line is written whole."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("a", encoding="utf-8")

    def __call__(self, event: Event) -> None:
        self._stream.write(json.dumps(asdict(event), ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def fan_out(*sinks: Emit) -> Emit:
    """One `Emit` that passes each event to all `sinks` in turn."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return emit
