"""Events on a terminal: a bar with an ETA and a live loss curve, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO

from appliance.events import Event
from appliance.visible import visible

PLAIN_SECONDS = 5.0  # a line at least this often while a plain job makes progress
_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: list[float], width: int = 24) -> str:
    """`values` as a line of block characters, the newest at the right, on the range that they span."""
    if not values:
        return ""
    share = max(1, -(-len(values) // width))
    points = [
        sum(values[at : at + share]) / len(values[at : at + share]) for at in range(0, len(values), share)
    ]
    low, high = min(points), max(points)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[int((point - low) / span * (len(_BLOCKS) - 1))] for point in points)


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 45s, 3m05s, 2h10m, 4d15h."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 2 * 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


class _Stage:
    def __init__(self) -> None:
        self._mark: Event | None = None  # from where speed is judged: what was resumed took no time now
        self.losses: list[float] = []
        self.validation: float | None = None
        self.speed = 0.0

    def take(self, event: Event) -> None:
        if event.total > 0 and (self._mark is None or event.done < self._mark.done):
            self._mark = event
        if "loss" in event.data:
            self.losses.append(float(event.data["loss"]))
        if "validation_loss" in event.data:
            self.validation = float(event.data["validation_loss"])
        self.speed = float(event.data.get("tokens_per_second", self.speed))

    def eta(self, event: Event) -> float | None:
        if self._mark is None or event.total <= 0 or event.done <= self._mark.done:
            return None
        return (event.time - self._mark.time) * (event.total - event.done) / (event.done - self._mark.done)

    def figures(self) -> str:
        parts = []
        if self.losses:
            parts.append(f"loss {self.losses[-1]:.3f}")
        if self.validation is not None:
            parts.append(f"validation {self.validation:.3f}")
        if self.speed:
            parts.append(f"{self.speed:.0f} tokens/s")
        return "  ".join(parts)


def _safe(text: str) -> str:
    """An event's text, which may quote people's files, for a terminal; line ends of its own are meant."""
    return "\n".join(visible(line, 0) for line in text.split("\n"))


class PlainProgress:
    """Lines for a log or a poor terminal; an `Emit` and a context manager."""

    def __init__(self, stream: TextIO | None = None, every: float = PLAIN_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._last = 0.0
        self._stages: dict[str, _Stage] = {}

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.flush()

    def _line(self, event: Event, text: str) -> None:
        self._stream.write(f"{event.stage:<9} {_safe(text)}\n")
        self._stream.flush()
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        if event.kind == "started" or event.stage not in self._stages:
            self._stages[event.stage] = _Stage()  # the same stage again begins anew
        stage = self._stages[event.stage]
        stage.take(event)
        if event.kind not in {"progress", "metric"}:
            mark = {"warning": "warning: ", "failed": "failed: ", "skipped": "unchanged: "}.get(
                event.kind, ""
            )
            self._line(event, mark + event.text)
            return
        if time.monotonic() - self._last < self._every:
            return
        count = (
            f"{event.done:g}/{event.total:g} {event.unit}" if event.total else f"{event.done:g} {event.unit}"
        )
        eta = stage.eta(event)
        parts = [count, stage.figures() or event.text, f"ETA {duration(eta)}" if eta is not None else ""]
        self._line(event, "  ".join(part for part in parts if part))


class LiveProgress:
    """A bar a stage with ETA and loss curve, by rich; an `Emit` and a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[stage]:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._stages: dict[str, _Stage] = {}
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> LiveProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        from rich.markup import escape

        if event.kind == "started" or event.stage not in self._stages:
            self._stages[event.stage] = _Stage()  # the same stage again begins anew
        stage = self._stages[event.stage]
        stage.take(event)
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self._bars.add_task(
                "", total=None, stage=event.stage, count="", note=""
            )
        task = self._tasks[event.stage]
        if event.kind in {"progress", "metric"}:
            eta = stage.eta(event)
            curve = sparkline(stage.losses)
            notes = [f"ETA {duration(eta)}" if eta is not None else "", stage.figures() or event.text, curve]
            count = f"{event.done:g}/{event.total:g}" if event.total else f"{event.done:g}"
            self._bars.update(
                task,
                completed=event.done,
                total=event.total or None,
                count=f"{count} {event.unit}",
                note=escape(_safe("  ".join(note for note in notes if note))),
            )
            return
        if event.kind in {"finished", "skipped"}:
            word = "unchanged: " if event.kind == "skipped" else ""
            self._bars.update(task, completed=1, total=1, count="", note=escape(_safe(word + event.text)))
            self._bars.stop_task(task)
            return
        style = {"warning": "yellow", "failed": "red"}.get(event.kind, "dim")
        self._console.print(
            f"{event.stage:<9} {_safe(event.text)}", style=style, markup=False, highlight=False
        )


def terminal_progress() -> PlainProgress | LiveProgress:
    """The renderer that suits where stderr goes."""
    import os

    fancy = (
        sys.stderr.isatty()
        and os.environ.get("TERM", "dumb") not in {"dumb", ""}
        and "NO_COLOR" not in os.environ
    )
    return LiveProgress() if fancy else PlainProgress()
