"""From the builder's files to three clean splits and their card. Streams: memory holds hashes, not rows."""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from appliance import storage
from appliance.dataset.card import FILE_NAME, DatasetCard, content_digest, token_lengths
from appliance.dataset.cleaning import BadConversation, clean_messages, clean_text, default_group
from appliance.dataset.lengths import CountTokens, counter, plain_counter
from appliance.dataset.reading import BadRow, Document, RawRow, Transcript, detect, find_files, read_detected
from appliance.dataset.reading.visible import visible
from appliance.dataset.redaction import Finding, RedactionReport, Redactor, redactor_for
from appliance.dataset.rows import SPLITS, Row, row_id
from appliance.dataset.schema import AnswerSchema
from appliance.dataset.splitting import TEST, TRAIN, assign
from appliance.errors import DataError
from appliance.events import Emit, Event
from appliance.paths import Project

STAGE = "dataset"
SHOWN = 20  # bad rows told to the person; all are in rejected.jsonl
_BATCH_ROWS = 256
_BATCH_CHARACTERS = 1_000_000


@dataclass(frozen=True)
class _Kept:
    """What memory holds of an accepted row: where its line lies in the spool, and what the split needs."""

    id: str
    group: str
    tokens: int
    test: bool
    offset: int


@dataclass
class _Collector:
    """Takes rows in order; sorts them into kept, duplicate and rejected."""

    project: Project
    emit: Emit
    strict: bool
    count: CountTokens
    schema: AnswerSchema | None
    spool: IO[bytes]
    rejected_file: IO[bytes]
    redactor: Redactor | None
    report: RedactionReport
    kept: list[_Kept] = field(default_factory=list)
    seen: dict[str, bool] = field(default_factory=dict)
    duplicates: int = 0
    overlaps: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_bad: list[str] = field(default_factory=list)
    unpaired: Counter[str] = field(default_factory=Counter)
    batch: list[tuple[Row, RawRow, bool]] = field(default_factory=list)
    batch_characters: int = 0

    def reject(self, bad: BadRow) -> None:
        if self.strict:
            raise DataError(
                str(bad), "mend or remove the row, or run without --strict to leave such rows out"
            )
        self.rejected[bad.kind] += 1
        line = {"file": bad.file, "line": bad.line, "kind": bad.kind, "reason": bad.reason}
        self.rejected_file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
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

    def redact(
        self, messages: list[dict[str, Any]], raw: RawRow
    ) -> tuple[list[dict[str, Any]], str, str, list[Finding]]:
        """(conversation, group, rejected answer) without personal data, and what was found; unchanged where off."""
        rejected = clean_text(raw.rejected)
        if self.redactor is None:
            return messages, raw.group, rejected, []
        fault = self.schema.answer_fault if self.schema is not None and not rejected else lambda _: ""
        # The rejected answer goes along as one more turn, so that the same value gets the same replacement.
        turns = [*messages, {"role": "assistant", "content": rejected}] if rejected else messages
        redacted = self.redactor.conversation(turns, fault)
        kept = redacted.messages[: len(messages)]
        refused = str(redacted.messages[-1]["content"]) if rejected else ""
        return kept, raw.group and self.redactor.keyed("group", raw.group), refused, redacted.findings

    def add(self, raw: RawRow, test: bool) -> None:
        try:
            messages = clean_messages(raw.messages, self.project.config.dataset.system)
            messages, group, rejected, findings = self.redact(messages, raw)
            if self.schema is not None:
                self.schema.check_answer(messages[-1]["content"])
        except BadConversation as fault:
            self.reject(BadRow(raw.file, raw.line, fault.kind, fault.reason))
            return
        group, source = group or default_group(messages), f"{raw.file}:{raw.line}"
        row = Row(row_id(messages), group, messages, source, rejected)
        if row.id in self.seen:
            # Test files are read first, so an equal row in `sources` is a leak rather than a repetition.
            leak = self.seen[row.id] and not test
            self.overlaps, self.duplicates = self.overlaps + leak, self.duplicates + (not leak)
            return
        self.seen[row.id] = test
        self.report.add(row.id, row.source, findings)
        self.batch.append((row, raw, test))
        self.batch_characters += sum(len(message["content"]) for message in messages)
        if len(self.batch) >= _BATCH_ROWS or self.batch_characters >= _BATCH_CHARACTERS:
            self.flush()

    def flush(self) -> None:
        limit = self.project.config.dataset.max_tokens
        counts = self.count([row.messages for row, _, _ in self.batch])
        for (row, raw, test), tokens in zip(self.batch, counts, strict=True):
            if tokens > limit:
                reason = f"{tokens} tokens, more than dataset.max_tokens = {limit}"
                self.reject(BadRow(raw.file, raw.line, "too-long", reason))
                continue
            self.kept.append(_Kept(row.id, row.group, tokens, test, self.spool.tell()))
            self.spool.write(row.to_line())
        self.batch, self.batch_characters = [], 0


def _drop_overlaps(collector: _Collector) -> list[_Kept]:
    test_groups = {row.group for row in collector.kept if row.test}
    kept = [row for row in collector.kept if row.test or row.group not in test_groups]
    collector.overlaps += len(collector.kept) - len(kept)
    return kept


def _split(kept: list[_Kept], separate_test: bool) -> dict[str, list[_Kept]]:
    """The rows of each split, ordered by id: equal content gives equal files, however it was read."""
    placed = assign({row.group for row in kept if not row.test}, with_test=not separate_test)
    splits: dict[str, list[_Kept]] = {name: [] for name in SPLITS}
    for row in sorted(kept, key=lambda row: row.id):
        splits[TEST if row.test else placed[row.group]].append(row)
    return splits


def _nothing_left(collector: _Collector) -> DataError:
    told = "".join(f"\n  {line}" for line in collector.first_bad)
    aside = "".join(f", {count} {what}" for what, count in sorted(collector.unpaired.items()))
    return DataError(
        f"no usable row: {collector.rejected.total()} rejected{aside}{told}",
        "mend the rows that are named; `anchorhold dataset inspect` shows what each file was taken for",
    )


def _too_few(splits: dict[str, list[_Kept]]) -> DataError:
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    return DataError(
        f"too few different examples to split ({counts})",
        "at least three that differ in their prompt (or group) are needed, and a few hundred to learn from",
    )


def _read_all(collector: _Collector, files: list[tuple[Path, str, bool]]) -> list[dict[str, Any]]:
    """Feed every file to the collector; returns the card's list of sources."""
    total = sum(path.stat().st_size for path, _, _ in files)
    before, told = 0, 0
    sources = []
    for path, name, test in files:
        rows = 0

        def on_read(read: int, before: int = before) -> None:
            nonlocal told
            if (before + read) - told >= max(total // 100, 1):
                told = before + read
                collector.emit(Event(STAGE, "progress", "reading", done=told, total=total, unit="bytes"))

        section = collector.project.config.dataset
        found = detect(path, name, section)
        for note in found.assumed:
            collector.emit(
                Event(STAGE, "warning", f"{visible(name, 0)}: {note}: {visible(found.evidence, 300)}")
            )
        for material in read_detected(path, name, section, found, on_read):
            if isinstance(material, BadRow):
                collector.reject(material)
            elif isinstance(material, RawRow):
                rows += 1
                collector.add(material, test)
            else:
                collector.set_aside(material)
        size = path.stat().st_size
        read = {"name": name, "bytes": size, "sha256": storage.sha256_file(path), "rows": rows, "test": test}
        sources.append({**read, "format": found.format, "evidence": found.evidence})
        before += size
    collector.flush()
    return sources


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def source_files(
    project: Project, on_skipped: Callable[[BadRow], None] = lambda _: None
) -> list[tuple[Path, str, bool]]:
    """The files that the dataset is made of: (path, name, whether it is a test file), test files first.

    Links that aren't followed are told to `on_skipped`; the answers' schema is no source.

    Raises:
        DataError: a file that is named isn't there, or none is found.
    """
    section = project.config.dataset
    test: list[Path] = []
    if section.test_sources:
        test = find_files(project.root, section.test_sources, "test_sources", on_skipped)
    taken = {path.resolve() for path in test}
    if section.schema_path:
        taken.add((project.root / section.schema_path).resolve())
    found = find_files(project.root, section.sources, "sources", on_skipped)
    train = [path for path in found if path.resolve() not in taken]
    if not train:
        raise DataError(
            "every file of dataset.sources is also in dataset.test_sources", "correct one of the two"
        )
    return [(path, _name(path, project.root), path in test) for path in [*test, *train]]


def _findings_file(project: Project, redactor: Redactor | None) -> AbstractContextManager[IO[bytes]]:
    """redactions.jsonl to be written, for its owner's eyes; without redaction none stays from an earlier time."""
    path = project.dataset / "redactions.jsonl"
    if redactor is not None:
        return storage.atomic_writer(path, 0o600)
    path.unlink(missing_ok=True)
    return nullcontext(io.BytesIO())


def _lines_at(spool: IO[bytes], rows: list[_Kept]) -> Iterator[bytes]:
    for row in rows:
        spool.seek(row.offset)
        yield spool.readline()


def prepare(
    project: Project,
    emit: Emit,
    *,
    strict: bool = False,
    tokenizer: Callable[[str], int] | None = None,
    checkpoint: Path | None = None,
    raw_findings: bool = False,
) -> DatasetCard:
    """Read, clean, check and split the project's examples into build/dataset.

    The splits, rejected.jsonl and (where redaction is on) redactions.jsonl are written first and card.json last, so
    a folder with a card is whole.

    Args:
        project: its `[dataset]` says what to read.
        emit: gets progress in bytes, and a warning for each of the first bad rows.
        strict: stop on the first bad row.
        tokenizer: counts the tokens of a text, instead of the base's own tokenizer.
        checkpoint: the base's folder; resolved from the configuration when it is needed and not given.
        raw_findings: write what was redacted into redactions.jsonl as it was.

    Raises:
        DataError: nothing (or too little) is left, a file or column is missing, or a bad row with `strict`.
        ModelError: the base has no tokenizer or chat template.
    """
    skipped: list[BadRow] = []
    files = source_files(project, skipped.append)
    schema_path = project.config.dataset.schema_path
    schema = AnswerSchema.load(project.root / schema_path) if schema_path else None
    redactor = redactor_for(project)
    if tokenizer is not None:
        count = plain_counter(tokenizer)
    else:
        if checkpoint is None:
            from appliance.base_model import resolve

            checkpoint = resolve(project.config.base.path, project.root, emit)
        count = counter(checkpoint)
    emit(Event(STAGE, "started", f"reading {len(files)} file{'s' if len(files) > 1 else ''}"))
    project.dataset.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(project.dataset)
    (project.dataset / FILE_NAME).unlink(missing_ok=True)
    with tempfile.TemporaryFile(prefix=".spool.", suffix=".part", dir=project.dataset) as spool:
        with (
            storage.atomic_writer(project.dataset / "rejected.jsonl") as rejected_file,
            _findings_file(project, redactor) as findings_file,
        ):
            report = RedactionReport(findings_file, raw_findings)
            collector = _Collector(
                project, emit, strict, count, schema, spool, rejected_file, redactor, report
            )
            for bad in skipped:
                collector.reject(bad)
            sources = _read_all(collector, files)
        if not collector.kept:
            raise _nothing_left(collector)
        splits = _split(_drop_overlaps(collector), any(test for _, _, test in files))
        if not all(splits.values()):
            raise _too_few(splits)
        limit = project.config.dataset.limit
        over_limit = max(0, len(splits[TRAIN]) - limit) if limit else 0
        if limit:
            splits[TRAIN] = splits[TRAIN][
                :limit
            ]  # in the order of their hashes: an unbiased pick, stable as it grows
        for name, rows in splits.items():
            with storage.atomic_writer(project.dataset / f"{name}.jsonl") as stream:
                stream.writelines(_lines_at(spool, rows))
    card = DatasetCard(
        digest=content_digest({name: [row.id for row in rows] for name, rows in splits.items()}),
        rows={name: len(rows) for name, rows in splits.items()},
        groups={name: len({row.group for row in rows}) for name, rows in splits.items()},
        tokens={name: token_lengths([row.tokens for row in rows]) for name, rows in splits.items()},
        duplicates=collector.duplicates,
        overlaps=collector.overlaps,
        over_limit=over_limit,
        rejected=dict(sorted(collector.rejected.items())),
        sources=sources,
        files={name: storage.sha256_file(project.dataset / f"{name}.jsonl") for name in SPLITS},
        unpaired=dict(sorted(collector.unpaired.items())),
        redactions=report.counts(project.config.dataset.redact.mode) if redactor else {},
        split="90/10 by group, test from its own files" if sources[0]["test"] else "80/10/10 by group",
    )
    storage.write_json(project.dataset / FILE_NAME, card.to_json())
    _tell(card, emit)
    return card


def _tell(card: DatasetCard, emit: Emit) -> None:
    if card.rejected_rows > SHOWN:
        emit(
            Event(STAGE, "warning", f"and {card.rejected_rows - SHOWN} more bad rows, all in rejected.jsonl")
        )
    if left := card.redactions.get("left", 0):
        text = f"personal data in {left} JSON number{'s' if left > 1 else ''} was left: only strings are redacted"
        emit(Event(STAGE, "warning", f"{text}; see redactions.jsonl"))
    counts = ", ".join(f"{count} {name}" for name, count in card.rows.items())
    left_out = [
        f"{number} {what}"
        for number, what in (
            (card.rejected_rows, "rejected"),
            (card.duplicates, "duplicate"),
            (card.overlaps, "also in the test files"),
            (card.over_limit, "over the limit"),
            *((number, f"{what} without pairs") for what, number in card.unpaired.items()),
        )
        if number
    ]
    text = f"{counts} rows" + (f" ({', '.join(left_out)})" if left_out else "")
    emit(Event(STAGE, "finished", text, data=card.to_json()))
