"""From the builder's files to three clean splits and their card. Streams: memory holds hashes, not rows."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from appliance import storage
from appliance.dataset import canaries, quality
from appliance.dataset.arranging import STAGE, Arrangement, Kept, ReadRows, arrange
from appliance.dataset.card import FILE_NAME, DatasetCard, content_digest, token_lengths
from appliance.dataset.collecting import SHOWN, Collector
from appliance.dataset.lengths import counter, plain_counter
from appliance.dataset.reading import BadRow, RawRow, detect, file_name, find_files, read_detected
from appliance.dataset.redaction import RedactionReport
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row, row_from_line
from appliance.dataset.splitting import TRAIN
from appliance.errors import DataError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.visible import visible

SHOWN_WORST = 5  # pruned rows told; all are in quality.jsonl


def _nothing_left(collector: Collector) -> DataError:
    told = "".join(f"\n  {line}" for line in collector.first_bad)
    aside = "".join(f", {count} {what}" for what, count in sorted(collector.unpaired.items()))
    return DataError(
        f"no usable row: {collector.rejected.total()} rejected{aside}{told}",
        "mend the rows that are named; `anchorhold dataset inspect` shows what each file was taken for",
    )


def _too_few(splits: dict[str, list[Kept]]) -> DataError:
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    return DataError(
        f"too few different examples to split ({counts})",
        "at least three that differ in their prompt (or group) are needed, and a few hundred to learn from",
    )


def _state(path: Path) -> tuple[int, int]:
    """Bytes and time of a file; zeros where it can't be looked at, which reading it will tell."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _digest(path: Path) -> str:
    """The SHA-256 of a file; empty where it can't be read, which is told already."""
    try:
        return storage.sha256_file(path)
    except OSError:
        return ""


def _read_all(collector: Collector, files: list[tuple[Path, str, bool]]) -> list[dict[str, Any]]:
    """Feed every file to the collector; returns the card's list of sources."""
    total = sum(_state(path)[0] for path, _, _ in files)
    before, told = 0, 0
    sources = []
    for path, name, test in files:
        rows = 0

        def on_read(read: int, before: int = before) -> None:
            nonlocal told
            if (before + read) - told >= max(total // 100, 1):
                told = before + read
                collector.emit(Event(STAGE, "progress", "reading", done=told, total=total, unit="bytes"))

        section, state = collector.project.config.dataset, _state(path)
        found = detect(path, name, section)
        evidence = collector.maker.told(found.evidence)
        for note in found.assumed:
            collector.emit(Event(STAGE, "warning", f"{visible(name, 0)}: {note}: {visible(evidence, 300)}"))
        for material in read_detected(path, name, section, found, on_read):
            if isinstance(material, BadRow):
                collector.reject(material)
            elif isinstance(material, RawRow):
                rows += 1
                collector.add(material, test)
            else:
                collector.set_aside(material)
        size, digest = state[0], _digest(path)
        if _state(path) != state:
            text = f"{visible(name, 0)}: it changed while it was read; its digest is of what it holds now"
            collector.emit(Event(STAGE, "warning", text))
        read = {"name": name, "bytes": size, "sha256": digest, "rows": rows, "test": test}
        sources.append({**read, "format": found.format, "evidence": evidence})
        before += size
    collector.flush()
    return sources


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
    return [(path, file_name(path, project.root), path in test) for path in [*test, *train]]


def _findings_file(project: Project, wanted: bool) -> AbstractContextManager[IO[bytes]]:
    """redactions.jsonl to be written, for its owner's eyes; without redaction none stays from an earlier time."""
    path = project.dataset / "redactions.jsonl"
    if wanted:
        return storage.atomic_writer(path, 0o600)
    path.unlink(missing_ok=True)
    return nullcontext(io.BytesIO())


def _lines_at(spool: IO[bytes], rows: Iterable[Kept]) -> Iterator[bytes]:
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
    maker = RowMaker(project)
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
            _findings_file(project, maker.redactor is not None) as findings_file,
        ):
            report = RedactionReport(findings_file, raw_findings)
            collector = Collector(project, emit, strict, count, maker, spool, rejected_file, report)
            for bad in skipped:
                collector.reject(bad)
            sources = _read_all(collector, files)
        if not collector.kept:
            raise _nothing_left(collector)

        def read(rows: Iterable[Kept]) -> Iterator[Row]:
            return map(row_from_line, _lines_at(spool, rows))

        section = project.config.dataset
        arranged = arrange(collector.kept, read, section, collector.repeats, project.dataset, emit)
        splits = arranged.splits
        if not all(splits.values()):
            raise _too_few(splits)
        splits[TRAIN], pruned = _prune(project, splits[TRAIN], arranged.clusters, read, emit)
        over_limit = max(0, len(splits[TRAIN]) - section.limit) if section.limit else 0
        if section.limit:
            # In the order of their hashes: an unbiased pick, stable as it grows.
            splits[TRAIN] = splits[TRAIN][: section.limit]
        _plant(project, collector, splits[TRAIN])
        for name, rows in splits.items():
            with storage.atomic_writer(project.dataset / f"{name}.jsonl") as stream:
                stream.writelines(_lines_at(spool, rows))
    card = replace(
        _card(collector, arranged, sources),
        over_limit=over_limit,
        pruned=pruned,
        redactions=report.counts(section.redact.mode) if maker.redactor else {},
    )
    storage.write_json(project.dataset / FILE_NAME, card.to_json())
    _tell(card, emit)
    return card


def _prune(
    project: Project, train: list[Kept], clusters: dict[str, int], read: ReadRows, emit: Emit
) -> tuple[list[Kept], int]:
    """The training rows without the worst share, and how many went; writes quality.jsonl when that is wanted."""
    section = project.config.dataset.quality
    if not (section.score or section.drop_share):
        (project.dataset / quality.FILE_NAME).unlink(missing_ok=True)
        return train, 0
    emit(Event(STAGE, "message", f"scoring {len(train)} training rows"))
    scores = quality.score_rows(lambda: read(train), clusters)
    dropped = quality.worst(scores, section.drop_share)
    quality.write_scores(project.dataset, scores, dropped)
    shown = sorted((each for each in scores if each.id in dropped), key=lambda each: (-each.score, each.id))
    for each in shown[:SHOWN_WORST]:
        reason = each.reasons[0][2] if each.reasons else "by order"
        emit(Event(STAGE, "message", f"left out {visible(each.source, 0)}: {visible(reason, 300)}"))
    return [row for row in train if row.id not in dropped], len(dropped)


def _plant(project: Project, collector: Collector, train: list[Kept]) -> None:
    """Put the canaries among the training rows, and their secrets into canaries.jsonl."""
    section = project.config.dataset
    path = project.dataset / canaries.FILE_NAME
    if not section.canaries:
        path.unlink(missing_ok=True)
        return
    planted = canaries.plant(section.canaries, section.canary_seed, section.system)
    counts = collector.count([row.messages for row, _ in planted])
    for (row, _), tokens in zip(planted, counts, strict=True):
        collector.spool.seek(0, os.SEEK_END)
        train.append(Kept(row.id, row.group, tokens, test=False, offset=collector.spool.tell()))
        collector.spool.write(row.to_line())
    train.sort(key=lambda row: row.id)
    with storage.atomic_writer(path) as stream:
        stream.writelines(canaries.lines(planted))


def _card(collector: Collector, arranged: Arrangement, sources: list[dict[str, Any]]) -> DatasetCard:
    splits, section = arranged.splits, collector.project.config.dataset
    how = "90/10 by group, test from its own files" if sources[0]["test"] else "80/10/10 by group"
    return DatasetCard(
        digest=content_digest({name: [row.id for row in rows] for name, rows in splits.items()}),
        rows={name: len(rows) for name, rows in splits.items()},
        groups=arranged.units,
        tokens={name: token_lengths([row.tokens for row in rows]) for name, rows in splits.items()},
        duplicates=collector.duplicates,
        overlaps=collector.overlaps + arranged.overlaps,
        over_limit=0,
        rejected=dict(sorted(collector.rejected.items())),
        sources=sources,
        files={name: storage.sha256_file(collector.project.dataset / f"{name}.jsonl") for name in splits},
        split=how + (f", stratified by {arranged.labels} labels" if arranged.labels else ""),
        near={
            "mode": section.duplicates.near,
            "threshold": section.duplicates.threshold,
            **arranged.near,
        },
        conflicts=arranged.conflicts,
        labels=arranged.labels,
        moved=arranged.moved,
        canaries=section.canaries,
        unpaired=dict(sorted(collector.unpaired.items())),
    )


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
            (card.near.get("dropped", 0), "nearly the same as another"),
            (card.conflicts.get("dropped", 0), "with conflicting answers"),
            (card.pruned, "scored worst"),
            (card.over_limit, "over the limit"),
            *((number, f"{what} without pairs") for what, number in card.unpaired.items()),
        )
        if number
    ]
    text = f"{counts} rows" + (f" ({', '.join(left_out)})" if left_out else "")
    emit(Event(STAGE, "finished", text, data=card.to_json()))
