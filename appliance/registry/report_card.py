"""A release's report card in plain lines: gates, figures and what is missing, as release.json and audit.json tell them.

For terminals, serial lines too: the words of this program are ASCII, the tables keep to a width. What others wrote is
shown and never obeyed. Pure.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from appliance.registry import measures
from appliance.registry.facts import count, entries, number, part, text
from appliance.visible import visible

WIDTH = 78  # columns
LEAST_WIDTH = 74
_LONGEST = 2000  # characters of one text
_COLUMNS = {"figure": 20, "ships": 9, "95 %": 19, "other": 9}  # a space included; the verdict is the last
_SAID = {"better": "better", "worse": "worse", "no difference shown": "even"}


def _cell(shown: str, width: int) -> str:
    """`shown` in so many columns, the last of them free."""
    known = visible(shown, 0)
    known = known if len(known) < width else known[: width - 3] + ".."
    return f"{known:<{width}}"


def _wrapped(label: str, said: str, width: int, indent: int = 10) -> list[str]:
    words = visible(said[:_LONGEST], 0)
    head = f"{label:<{indent}}"
    return textwrap.wrap(words, width, initial_indent=head, subsequent_indent=" " * indent) or [head.rstrip()]


def _share(system: Any, metric: str) -> str:
    value = number(system, metric, "share")
    return "-" if value is None else f"{100 * value:.1f} %"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 4):.3g}"


def _waived(raw: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {text(each, "gate"): each for each in entries(raw, "evaluation", "waivers")}


def headline(raw: dict[str, Any]) -> str:
    """How many gates passed and how many somebody answers for, in a few words."""
    gates = measures.gates(raw)
    failed = [gate for gate in gates if not gate["passed"]]
    said = f"{len(gates) - len(failed)} of {len(gates)} passed"
    return f"{said}, {len(failed)} waived by name" if failed else said


def _gates(raw: dict[str, Any], width: int) -> Iterator[str]:
    waived = _waived(raw)
    gates = sorted(measures.gates(raw), key=lambda gate: bool(gate["passed"]))  # failed ones first
    if not gates:
        return
    yield "GATES"
    for gate in gates:
        state = "passed" if gate["passed"] else "FAILED"
        yield from _wrapped(f"  {state}", text(gate, "gate"), width)
        yield from _wrapped("", f"asked: {text(gate, 'bound')}; {text(gate, 'reason')}", width)
        waiver = waived.get(text(gate, "gate"))
        if waiver is not None and not gate["passed"]:
            yield from _wrapped("", f"waived by {text(waiver, 'name')}: {text(waiver, 'reason')}", width)
    yield ""


def _test_split(raw: dict[str, Any], width: int) -> Iterator[str]:
    systems = entries(raw, "evaluation", "systems")
    if not systems:
        return
    room = width - 38
    yield f"TEST SPLIT: {count(raw, 'evaluation', 'rows')} rows that training has never seen"
    yield f"  {'system':<{room}}{'exact':>9}{'fits':>9}{'ended':>9}{'F1':>9}"
    for system in systems:
        title = text(system, "title") or text(system, "key")
        f1 = number(system, "f1")
        cells = [_share(system, metric) for metric in ("exact", "valid", "ended")]
        cells.append("-" if f1 is None else f"{100 * f1:.1f} %")
        yield f"  {_cell(title, room)}{''.join(f'{cell:>9}' for cell in cells)}".rstrip()
    yield ""


def _other(audit: Any) -> tuple[str, str]:
    """Key and title of the system that the shipped file is shown beside; empty where it was measured alone."""
    shipped = text(audit, "shipped")
    found = next((each for each in entries(audit, "systems") if text(each, "key") != shipped), None)
    return (text(found, "key"), text(found, "title") or text(found, "key")) if found else ("", "")


def _row(*cells: str) -> str:
    columns = zip(cells, [*_COLUMNS.values(), 0], strict=True)
    return "    " + "".join(_cell(cell, width) if width else cell for cell, width in columns).rstrip()


def _suite(suite: dict[str, Any], shipped: str, other: str) -> Iterator[str]:
    beside = {text(each, "metric"): number(each, "value") for each in entries(suite, "figures", other)}
    verdicts = {
        text(each, "metric"): _SAID.get(text(each, "verdict"), "")
        for each in entries(suite, "differences")
        if text(each, "against") == other
    }
    for figure in entries(suite, "figures", shipped):
        metric = text(figure, "metric")
        low, high = number(figure, "low"), number(figure, "high")
        interval = "" if low is None or high is None else f"{_figure(low)} to {_figure(high)}"
        yield _row(
            metric,
            _figure(number(figure, "value")),
            interval,
            _figure(beside.get(metric)),
            verdicts.get(metric, ""),
        )


def _suites(audit: Any, width: int) -> Iterator[str]:
    shipped = text(audit, "shipped")
    other, title = _other(audit)
    yield "SUITES" + (f": the file that ships, beside {visible(title, width - 40)}" if other else "")
    yield _row(*_COLUMNS, "verdict")
    faults = 0
    for suite in entries(audit, "suites"):
        said = part(suite, "faults")
        faults += len(said) if isinstance(said, list) else 0
        about = f"{text(suite, 'name')}: {text(suite, 'title')} ({count(suite, 'cases')} cases)"
        yield _cell(f"  {about}", width + 1).rstrip()
        yield from _suite(suite, shipped, other)
    yield "  better or worse is said where a paired test shows it; even: none does"
    if faults:
        yield f"  {faults} cases could not be read, asked or scored; report-card.html names them"
    yield ""


def lines(raw: dict[str, Any], audit: Any, width: int = WIDTH) -> list[str]:
    """The card.

    Args:
        raw: of release.json.
        audit: of the audit.json that it lists, parsed.
        width: columns; fewer than `LEAST_WIDTH` are taken for these.

    Returns:
        Lines of at most `width` columns.
    """
    width = max(width, LEAST_WIDTH)
    model = next((each for each in entries(raw, "files") if text(each, "role") == "model"), {})
    sample = count(audit, "sample")
    asked = f"at most {sample} cases a suite" if sample else "every case of each suite"
    found = [
        *_wrapped("release", f"{text(raw, 'name')} {text(raw, 'version')}", width),
        *_wrapped("file", text(model, "name"), width),
        *_wrapped("sha256", text(model, "sha256"), width),
        *_wrapped("gates", headline(raw), width),
        *_wrapped("audit", f"{len(entries(audit, 'suites'))} suites, {asked}", width),
        "",
        *_gates(raw, width),
        *_test_split(raw, width),
        *_suites(audit, width),
    ]
    return found[:-1] if not found[-1] else found
