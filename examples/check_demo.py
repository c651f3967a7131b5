"""Is the sample project's result good enough? Run after `make demo`: one line a bar; ends with 1 if one is missed.

Reads what the demo left in demo/workorders/build: evaluation/results.json and events.jsonl.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

BUILD = Path(__file__).resolve().parents[1] / "demo" / "workorders" / "build"
ROAD = ("base", "dataset", "train", "convert", "evaluate", "release", "stick")
BEFORE, FIRST = ROAD[:2]


@dataclass(frozen=True)
class Bar:
    """What is asked and what was found; `value` is None where there is nothing to measure."""

    name: str
    asked: str
    value: float | None
    unit: str
    ok: bool


def at_least(name: str, least: float, share: float | None) -> Bar:
    """A share that must reach `least` percent."""
    value = None if share is None else share * 100
    return Bar(name, f">= {least:g} %", value, "%", value is not None and value >= least)


def walks(events: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut the events of a project into runs: each appends to one file, and hours may lie between them.

    A run begins where the road's first stop starts or is skipped (or the base before it is unpacked), where a
    stop comes after a later one, where a stop starts that was left unfinished (the run before was killed), and
    after a failure.
    """
    walk: list[dict[str, Any]] = []
    unfinished: set[str] = set()
    for event in events:
        stage, kind = event["stage"], event["kind"]
        if stage not in ROAD:  # work inside a stage that has a name of its own, as reading a stick back
            walk.append(event)
            continue
        last = next((seen for seen in reversed(walk) if seen["stage"] in ROAD), None)
        enters = kind in {"started", "skipped"}
        again = (
            (stage == FIRST and enters and any(seen["stage"] != BEFORE for seen in walk))
            or (stage == BEFORE and enters)
            or (kind == "started" and stage in unfinished)
            or (last is not None and ROAD.index(stage) < ROAD.index(last["stage"]))
            or (last is not None and last["kind"] == "failed")
        )
        if again and walk:
            yield walk
            walk, unfinished = [], set()
        walk.append(event)
        if kind == "started":
            unfinished.add(stage)
        elif kind in {"finished", "failed"}:
            unfinished.discard(stage)
    if walk:
        yield walk


def longest_silence(events: Iterable[dict[str, Any]]) -> tuple[float, str] | None:
    """(seconds, between what) of the longest time without an event within one run; None without two events."""
    gaps = (
        (
            after["time"] - before["time"],
            f"{before['stage']} {before['kind']}, {after['stage']} {after['kind']}",
        )
        for walk in walks(events)
        for before, after in pairwise(walk)
    )
    return max(gaps, default=None)


def judge(results: dict[str, Any], events: Iterable[dict[str, Any]]) -> list[Bar]:
    """Every bar, reached or missed."""
    systems = {system["key"]: system for system in results["systems"]}
    base, shipped = systems.get("base"), systems.get("shipped")
    full = systems.get("tuned_f16", shipped)  # F16 isn't listed twice where it is what ships

    def share(system: dict[str, Any] | None, score: str) -> float | None:
        found = system.get(score) if system is not None else None
        return found["share"] if isinstance(found, dict) else found

    unlearnt = share(base, "exact")
    silence = longest_silence(events)
    between = f" (between {silence[1]})" if silence else ""
    return [
        at_least("tuned F16: exactly right", 80, share(full, "exact")),
        at_least("tuned F16: field F1", 85, share(full, "f1")),
        at_least("tuned F16: answers that are JSON", 99, share(full, "parses")),
        at_least("tuned F16: ended by themselves", 99, share(full, "ended")),
        at_least("shipped file: exactly right", 80, share(shipped, "exact")),
        at_least("shipped file: ended by themselves", 99, share(shipped, "ended")),
        Bar(
            "base: exactly right",
            "<= 5 %",
            None if unlearnt is None else unlearnt * 100,
            "%",
            unlearnt is not None and unlearnt <= 0.05,
        ),
        Bar(
            f"longest silence of a build{between}",
            "< 10 s",
            silence[0] if silence else None,
            "s",
            silence is not None and silence[0] < 10,
        ),
    ]


def main(build: Path = BUILD) -> int:
    """Print the table; 0 if every bar is reached."""
    try:
        results = json.loads((build / "evaluation" / "results.json").read_text(encoding="utf-8"))
        lines = (build / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        print(f"{error.filename}: no such file; `make demo` makes it", file=sys.stderr)
        return 1
    bars = judge(results, (json.loads(line) for line in lines))
    width = max(len(bar.name) for bar in bars)
    print(f"{'bar':<{width}}  {'asked':>8}  {'found':>8}  ok")
    for bar in bars:
        found = "nothing" if bar.value is None else f"{bar.value:.1f} {bar.unit}"
        print(f"{bar.name:<{width}}  {bar.asked:>8}  {found:>8}  {'yes' if bar.ok else 'NO'}")
    # Times are told, not judged: they say as much about what else the machine does as about us.
    return 0 if all(bar.ok for bar in bars if bar.unit != "s") else 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:2])))
