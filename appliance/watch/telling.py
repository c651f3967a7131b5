"""What is watched, told to people, programs and metrics; ASCII, so that a serial line shows it. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from appliance.watch.monitor import BLOCK, BUDGET, THRESHOLD, Alarm, Monitor, Watched
from appliance.watch.signals import BY_NAME

_NEXT = (
    "",
    "next      here: anchorhold corrections export FILE",
    "                anchorhold drift --json > drift.json",
    "          in the workshop: anchorhold retrain FILE --drift drift.json",
)
_SHORT = ("state", "requests", "baseline", "problem")
_LEVELS = " .:-=+*#"
_BAR = 10  # characters
_SPARK = 24  # characters, a block each


def describe(alarm: Alarm) -> str:
    """An alarm in plain words, on one line."""
    signal = BY_NAME[alarm.signal]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(alarm.since))
    among = f"{_percent(alarm.share)} of {alarm.seen} requests since about {when}"
    usually = f"usually {_percent(alarm.usual)}"
    if signal.rate:
        return f"{signal.about}: {among}, {usually}"
    beyond = "over" if alarm.side == "up" else "under"
    return f"{signal.about}: {beyond} {alarm.limit:.4g} in {among}, {usually}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _now(watched: Watched) -> float | None:
    """Mean of the newest one to two blocks; None without values."""
    newest = watched.history[-2:]
    count = sum(block.count for block in newest)
    return sum(block.total for block in newest) / count if count else None


def summary(monitor: Monitor) -> dict[str, Any]:
    """What GET /drift answers (docs/formats/drift.md); holds no text of any request."""
    alarmed = {alarm.signal for alarm in monitor.alarms}
    signals = []
    for name, watched in monitor.signals.items():
        sides = BY_NAME[name].sides
        state = "alarm" if name in alarmed else "watching" if watched.bursts else "learning"
        evidence = {side: round(max(0.0, monitor.log_evidence(name, side)) / THRESHOLD, 3) for side in sides}
        signals.append(
            {
                "name": name,
                "about": BY_NAME[name].about,
                "state": state,
                "values": watched.count,
                "usual": None if watched.spread is None else watched.spread.mean,
                "now": _now(watched),
                "evidence": evidence,
                "history": [round(block.total / block.count, 6) for block in watched.history if block.count],
            }
        )
    learning = any(each["state"] == "learning" and each["values"] for each in signals) or not monitor.requests
    return {
        "state": "alarm" if monitor.alarms else "learning" if learning else "watching",
        "release": monitor.release,
        "baseline": "of the release" if monitor.brought else "learnt here",
        "requests": monitor.requests,
        "budget": BUDGET,
        "signals": signals,
        "alarms": [{**asdict(alarm), "text": describe(alarm)} for alarm in monitor.alarms],
    }


def headline(told: dict[str, Any]) -> str:
    """A summary in one line."""
    alarms = len(told.get("alarms") or [])
    if alarms:
        return f"{alarms} alarm{'s' if alarms > 1 else ''}: `anchorhold drift`"
    where = f"{told.get('requests', 0)} requests seen, baseline {told.get('baseline', '?')}"
    return f"{told.get('state', 'off')}; {where}"


def short(told: dict[str, Any]) -> dict[str, Any]:
    """What GET /health says of a summary."""
    kept: dict[str, Any] = {name: told[name] for name in _SHORT if name in told}
    kept["alarms"] = [alarm["text"] for alarm in told["alarms"]]
    return kept


def spark(values: Sequence[float], width: int = _SPARK) -> str:
    """The newest values as characters from low to high."""
    shown = list(values)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high <= low:
        return _LEVELS[1] * len(shown)
    top = len(_LEVELS) - 1
    return "".join(_LEVELS[round((value - low) / (high - low) * top)] for value in shown)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def lines(told: dict[str, Any]) -> list[str]:
    """A summary as a table of at most 80 columns."""
    shown = [
        f"release   {told['release'][:16]}...  {told['requests']} requests seen, baseline {told['baseline']}",
        f"state     {told['state']}; in the mean at most one false alarm in {told['budget']} requests",
        "",
        f"{'signal':<11}{'state':<9}{'usual':>9}{'now':>9}  {'evidence':<{_BAR + 2}} by {BLOCK} requests",
    ]
    for each in told["signals"]:
        strongest = max(each["evidence"].values())
        full = min(_BAR, int(strongest * _BAR))
        bar = f"[{'#' * full}{'.' * (_BAR - full)}]"
        shown.append(
            f"{each['name']:<11}{each['state']:<9}{_figure(each['usual']):>9}{_figure(each['now']):>9}  "
            f"{bar} {spark(each['history'])}".rstrip()
        )
    for alarm in told["alarms"]:
        shown += ["", f"ALARM     {alarm['text']}"]
    return [*shown, *_NEXT] if told["alarms"] else shown
