"""Raw rows in, accepted ones into a spool: cleaned, redacted, checked, and each only once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import IO

from appliance import storage
from appliance.dataset.arranging import STAGE, Kept
from appliance.dataset.cleaning import BadConversation
from appliance.dataset.lengths import CountTokens
from appliance.dataset.reading import BadRow, Document, RawRow, Transcript
from appliance.dataset.redaction import RedactionReport
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row
from appliance.errors import DataError
from appliance.events import Emit, Event
from appliance.paths import Project

SHOWN = 20  # bad rows told to the person; all are in rejected.jsonl
_BATCH_ROWS = 256
_BATCH_CHARACTERS = 1_000_000


@dataclass
class Collector:
    """Takes rows in order; sorts them into kept, duplicate and rejected."""

    project: Project
    emit: Emit
    strict: bool
    count: CountTokens
    maker: RowMaker
    spool: IO[bytes]
    rejected_file: IO[bytes]
    report: RedactionReport
    kept: list[Kept] = field(default_factory=list)
    seen: dict[str, bool] = field(default_factory=dict)
    duplicates: int = 0
    overlaps: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    first_bad: list[str] = field(default_factory=list)
    unpaired: Counter[str] = field(default_factory=Counter)
    batch: list[tuple[Row, RawRow, bool]] = field(default_factory=list)
    batch_characters: int = 0

    def reject(self, bad: BadRow) -> None:
        """Count and record a bad row; the first ones are told.

        Raises:
            DataError: always, where `strict` is set.
        """
        bad = replace(bad, reason=self.maker.told(bad.reason))
        if self.strict:
            raise DataError(
                str(bad), "mend or remove the row, or run without --strict to leave such rows out"
            )
        self.rejected[bad.kind] += 1
        line = {"file": bad.file, "line": bad.line, "kind": bad.kind, "reason": bad.reason}
        self.rejected_file.write(storage.json_line(line))
        if len(self.first_bad) < SHOWN:
            self.first_bad.append(str(bad))
            self.emit(Event(STAGE, "warning", str(bad)))

    def set_aside(self, material: Transcript | Document) -> None:
        """Material that no pairs are made of yet: counted, so that the card tells of it."""
        if isinstance(material, Transcript):
            self.unpaired["transcripts"] += 1
            self.unpaired["turns"] += len(material.turns)
        else:
            self.unpaired["documents"] += 1
            self.unpaired["blocks"] += len(material.blocks)

    def add(self, raw: RawRow, test: bool) -> None:
        """Take a row of a test file or another; what can't be learnt from is rejected."""
        try:
            row, findings = self.maker.row(raw)
            if self.maker.schema is not None:
                self.maker.schema.check_answer(row.answer)
        except BadConversation as fault:
            self.reject(BadRow(raw.file, raw.line, fault.kind, fault.reason))
            return
        if row.id in self.seen:
            # Test files are read first, so an equal row in `sources` is a leak rather than a repetition.
            leak = self.seen[row.id] and not test
            self.overlaps, self.duplicates = self.overlaps + leak, self.duplicates + (not leak)
            self.repeats[row.id] += not leak
            return
        self.seen[row.id] = test
        self.report.add(row.id, row.source, findings)
        self.batch.append((row, raw, test))
        self.batch_characters += sum(len(message["content"]) for message in row.messages)
        if len(self.batch) >= _BATCH_ROWS or self.batch_characters >= _BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        """Count the tokens of the rows that wait, and write those that aren't too long into the spool."""
        limit = self.project.config.dataset.max_tokens
        counts = self.count([row.messages for row, _, _ in self.batch])
        for (row, raw, test), tokens in zip(self.batch, counts, strict=True):
            if tokens > limit:
                reason = f"{tokens} tokens, more than dataset.max_tokens = {limit}"
                self.reject(BadRow(raw.file, raw.line, "too-long", reason))
                continue
            self.kept.append(Kept(row.id, row.group, tokens, test, self.spool.tell()))
            self.spool.write(row.to_line())
        self.batch, self.batch_characters = [], 0
