"""From the builder's files to three clean splits and their card. Streams: memory holds numbers, not rows."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.config import ToolForm
from appliance.dataset import canaries, quality
from appliance.dataset.arranging import Arrangement, Numbers, arrange
from appliance.dataset.card import FILE_NAME, DatasetCard, content_digest, token_lengths
from appliance.dataset.card_page import write_page
from appliance.dataset.changes import changes_told
from appliance.dataset.collecting import SHOWN, Collector
from appliance.dataset.feeding import read_all
from appliance.dataset.histogram import token_histogram
from appliance.dataset.kept_rows import Columns, group_key, id_text
from appliance.dataset.label_counts import count_labels
from appliance.dataset.lengths import CountTokens, counter_for
from appliance.dataset.licences import with_licences
from appliance.dataset.near.views import Views
from appliance.dataset.pairs import PairMaker
from appliance.dataset.pairs.holding_back import write_held_back
from appliance.dataset.publishing import CUT_FILE, REJECTED_FILE, next_dataset
from appliance.dataset.reading import BadRow, file_name, find_files
from appliance.dataset.redaction import RedactionReport
from appliance.dataset.row_batches import BatchMaker, Setup, file_state
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row
from appliance.dataset.splitting import TRAIN
from appliance.dataset.spool import SpooledRows
from appliance.dataset.telling import STAGE, Telling
from appliance.dataset.told_kinds import counted
from appliance.dataset.worker_pool import WorkerPool, cores
from appliance.errors import DataError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.visible import visible

SHOWN_WORST = 5  # pruned rows told; all are in quality.jsonl
WORTH_WORKERS = 8 * 1024 * 1024
"""Bytes of sources from which on starting processes (a second each) pays."""
_LINES_TOLD = 1000  # lines written after which it may be told


def _nothing_left(collector: Collector) -> DataError:
    told = "".join(f"\n  {line}" for line in collector.first_bad)
    unpaired = sorted(collector.pairs.unpaired.items())
    aside = "".join(f", {count} {what} without pairs" for what, count in unpaired)
    return DataError(
        f"no usable row: {collector.rejected.total()} rejected{aside}{told}",
        "mend the rows that are named; `anchorhold dataset inspect` shows what each file was taken for",
    )


def _too_few(splits: Mapping[str, Numbers]) -> DataError:
    counts = ", ".join(f"{len(rows)} {name}" for name, rows in splits.items())
    return DataError(
        f"too few different examples to split ({counts})",
        "at least three that differ in their prompt (or group) are needed, and a few hundred to learn from",
    )


def source_files(
    project: Project, on_skipped: Callable[[BadRow], None] = lambda _: None
) -> list[tuple[Path, str, bool]]:
    """The files that the dataset is made of: (path, name, whether it is a test file), test files first.

    Links that aren't followed, and the project's own files, are told to `on_skipped`; the answers' schema is no source.

    Raises:
        DataError: a file that is named isn't there, or none is found.
    """
    section = project.config.dataset
    test: list[Path] = []
    if section.test_sources:
        test = find_files(project.root, section.test_sources, "test_sources", on_skipped, project.own)
    taken = {path.resolve() for path in test}
    if section.schema_path:
        taken.add((project.root / section.schema_path).resolve())
    found = find_files(project.root, section.sources, "sources", on_skipped, project.own)
    train = [path for path in found if path.resolve() not in taken]
    if not train:
        raise DataError(
            "every file of dataset.sources is also in dataset.test_sources", "correct one of the two"
        )
    return [(path, file_name(path, project.root), path in test) for path in [*test, *train]]


def _findings_file(project: Project, wanted: bool) -> AbstractContextManager[IO[bytes]]:
    """redactions.jsonl to be written, for its owner's eyes; without redaction there is none."""
    if wanted:
        return storage.atomic_writer(project.dataset / "redactions.jsonl", 0o600)
    return nullcontext(io.BytesIO())


def _workers(wanted: int | None, files: list[tuple[Path, str, bool]], project: Project) -> int:
    """How many worker processes to start; 0: work here."""
    if project.config.dataset.redact.tagger:
        return (
            0  # a tagger is a model that keeps all cores busy by itself, and would be loaded in each process
        )
    if wanted is not None:
        return wanted
    size = sum(file_state(path)[0] for path, _, _ in files)
    return cores() if size >= WORTH_WORKERS and cores() > 1 else 0


def prepare(
    project: Project,
    emit: Emit,
    *,
    strict: bool = False,
    tokenizer: Callable[[str], int] | None = None,
    checkpoint: Path | None = None,
    raw_findings: bool = False,
    workers: int | None = None,
) -> DatasetCard:
    """Read, clean, check and split the project's examples into build/dataset.

    All is written beside the earlier dataset, which stays as it is until the new one is whole and takes its place:
    card.json last, so a folder with a card is whole.

    Args:
        project: its `[dataset]` says what to read.
        emit: gets progress in bytes, and a warning for each of the first bad rows.
        strict: stop on the first bad row.
        tokenizer: counts the tokens of a text, instead of the base's own tokenizer.
        checkpoint: the base's folder; resolved from the configuration when it is needed and not given.
        raw_findings: write what was redacted into redactions.jsonl as it was.
        workers: processes that read and make rows, 0 for none but this one; None: as many as there are cores where
            that pays. What is written is the same.

    Raises:
        DataError: nothing (or too little) is left, a file or column is missing, or a bad row with `strict`.
        ModelError: the base has no tokenizer or chat template.
        StorageError: a worker process died.
    """
    skipped: list[BadRow] = []
    files = source_files(project, skipped.append)
    maker = RowMaker(project)
    pool: AbstractContextManager[WorkerPool | None] = nullcontext()
    count, base = counter_for(project, emit, tokenizer, checkpoint)
    if base is not None and (number := _workers(workers, files, project)):
        pool = WorkerPool(Setup(project, base), number)
    text = f"reading {len(files)} file{'s' if len(files) > 1 else ''}"
    with pool as processes:
        emit(Event(STAGE, "started", text + (f" with {len(processes)} processes" if processes else "")))
        with next_dataset(project) as made, contextlib.ExitStack() as stack:
            spool = stack.enter_context(
                tempfile.TemporaryFile(prefix=".spool.", suffix=".part", dir=made.dataset)
            )
            views = None
            if project.config.dataset.duplicates.near != "ignore":
                views = stack.enter_context(Views(folder=made.dataset))
            pairs = PairMaker(made, count, emit, made.dataset, redacted=maker.told)
            stack.callback(pairs.close)
            with (
                storage.atomic_writer(made.dataset / REJECTED_FILE) as rejected_file,
                storage.atomic_writer(made.dataset / "flagged.jsonl") as flagged_file,
                storage.atomic_writer(made.dataset / CUT_FILE) as cut_file,
                _findings_file(made, maker.redactor is not None) as findings_file,
            ):
                report = RedactionReport(findings_file, raw_findings)
                batches = BatchMaker(project, maker, count)
                collector = Collector(
                    made,
                    emit,
                    strict,
                    batches,
                    spool,
                    rejected_file,
                    report,
                    pairs,
                    flagged_file,
                    cut_file,
                    views,
                    processes,
                )
                for bad in skipped:
                    collector.reject(bad)
                sources = read_all(collector, files)
            if processes is not None:
                processes.close()  # their memory is wanted for what comes now
            card = _finish(made, emit, collector, sources, count)
    _tell(card, project.config.dataset.tools, emit)
    return card


def _finish(
    project: Project, emit: Emit, collector: Collector, sources: list[dict[str, Any]], count: CountTokens
) -> DatasetCard:
    """Split what was collected, and write it."""
    section = project.config.dataset
    if not len(collector.kept):
        raise _nothing_left(collector)
    longest = collector.longest_answer
    columns, order = collector.kept.by_id()
    collector.forget_ids()
    if collector.views is not None:
        tell = Telling(emit, "taking off what all rows begin with", len(columns))
        collector.views.arrange(order, lambda done, _: tell(done))
    del order
    spooled = SpooledRows(collector.spool, columns)
    arranged = arrange(
        columns,
        spooled.rows,
        collector.views,
        section,
        project.dataset,
        emit,
        repeats=collector.repeats,
        longest_answer=longest,
    )
    splits = arranged.splits
    if not all(map(len, splits.values())):
        raise _too_few(splits)
    splits[TRAIN], pruned = _prune(project, spooled, splits[TRAIN], arranged.clusters, emit)
    over_limit = max(0, len(splits[TRAIN]) - section.limit) if section.limit else 0
    if section.limit:
        # In the order of their hashes: an unbiased pick, stable as it grows.
        splits[TRAIN] = splits[TRAIN][: section.limit]
    held_back = _hold_back(project, collector, spooled, splits[TRAIN])
    spooled = _plant(project, collector, spooled, splits, count)
    _write_splits(project, spooled, splits, emit)
    report = collector.report
    card = replace(
        _card(collector, spooled.columns, arranged, sources),
        over_limit=over_limit,
        pruned=pruned,
        held_back=held_back,
        redactions={**report.counts(section.redact.mode), **counted(section.redact, collector.told)}
        if section.redact.mode != "off"
        else {},
        label_counts=count_labels(project.dataset) if arranged.labels else {},
    )
    write_page(project, card)
    storage.write_json(project.dataset / FILE_NAME, card.to_json())
    return card


def _write_splits(project: Project, spooled: SpooledRows, splits: Mapping[str, Numbers], emit: Emit) -> None:
    telling = Telling(emit, "writing the splits", sum(map(len, splits.values())))
    done = 0
    for name, rows in splits.items():
        with storage.atomic_writer(project.dataset / f"{name}.jsonl") as stream:
            for line in spooled.lines(rows):
                stream.write(line)
                done += 1
                if done % _LINES_TOLD == 0:
                    telling(done)


class _Clusters(Mapping[str, int]):
    """id -> number of the cluster, for the rows that are near to others, looked up in the rows' columns."""

    def __init__(self, ids: NDArray[np.uint64], clusters: Numbers) -> None:
        self._ids, self._clusters = ids, clusters

    def __getitem__(self, identity: str) -> int:
        number = int(identity, 16)
        place = int(np.searchsorted(self._ids, np.uint64(number)))
        if place == len(self._ids) or int(self._ids[place]) != number or self._clusters[place] < 0:
            raise KeyError(identity)
        return int(self._clusters[place])

    def __iter__(self) -> Iterator[str]:
        return (id_text(int(self._ids[place])) for place in np.flatnonzero(self._clusters >= 0))

    def __len__(self) -> int:
        return int(np.count_nonzero(self._clusters >= 0))


def _prune(
    project: Project, spooled: SpooledRows, train: Numbers, clusters: Numbers, emit: Emit
) -> tuple[Numbers, int]:
    """The training rows without the worst share, and how many went; writes quality.jsonl when that is wanted."""
    section = project.config.dataset.quality
    if not (section.score or section.drop_share):
        return train, 0
    emit(Event(STAGE, "message", f"scoring {len(train)} training rows"))
    scores = quality.score_rows(lambda: spooled.rows(train), _Clusters(spooled.columns.ids, clusters))
    dropped = quality.worst(scores, section.drop_share)
    quality.write_scores(project.dataset, scores, dropped)
    shown = sorted((each for each in scores if each.id in dropped), key=lambda each: (-each.score, each.id))
    for each in shown[:SHOWN_WORST]:
        reason = each.reasons[0][2] if each.reasons else "by order"
        emit(Event(STAGE, "message", f"left out {visible(each.source, 0)}: {visible(reason, 300)}"))
    gone = np.array([int(identity, 16) for identity in dropped], dtype=np.uint64)
    return train[~np.isin(spooled.columns.ids[train], gone)], len(dropped)


def _hold_back(project: Project, collector: Collector, spooled: SpooledRows, train: Numbers) -> int:
    """Write the questions whose other wordings are trained on; how many there are."""

    def held() -> Iterator[Row]:
        return (spooled.row_at(offset, size) for _, offset, size in sorted(collector.held))

    def of_groups(groups: set[str]) -> Iterator[Row]:
        keys = np.array([group_key(group) for group in groups], dtype=np.uint64)
        return spooled.rows(train[np.isin(spooled.columns.groups[train], keys)])

    return write_held_back(project, held, of_groups)


def _plant(
    project: Project,
    collector: Collector,
    spooled: SpooledRows,
    splits: dict[str, Numbers],
    count: CountTokens,
) -> SpooledRows:
    """Put the canaries among the training rows, and their secrets into canaries.jsonl."""
    section = project.config.dataset
    if not section.canaries:
        return spooled
    planted = canaries.plant(section.canaries, section.canary_seed, section.system)
    rows = [row for row, _ in planted]
    columns = spooled.columns.with_more(
        (int(row.id, 16) for row in rows),
        count([row.messages for row in rows]),
        [collector.append(row.to_line()) for row in rows],
    )
    train = np.concatenate([splits[TRAIN], np.arange(len(spooled.columns), len(columns))])
    splits[TRAIN] = train[np.argsort(columns.ids[train], kind="stable")]
    with storage.atomic_writer(project.dataset / canaries.FILE_NAME) as stream:
        stream.writelines(canaries.lines(planted))
    return SpooledRows(collector.spool, columns)


def _card(
    collector: Collector, columns: Columns, arranged: Arrangement, sources: list[dict[str, Any]]
) -> DatasetCard:
    splits, section = arranged.splits, collector.project.config.dataset
    how = "90/10 by group, test from its own files" if sources[0]["test"] else "80/10/10 by group"
    return DatasetCard(
        digest=content_digest({name: columns.ids[rows] for name, rows in splits.items()}),
        rows={name: len(rows) for name, rows in splits.items()},
        groups=arranged.units,
        tokens={name: token_lengths(columns.tokens[rows]) for name, rows in splits.items()},
        duplicates=collector.duplicates,
        overlaps=collector.overlaps + arranged.overlaps,
        over_limit=0,
        rejected=dict(sorted(collector.rejected.items())),
        sources=with_licences(sources, section.licences, collector.emit),
        files={name: storage.sha256_file(collector.project.dataset / f"{name}.jsonl") for name in splits},
        split=how + (f", stratified by {arranged.labels} labels" if arranged.labels else ""),
        near={
            "mode": section.duplicates.near,
            "threshold": section.duplicates.threshold,
            **arranged.near,
        },
        conflicts=arranged.conflicts,
        labels=arranged.labels,
        lengths=token_histogram({name: columns.tokens[rows] for name, rows in splits.items()}),
        moved=arranged.moved,
        canaries=section.canaries,
        unpaired=dict(sorted(collector.pairs.unpaired.items())),
        pairs=collector.pairs.summary(),
        flagged=dict(sorted(collector.flagged.items())),
        cut=dict(sorted(collector.cut.items())),
    )


def _tell(card: DatasetCard, tools: ToolForm, emit: Emit) -> None:
    if card.rejected_rows > SHOWN:
        emit(
            Event(STAGE, "warning", f"and {card.rejected_rows - SHOWN} more bad rows, all in rejected.jsonl")
        )
    for text in changes_told(card, tools):
        emit(Event(STAGE, "warning", text))
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
