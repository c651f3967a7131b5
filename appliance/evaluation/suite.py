"""A suite of cases as data: what is asked, who scores it, and what has to come out (docs/formats/suites.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Messages = list[dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        id: unique in its suite.
        values: its other keys, as the scorer knows them.
        where: `file:line`.
    """

    id: str
    values: Mapping[str, Any]
    where: str

    def text(self, key: str) -> str:
        """A text of the case; empty where it has none."""
        return str(self.values.get(key, ""))

    def texts(self, key: str) -> list[str]:
        """A list of texts; a single text is a list of one."""
        found = self.values.get(key, [])
        return [found] if isinstance(found, str) else [str(entry) for entry in found]


@dataclass(frozen=True)
class Gate:
    """A bound that a suite's figure has to keep.

    Attributes:
        metric: one of the scorer's.
        at_least, at_most: bounds of the figure itself.
        against: key of another system (`base`, `base_told`, `tuned_f16`) for the next two.
        drop_at_most: how much worse than that system the figure may be.
        ratio_at_most: how many times that system's figure it may be.
        sure: the bound counts as broken only if the 95 % interval lies beyond it too (or, against another system,
            if the paired test says worse).
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    against: str = ""
    drop_at_most: float | None = None
    ratio_at_most: float | None = None
    sure: bool = False


@dataclass(frozen=True)
class Suite:
    """A head and its cases.

    Attributes:
        name: letters, digits, `-`, `_`, `.`; what waivers and figures are kept under.
        title, about: for people; may be empty.
        kind: which part of an audit it belongs to (`domain`, `tone`, `safety`, ...).
        scorer: name of a scorer.
        cases: those without a fault.
        gates: bounds; may be none.
        options: of the scorer.
        system: system prompt before cases that have none; None: the project's own.
        max_tokens: of an answer.
        where: the file.
        of: how many cases there were before a sample was drawn; 0: none was.
        licence: of the cases, where they are somebody else's.
    """

    name: str
    scorer: str
    cases: tuple[Case, ...]
    gates: tuple[Gate, ...] = ()
    title: str = ""
    about: str = ""
    kind: str = "domain"
    options: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    max_tokens: int = 128
    where: str = ""
    of: int = 0
    licence: str = ""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a suite or one of its cases; the rest is used.

    Attributes:
        where: `file:line`, or the file.
        text: what is wrong, and what is meant if that can be told.
        suite: name of the suite; empty where it isn't known.
        case: id of the case; empty where it isn't one's.
        judged: it is of a head, a gate or a whole file of suites, so that a gate may have gone with it: it fails an
            audit by itself. A fault of a single case doesn't.
    """

    where: str
    text: str
    suite: str = ""
    case: str = ""
    judged: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"
