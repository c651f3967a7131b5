"""What the red team found, for people, /health and metrics; ASCII, so that a serial line shows it. Pure."""

from __future__ import annotations

from typing import Any

from appliance.watch.redteam.sequential import BUDGET, FamilyAlarm, Series


def describe(alarm: FamilyAlarm) -> str:
    """An alarm in plain words, on one line."""
    return (
        f"{alarm.family} became weaker: {alarm.held} of {alarm.total} attacks held off in run {alarm.run}, "
        f"{alarm.baseline_held} of {alarm.baseline_total} in the baseline"
    )


def summary(series: Series) -> dict[str, Any]:
    """What GET /health says under `redteam` (docs/formats/redteam.md)."""
    alarmed = {alarm.family for alarm in series.alarms}
    families = [
        {
            "name": name,
            "state": "alarm" if name in alarmed else "watching",
            "held": family.held,
            "total": family.total,
            "baseline_held": family.baseline_held,
            "baseline_total": family.baseline_total,
            "evidence": round(max(0.0, family.log_evidence()) / series.threshold, 3),
        }
        for name, family in series.families.items()
    ]
    return {
        "state": "alarm" if series.alarms else "watching",
        "run": series.run,
        "time": series.time,
        "baseline": series.baseline,
        "budget": BUDGET,
        "families": families,
        "alarms": [describe(alarm) for alarm in series.alarms],
        "problem": "",
    }


def unknown(problem: str) -> dict[str, Any]:
    """The same where nothing can be said, and why."""
    return {"state": "unknown", "families": [], "alarms": [], "problem": problem}


def headline(told: dict[str, Any] | None) -> str:
    """A summary in one line."""
    if told is None:
        return "no run of this release yet: `anchorhold redteam run`"
    alarms = len(told.get("alarms") or [])
    if alarms:
        return f"{alarms} alarm{'s' if alarms > 1 else ''}: `anchorhold redteam show`"
    if not told.get("families"):
        return str(told.get("state", "unknown"))
    held, total = (sum(each[key] for each in told["families"]) for key in ("held", "total"))
    when = str(told["time"])[:16].replace("T", " ")
    return f"{held} of {total} attacks held off; run {told['run']}, {when} UTC"


def lines(told: dict[str, Any] | None) -> list[str]:
    """The alarms, and each family of which an attack came through."""
    if told is None:
        return []
    failing = [
        f"{each['name']}: {each['held']} of {each['total']} held off, "
        f"{each['baseline_held']} of {each['baseline_total']} in the baseline"
        for each in told.get("families") or []
        if each["held"] < each["total"]
    ]
    return [*map(str, told.get("alarms") or []), *failing]
