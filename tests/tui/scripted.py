"""A backend that says what a test tells it to, at the moment the test tells it to."""

from __future__ import annotations

import queue
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from appliance.errors import AnchorholdError
from appliance.events import Emit
from appliance.update.slots import Slot
from tui.backend import Overview, StickFacts

END = {
    "finish_reason": "stop",
    "usage": {"prompt_tokens": 40, "completion_tokens": 60, "total_tokens": 100},
    "timings": {"seconds": 3.0, "prompt_seconds": 1.0, "queue_seconds": 0.0},
}
ACTIVE = Slot("a", "workorders", "1.1.0", "ab" * 32, 2, ("9d1c" * 16,), 1_790_000_000.0)
PREVIOUS = Slot("b", "workorders", "1.0.0", "cd" * 32, 1, ("9d1c" * 16,), 1_780_000_000.0)
HEALTH: dict[str, Any] = {
    "status": "ok",
    "problem": "",
    "restarts": 0,
    "uptime_seconds": 93784.0,
    "release": {
        "name": "workorders",
        "version": "1.1.0",
        "digest": "ab" * 32,
        "identity": "workorders-1.1.0",
    },
    "model": {"description": "llama 135M Q4_0", "context": 2048, "slots": 8, "threads": 2},
    "engine": {"busy": 1},
    "tokens_per_second": 182.4,
    "memory_bytes": 214 * 2**20,
    "queue": {"open": 1, "waiting": 0, "limit": 72},
    "requests": {"served": 512, "refused": 3, "cancelled": 7},
    "cache": {"hits": 40, "misses": 60, "bytes": 123456},
}
SERVING = Overview(True, HEALTH, ACTIVE, PREVIOUS, True)
NOTHING = Overview(
    problem="no gateway answers at /run/gateway.sock", hint="is it running? `anchorhold serve` starts it"
)


class ScriptedBackend:
    """Each question takes from `script`: text, an error to raise, or a dict that ends the answer."""

    def __init__(self, overview: Overview = SERVING) -> None:
        self.overview = overview
        self.script: queue.Queue[str | dict[str, Any] | AnchorholdError] = queue.Queue()
        self.asked: list[list[dict[str, str]]] = []
        self.closed = 0
        self.shown_card: list[str] | AnchorholdError = []
        self.found: list[Path] = []
        self.facts: StickFacts | AnchorholdError | None = None
        self.events: list[Any] = []
        self.outcome: str | AnchorholdError = ""
        self.installed: list[tuple[Path, Path | None]] = []
        self.rolled_back = 0
        self.judged: list[tuple[list[dict[str, str]], str, str, str | None]] = []
        self.full = False

    def say(self, *pieces: str | dict[str, Any] | AnchorholdError) -> None:
        for piece in pieces:
            self.script.put(piece)

    def ask(self, messages: Sequence[Mapping[str, str]]) -> Generator[str, None, dict[str, Any]]:
        self.asked.append([dict(message) for message in messages])
        try:
            while True:
                piece = self.script.get(timeout=30)
                if isinstance(piece, dict):
                    return piece
                if isinstance(piece, AnchorholdError):
                    raise piece
                yield piece
        except GeneratorExit:
            self.closed += 1
            raise

    def judge(
        self, messages: Sequence[Mapping[str, str]], answer: str, release: str, better: str | None
    ) -> bool:
        self.judged.append(([dict(turn) for turn in messages], answer, release, better))
        return not self.full

    def look(self) -> Overview:
        return self.overview

    def card(self) -> list[str]:
        if isinstance(self.shown_card, AnchorholdError):
            raise self.shown_card
        return self.shown_card

    def sticks(self) -> list[Path]:
        return self.found

    def check(self, stick: Path, trust: Path | None) -> StickFacts:
        if isinstance(self.facts, AnchorholdError):
            raise self.facts
        assert self.facts is not None
        return self.facts

    def install(self, stick: Path, trust: Path | None, emit: Emit) -> str:
        self.installed.append((stick, trust))
        for event in self.events:
            emit(event)
        if isinstance(self.outcome, AnchorholdError):
            raise self.outcome
        return self.outcome

    def rollback(self) -> str:
        self.rolled_back += 1
        if isinstance(self.outcome, AnchorholdError):
            raise self.outcome
        return self.outcome
