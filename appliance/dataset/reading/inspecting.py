"""What `anchorhold dataset inspect` tells of a file: what it was taken for and why, what it holds, two samples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.config import DatasetSection
from appliance.dataset.cleaning import BadConversation, clean_messages
from appliance.dataset.reading.detecting import Detected, detect
from appliance.dataset.reading.material import BadRow, Document, RawRow, Transcript
from appliance.dataset.reading.reader import read_detected
from appliance.visible import visible, visible_cell

SAMPLES = 2
SHOWN_BAD = 5  # bad rows a kind, each with its line
_TURNS_SHOWN = 4


@dataclass
class Inspection:
    """One file, read to its end.

    Attributes:
        name: as it was given.
        found: what it was taken for.
        rows, transcripts, turns, documents, blocks, pairs: how many; pairs are rows with a rejected answer.
        cut: rows of which a part was left out, or whose turns were put together.
        bad: bad rows by kind.
        first_bad: the first few of each kind.
        samples: the first rows, transcripts or documents, as JSON values.
    """

    name: str
    found: Detected
    rows: int = 0
    transcripts: int = 0
    turns: int = 0
    documents: int = 0
    blocks: int = 0
    pairs: int = 0
    cut: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    first_bad: list[BadRow] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it as a JSON value."""
        shape = self.found.shape
        counts = ("rows", "pairs", "cut", "transcripts", "turns", "documents", "blocks")
        return {
            "file": self.name,
            "format": self.found.format,
            "evidence": self.found.evidence,
            "encoding": self.found.encoding.told if self.found.is_read else "",
            "assumed": self.found.assumed,
            "mapping": dict(shape.mapping) if shape else {},
            **{name: getattr(self, name) for name in counts},
            "bad": dict(sorted(self.bad.items())),
            "first_bad": [
                {"line": bad.line, "kind": bad.kind, "reason": bad.reason} for bad in self.first_bad
            ],
            "samples": self.samples,
        }

    def lines(self) -> list[str]:
        """All of it for a terminal: one line each, nothing in it that a terminal would obey."""
        found = self.found
        told = [f"{visible(self.name, 0)}: {found.format}"]
        told.append(f"  why      {visible(found.evidence, 300)}")
        text = found.encoding.told + (", Windows line ends" if found.encoding.line_end == "\r\n" else "")
        if found.is_read and found.container not in {"xlsx", "parquet", "arrow", "pdf", "docx"}:
            told.append(f"  text     {text}")
        told += [f"  assumed  {visible(note, 200)}" for note in found.assumed]
        if found.shape and found.shape.mapping:
            mapping = ", ".join(f"{part} = {column}" for part, column in found.shape.mapping.items())
            told.append(f"  fields   {visible(mapping, 300)}")
        counts = (
            (self.rows, "rows"),
            (self.pairs, "of them preference pairs"),
            (self.cut, "of them cut"),
            (self.transcripts, "transcripts"),
            (self.turns, "turns"),
            (self.documents, "documents"),
            (self.blocks, "blocks"),
            (self.bad.total(), "bad"),
        )
        told.append(
            "  holds    " + (", ".join(f"{number} {what}" for number, what in counts if number) or "nothing")
        )
        for kind, count in sorted(self.bad.items()):
            told.append(f"  bad      {count} {kind}")
            told += [f"             {visible(str(bad), 200)}" for bad in self.first_bad if bad.kind == kind]
        for sample in self.samples:
            told += _sample_lines(sample)
        return told


def _sample_lines(sample: dict[str, Any]) -> list[str]:
    where = f"line {sample['line']}" if sample.get("line") else "its beginning"
    lines = [
        f"  sample   {where}" + (f", {visible(str(sample['title']), 80)}" if sample.get("title") else "")
    ]
    for who, text in sample["parts"]:
        lines.append(f"    {visible(str(who), 24):<10} {visible_cell(str(text), 160)}")
    if sample.get("more"):
        lines.append(f"    … {sample['more']} more")
    return lines


def _messages_sample(row: RawRow) -> dict[str, Any]:
    parts = [
        [str(message.get("role")), message.get("content")]
        if isinstance(message, dict)
        else ["?", str(message)]
        for message in (row.messages if isinstance(row.messages, list) else [row.messages])
    ]
    if row.rejected:
        parts.append(["(rejected)", row.rejected])
    return {"line": row.line, "parts": parts[:8], "more": max(0, len(parts) - 8)}


def inspect_file(path: Path, name: str, section: DatasetSection) -> Inspection:
    """Read a file to its end and tell what it holds; rows are checked as the dataset checks them.

    Raises:
        DataError, ConfigError: a table without the columns that the configuration names.
    """
    found = detect(path, name, section)
    told = Inspection(name, found)

    def bad(row: BadRow) -> None:
        told.bad[row.kind] += 1
        if told.bad[row.kind] <= SHOWN_BAD:
            told.first_bad.append(row)

    for thing in read_detected(path, name, section, found, lambda _: None):
        sample: dict[str, Any] = {}
        if isinstance(thing, BadRow):
            bad(thing)
        elif isinstance(thing, RawRow):
            try:
                clean_messages(thing.messages, section.system)
            except BadConversation as fault:
                bad(BadRow(name, thing.line, fault.kind, fault.reason))
                continue
            told.rows += 1
            told.pairs += bool(thing.rejected)
            told.cut += bool(thing.cuts)
            sample = _messages_sample(thing)
        elif isinstance(thing, Transcript):
            told.transcripts += 1
            told.turns += len(thing.turns)
            parts = [[turn.speaker or f"({turn.kind})", turn.text] for turn in thing.turns[:_TURNS_SHOWN]]
            sample = {
                "line": thing.line,
                "title": thing.name,
                "parts": parts,
                "more": max(0, len(thing.turns) - _TURNS_SHOWN),
            }
        else:
            told.documents += 1
            told.blocks += len(thing.blocks)
            sample = _document_sample(thing)
        if sample and len(told.samples) < SAMPLES:
            told.samples.append(sample)
    return told


def _document_sample(document: Document) -> dict[str, Any]:
    parts = [
        [" › ".join(block.headings[-2:]) or block.kind, block.text[:2000]] for block in document.blocks[:2]
    ]
    first = document.blocks[0]
    return {
        "line": first.line,
        "title": document.title,
        "parts": parts,
        "more": max(0, len(document.blocks) - 2),
    }
