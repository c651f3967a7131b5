"""What was measured of a release, as one list of figures: its evaluation, and its audit where it brings one. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from appliance.registry.facts import count, entries, number, part, table, text

SHIPPED = "shipped"
TEST_SPLIT = "test split"
_SHARES = ("exact", "valid", "ended")


@dataclass(frozen=True)
class Measure:
    """One figure.

    Attributes:
        suite: "test split", or an audit suite's name.
        system: the key of what was measured; "shipped" is the file of the release.
        metric: its name.
        value: the figure; shares are from 0 to 1.
        low, high: its 95 % interval; None where there is none.
        cases: that it rests on.
        asked: digest of what was asked, where it is told: figures are comparable if it is equal.
    """

    suite: str
    system: str
    metric: str
    value: float
    low: float | None
    high: float | None
    cases: int
    asked: str = ""


def of_evaluation(raw: dict[str, Any]) -> Iterator[Measure]:
    """The figures of a release.json."""
    asked = text(raw, "provenance", "dataset")
    for system in entries(raw, "evaluation", "systems"):
        key, rows = text(system, "key"), count(system, "rows")
        for metric in _SHARES:
            share = number(system, metric, "share")
            if share is not None:
                low, high = number(system, metric, "low"), number(system, metric, "high")
                cases = count(system, metric, "total")
                yield Measure(TEST_SPLIT, key, metric, share, low, high, cases, asked)
        f1 = number(system, "f1")
        if f1 is not None:
            yield Measure(TEST_SPLIT, key, "f1", f1, None, None, rows, asked)


def of_audit(audit: Any) -> Iterator[Measure]:
    """The figures of an audit.json; none of a value that isn't one."""
    shipped = text(audit, "shipped")
    for suite in entries(audit, "suites"):
        name, asked = text(suite, "name"), text(suite, "digest")
        for system in table(suite, "figures"):
            for figure in entries(suite, "figures", system):
                value = number(figure, "value")
                if value is None:
                    continue
                key = SHIPPED if system == shipped else system
                low, high = number(figure, "low"), number(figure, "high")
                metric, cases = text(figure, "metric"), count(figure, "cases")
                yield Measure(name, key, metric, value, low, high, cases, asked)


def of_release(raw: dict[str, Any], audit: Any = None) -> list[Measure]:
    """All figures of a release, in the order in which they were written."""
    return [*of_evaluation(raw), *of_audit(audit)]


def gates(raw: dict[str, Any]) -> list[dict[str, Any]]:
    """The gates that a release.json tells of: `gate`, `bound`, `passed`, `reason`."""
    return [gate for gate in entries(raw, "evaluation", "gates") if isinstance(part(gate, "passed"), bool)]
