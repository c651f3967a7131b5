"""The fleet in lines for people and values for programs. What a device wrote is never put onto a terminal as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from appliance.fleet import refusals
from appliance.fleet.devices import Known
from appliance.fleet.taking import Taken, active
from appliance.trust import device_identity
from appliance.trust.chain import Entry
from appliance.visible import visible

_ALARMS = {
    "drift",
    "redteam",
    "failed",
    "start failed",
    "acknowledgment refused",
    "key made",
    "log cut",
    "begin lost",
}
_REFUSALS = {"refused", "rollback refused"}
_DATA_WIDTH = 300
_REFUSALS_SHOWN = 10  # of each kind


@dataclass(frozen=True)
class Summary:
    """A device and what its newest entries say.

    Attributes:
        known: the device.
        alarms, refusals: among the entries that came last.
        unbelieved: receipts of it that weren't taken, since one was.
        contradictions: receipts that its key has signed and that contradict what is known, whenever they came.
    """

    known: Known
    alarms: int
    refusals: int
    unbelieved: int
    contradictions: int = 0


def is_alarm(entry: Entry) -> bool:
    """Whether an entry tells of something that somebody should look at."""
    return entry.event in _ALARMS or (entry.event == "rolled back" and entry.data.get("automatic") is True)


def is_refusal(entry: Entry) -> bool:
    """Whether an entry tells of something that the device refused."""
    return entry.event in _REFUSALS


def summarise(known: Known, entries: Sequence[Entry], refused: Sequence[dict[str, Any]]) -> Summary:
    """Count what is new of a device.

    Args:
        known: the device.
        entries: all known ones.
        refused: its receipts that weren't taken.
    """
    fresh = [entry for entry in entries if entry.number >= known.fresh]
    since = [each for each in refused if str(each.get("time", "")) >= known.taken]
    proven = sum(map(refusals.contradicts, refused))
    return Summary(known, sum(map(is_alarm, fresh)), sum(map(is_refusal, fresh)), len(since), proven)


def release_of(statement: Any) -> str:
    """Name and version of the active release, or what there is instead."""
    slot = active(statement)
    if slot:
        return f"{slot.get('name', '?')} {slot.get('version', '?')}"
    return "unknown" if not statement else "none"


def facts(summary: Summary) -> dict[str, Any]:
    """A device for programs."""
    known = summary.known
    return {
        "device": known.device,
        "name": known.name,
        "key": known.key,
        "fingerprint": device_identity.fingerprint(known.key),
        "enrolled": known.enrolled,
        "how": known.how,
        "release": release_of(known.statement),
        "digest": active(known.statement).get("release"),
        "seen": known.seen,
        "taken": known.taken,
        "head": known.head.to_json(),
        "begin": known.begin.to_json(),
        "not_here_yet": max(0, known.reach.number - known.head.number),
        "alarms": summary.alarms,
        "refusals": summary.refusals,
        "receipts_refused": summary.unbelieved,
        "contradictions": summary.contradictions,
    }


def table(summaries: Sequence[Summary]) -> list[str]:
    """The fleet, a line a device."""
    rows = [("device", "release", "last seen", "head", "alarms", "refusals", "")]
    for each in summaries:
        known = each.known
        head = f"{known.head.number}:{known.head.digest[:8]}" if known.head.number else "-"
        left = known.reach.number - known.head.number
        notes = [f"{left} entries not here yet"] * (left > 0)
        notes += [f"{each.unbelieved} receipts refused"] * (each.unbelieved > 0)
        notes += [f"its key signed {each.contradictions} that contradict"] * (each.contradictions > 0)
        rows.append(
            (
                visible(known.title, 24),
                visible(release_of(known.statement), 28),
                visible(known.seen or "never", 20),
                head,
                str(each.alarms),
                str(each.refusals),
                ", ".join(notes),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def entry_line(entry: Entry) -> str:
    """One entry: number, time, event, and its data in one line."""
    mark = "!" if is_alarm(entry) else "x" if is_refusal(entry) else " "
    data = ", ".join(f"{name}: {_value(value)}" for name, value in entry.data.items())
    return (
        f"{entry.number:>6} {mark} {entry.time}  {visible(entry.event, 24):<12} {visible(data, _DATA_WIDTH)}"
    )


def _value(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def _slot_line(which: str, slot: Any) -> str:
    if not isinstance(slot, dict):
        return f"{which:<10} none"
    name, version = slot.get("name"), slot.get("version")
    digest, model = str(slot.get("release"))[:64], str(slot.get("model"))[:64]
    text = (
        f"{which:<10} {visible(f'{name} {version}', 60)}  release {visible(digest)}  model {visible(model)}"
    )
    return text + (f"  {visible(str(slot['problem']))}" if "problem" in slot else "")


def _refusal_lines(refused: Sequence[dict[str, Any]]) -> list[str]:
    """The newest of each kind, in the order in which they came; what contradicts is marked."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for each in refused:
        kinds.setdefault(str(each.get("kind")), []).append(each)
    shown = [each for each in refused if each in kinds[str(each.get("kind"))][-_REFUSALS_SHOWN:]]
    lines = []
    for each in shown:
        mark, reason = "!" if refusals.contradicts(each) else " ", visible(str(each.get("reason")), 200)
        lines.append(f"refused  {mark} {each.get('time')}  {reason}")
    if len(shown) < len(refused):
        lines.append(f"           {len(refused) - len(shown)} more receipts were refused: --json")
    return lines


def history(
    summary: Summary, entries: Sequence[Entry], refused: Sequence[dict[str, Any]], last: int
) -> list[str]:
    """A device with its history.

    Args:
        summary: of it.
        entries: all known ones.
        refused: its receipts that weren't taken.
        last: show so many entries; 0: all.
    """
    known, statement = summary.known, summary.known.statement
    lines = [
        f"device     {known.device}" + (f"  ({visible(known.name)})" if known.name else ""),
        f"key        {device_identity.fingerprint(known.key)}  enrolled {known.enrolled}, {known.how}",
        f"last seen  {known.seen or 'never'}" + (f"  (taken here {known.taken})" if known.taken else ""),
    ]
    slots = statement.get("slots") if isinstance(statement.get("slots"), dict) else {}
    if statement:
        lines += [_slot_line(which, (slots or {}).get(which)) for which in ("active", "previous")]
        lines += [
            f"{name:<10} {visible(', '.join(f'{key} {value}' for key, value in told.items()), 200)}"
            for name in ("ledger", "program", "time")
            if isinstance(told := statement.get(name), dict)
        ]
    lines.append(
        f"log        entries {known.begin.number + 1} to {known.head.number}, head {known.head.digest}"
    )
    if known.reach.number > known.head.number:
        lines.append(
            f"           {known.reach.number - known.head.number} more are on the device: bring another stick"
        )
    lines += _refusal_lines(refused)
    shown = entries[-last:] if last else entries
    if len(shown) < len(entries):
        lines.append(f"... {len(entries) - len(shown)} earlier entries: --all")
    return [*lines, *(entry_line(entry) for entry in shown)]


def taken_line(taken: Taken) -> str:
    """What became of one receipt."""
    title = visible(taken.title)
    if taken.outcome == "refused":
        return f"{title}: refused: {visible(taken.reason, 0)}"
    if taken.outcome == "known already":
        return f"{title}: known already, up to entry {taken.head}"
    if taken.enrolled:
        title = f"{title}: enrolled, its key has the fingerprint {taken.fingerprint}"
    left = f"; {taken.left} more are on the device, bring another stick" if taken.left else ""
    return (
        f"{title}: {taken.added} new {'entry' if taken.added == 1 else 'entries'}, up to {taken.head}{left}"
    )
