"""A person's word on findings: redaction-decisions.jsonl, and redaction-missed.jsonl for what no rule found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from appliance import storage
from appliance.dataset.redaction.finding import Options
from appliance.dataset.redaction.spans import KINDS, Span
from appliance.errors import DataError

MARKED = "a person marked it as missed"
_MODE = 0o600


@dataclass(frozen=True)
class Decision:
    """What a person decided of a finding, or of a value wherever it stands.

    Attributes:
        decision: `keep`: it stays; `redact`: it is replaced.
        kind: what it is, where the rules took it for something else; empty: they were right.
    """

    decision: Literal["redact", "keep"]
    kind: str = ""


def read_decisions(path: Path) -> dict[str, Decision]:
    """The decisions by the id of a finding or of a value, the last for an id; none where there is no such file.

    Raises:
        DataError: a line that says something else.
    """
    decisions: dict[str, Decision] = {}
    for number, entry in _entries(path):
        known, decision, kind = (str(entry.get(key, "")) for key in ("id", "decision", "kind"))
        if (
            decision not in ("keep", "redact")
            or not re.fullmatch(r"[0-9a-f]{16}", known)
            or (kind and (kind not in KINDS or decision == "keep"))
        ):
            raise DataError(
                f"{path}:{number}: no decision",
                'a line is {"id": "<id or value_id of redactions.jsonl>", "decision": "keep"}, or "redact", which '
                'may name the "kind" that it is',
            )
        decisions.pop(known, None)
        decisions[known] = Decision("keep" if decision == "keep" else "redact", kind)
    return decisions


def write_decisions(path: Path, decisions: Mapping[str, Decision]) -> None:
    """Write the file anew, whole or not at all."""
    with storage.atomic_writer(path, _MODE) as stream:
        for known, decision in decisions.items():
            line: dict[str, str] = {"id": known, "decision": decision.decision}
            stream.write(storage.json_line(line | {"kind": decision.kind} if decision.kind else line))


def read_missed(path: Path) -> dict[str, str]:
    """Values that no rule found and their kinds; none where there is no such file.

    Raises:
        DataError: a line that says something else.
    """
    missed: dict[str, str] = {}
    for number, entry in _entries(path):
        value, kind = entry.get("value"), entry.get("kind")
        if not isinstance(value, str) or not value.strip() or kind not in KINDS:
            raise DataError(
                f"{path}:{number}: no missed value",
                'a line is {"value": "<text as it stands in the rows>", "kind": "name"}, or another kind',
            )
        missed[value] = str(kind)
    return missed


def write_missed(path: Path, missed: Mapping[str, str]) -> None:
    """Write the file anew, whole or not at all; it holds personal data, so its owner alone may read it."""
    with storage.atomic_writer(path, _MODE) as stream:
        for value, kind in missed.items():
            stream.write(storage.json_line({"value": value, "kind": kind}))


def _entries(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    if not path.is_file():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        yield number, entry if isinstance(entry, dict) else {}


class ToldValues:
    """Finds the values of cells whose column's kind is told, letter by letter but for white space.

    A value isn't looked for inside a longer number or word: `12` stands in `ID12`, not in `120`.

    Args:
        told: (column, kind, value); a value without a letter or digit is nobody's.
    """

    def __init__(self, told: Iterable[tuple[str, str, str]]) -> None:
        values = {
            " ".join(value.split()): (column, kind)
            for column, kind, value in told
            if any(character.isalnum() for character in value)
        }
        longest_first = sorted(values, key=lambda value: (-len(value), value))
        self._patterns = [(_apart(value), *values[value]) for value in longest_first]

    def __call__(self, text: str) -> Sequence[Span]:
        """The spans in `text`, surer than any rule's; they may overlap."""
        return [
            Span(*match.span(), kind, 1.0, f"column `{column}` holds it")
            for pattern, column, kind in self._patterns
            for match in pattern.finditer(text)
        ]


def _apart(value: str) -> re.Pattern[str]:
    """Finds `value` where it neither begins nor ends inside a number or a word."""

    def no_more(where: str, character: str) -> str:
        sort = r"\d" if character.isdecimal() else r"[^\W\d_]" if character.isalpha() else ""
        return f"({where}{sort})" if sort else ""

    words = r"\s+".join(map(re.escape, value.split()))
    return re.compile(no_more("?<!", value[0]) + words + no_more("?!", value[-1]))


def with_told(options: Options, told: Iterable[tuple[str, str, str]]) -> Options:
    """Options that also find what stands in cells whose column's kind is told."""
    values, marked = ToldValues(told), options.marked
    return replace(options, marked=values if marked is None else lambda text: [*values(text), *marked(text)])


class MissedValues:
    """Finds values that a person named, as words of their own and letter by letter.

    Args:
        missed: value -> kind.
    """

    def __init__(self, missed: Mapping[str, str]) -> None:
        self._kinds = dict(missed)
        longest_first = sorted(missed, key=lambda value: (-len(value), value))
        either = "|".join(map(re.escape, longest_first))
        self._pattern = re.compile(rf"(?<!\w)(?:{either})(?!\w)") if missed else None

    def __call__(self, text: str) -> Sequence[Span]:
        """The spans in `text`, surer than any rule's."""
        if self._pattern is None:
            return []
        return [
            Span(match.start(), match.end(), self._kinds[match.group()], 1.0, MARKED)
            for match in self._pattern.finditer(text)
        ]
