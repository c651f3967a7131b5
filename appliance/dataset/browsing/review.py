"""The review of redactions: every value that was found, a person's word on it, and how far the person is."""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.dataset.redaction.decisions import (
    Decision,
    read_decisions,
    read_missed,
    write_decisions,
    write_missed,
)
from appliance.dataset.redaction.finding import Options
from appliance.dataset.redaction.project_redactor import dataset_key
from appliance.dataset.redaction.redactor import Redactor
from appliance.dataset.redaction.surrogates import normal
from appliance.errors import DataError
from appliance.paths import Project

_DONE = ("redact", "keep", "left")


@dataclass
class Value:
    """A value that was found, wherever it stands.

    Attributes:
        id: its `value_id`.
        kind: what it was taken for.
        score: of the place that is least sure.
        offsets, rows: for each place where its line begins in redactions.jsonl, and where the first of its row does.
        ids: the places' own ids, as numbers.
        done: what was done at each place, as its number in redact, keep, left.
    """

    id: str
    kind: str
    score: float = 1.0
    offsets: array[int] = field(default_factory=lambda: array("Q"))
    rows: array[int] = field(default_factory=lambda: array("Q"))
    ids: array[int] = field(default_factory=lambda: array("Q"))
    done: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.offsets)

    def place_id(self, place: int) -> str:
        """The id of one of its places."""
        return f"{self.ids[place]:016x}"


_Before = tuple[str, str, Decision | str | None]


class Review:
    """All values in the order of the review: the least sure first. Every decision is on the disk when a call returns.

    Args:
        project: prepared with redaction on.

    Raises:
        DataError: it was not, or its decisions are broken.
    """

    def __init__(self, project: Project) -> None:
        self.project = project
        self.path = project.dataset / "redactions.jsonl"
        if not self.path.is_file():
            raise DataError(
                f"{self.path}: no such file",
                'set [dataset.redact] mode = "placeholder" (or "surrogate") and run `anchorhold dataset` first',
            )
        self.decisions = read_decisions(project.redaction_decisions)
        self.missed = read_missed(project.redaction_missed)
        found = self._read()
        self.values = sorted(found.values(), key=lambda value: (value.score, value.kind, value.id))
        self._found = found
        self._undo: list[_Before] = []

    def _read(self) -> dict[str, Value]:
        found: dict[str, Value] = {}
        offset, row, row_offset = 0, "", 0
        with self.path.open("rb") as stream:
            for number, text in enumerate(stream, start=1):
                try:
                    line = json.loads(text)
                    if line["row"] != row:
                        row, row_offset = line["row"], offset
                    value = found.setdefault(line["value_id"], Value(line["value_id"], line["kind"]))
                    value.score = min(value.score, line["score"])
                    value.ids.append(int(line["id"], 16))
                    value.done.append(_DONE.index(line["done"]))
                except (ValueError, KeyError, TypeError) as error:
                    again = "make the dataset again with `anchorhold dataset`"
                    raise DataError(f"{self.path}:{number}: not a finding", again) from error
                value.offsets.append(offset)
                value.rows.append(row_offset)
                offset += len(text)
        return found

    @property
    def kinds(self) -> dict[str, int]:
        """How many values of each kind were found."""
        return dict(sorted(Counter(value.kind for value in self.values).items()))

    def finding(self, value: Value, place: int) -> tuple[list[dict[str, Any]], int]:
        """All findings of the row that a value's place is in, and which of them is the place."""
        findings: list[dict[str, Any]] = []
        at = 0
        with self.path.open("rb") as stream:
            stream.seek(value.rows[place])
            while text := stream.readline():
                line = json.loads(text)
                if findings and line["row"] != findings[0]["row"]:
                    break
                if line["id"] == value.place_id(place):
                    at = len(findings)
                findings.append(line)
        return findings, at

    # What was decided.

    def decision(self, value: Value, place: int) -> Decision | None:
        """The word on a place: its own, else that on its value."""
        return self.decisions.get(value.place_id(place)) or self.decisions.get(value.id)

    def is_decided(self, value: Value) -> bool:
        """Whether there is a word on the value, or on each of its places."""
        return value.id in self.decisions or all(
            value.place_id(place) in self.decisions for place in range(len(value))
        )

    def progress(self, kind: str = "") -> tuple[int, int]:
        """(values that are decided, values), of one kind or of all."""
        values = [value for value in self.values if not kind or value.kind == kind]
        return sum(map(self.is_decided, values)), len(values)

    def next_open(self, after: int, kind: str = "") -> int:
        """The number of the next value that is not decided, going round; -1 where all are."""
        count = len(self.values)
        for step in range(1, count + 1):
            number = (after + step) % count
            value = self.values[number]
            if (not kind or value.kind == kind) and not self.is_decided(value):
                return number
        return -1

    def pending(self) -> int:
        """How many decisions will change something at the next `anchorhold dataset`."""
        changing: set[str] = set()
        for value in self.values:
            for place, done in enumerate(value.done):
                decision = self.decision(value, place)
                if decision is None or _DONE[done] == "left":
                    continue
                other_kind = bool(decision.kind) and decision.kind != value.kind
                if decision.decision != _DONE[done] or other_kind:
                    own = value.place_id(place)
                    changing.add(own if own in self.decisions else value.id)
        return len(changing) + sum(1 for _ in self._missed_still())

    def _missed_still(self) -> Iterator[str]:
        """Missed values that the redactor has not seen yet."""
        if not self.missed:
            return
        keyed = Redactor("placeholder", dataset_key(self.project), Options()).keyed
        for text, kind in self.missed.items():
            if keyed("value", kind, normal(kind, text)) not in self._found:
                yield text

    # Deciding.

    def decide(self, known: str, decision: Decision) -> None:
        """Put a word on a value or a place, by its id.

        Raises:
            DataError: the file was broken meanwhile.
            OSError: it can't be written; nothing changed then.
        """
        self._put(known, decision)

    def mark_missed(self, text: str, kind: str) -> None:
        """Name a value that no rule found, letter by letter as it stands in the rows.

        Raises:
            DataError, OSError: as `decide`.
        """
        missed = read_missed(self.project.redaction_missed)
        before = missed.get(text)
        self._write_missed({**missed, text: kind})
        self._undo.append(("missed", text, before))

    def undo(self) -> str:
        """Take the last word back; returns the id or the text that it was on, "" where there is none left.

        Raises:
            DataError, OSError: as `decide`.
        """
        if not self._undo:
            return ""
        what, known, before = self._undo[-1]
        if what == "missed":
            missed = read_missed(self.project.redaction_missed)
            missed.pop(known, None)
            self._write_missed({**missed, known: before} if isinstance(before, str) else missed)
        else:
            self._write(known, before if isinstance(before, Decision) else None)
        self._undo.pop()
        return known

    def _put(self, known: str, decision: Decision) -> None:
        before = self.decisions.get(known)
        self._write(known, decision)
        self._undo.append(("decision", known, before))

    def _write(self, known: str, decision: Decision | None) -> None:
        # Read anew: a line that was written by hand meanwhile stays.
        decisions = read_decisions(self.project.redaction_decisions)
        decisions.pop(known, None)
        if decision is not None:
            decisions[known] = decision
        write_decisions(self.project.redaction_decisions, decisions)
        self.decisions = decisions

    def _write_missed(self, missed: Mapping[str, str]) -> None:
        write_missed(self.project.redaction_missed, missed)
        self.missed = dict(missed)


def of_kind(values: Sequence[Value], kind: str) -> list[int]:
    """The numbers of the values of one kind, or of all."""
    return [number for number, value in enumerate(values) if not kind or value.kind == kind]
