"""Portions in, accepted rows into a spool: each only once, in the order of the files, whoever worked on them."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.dataset.kept_rows import Columns, IdSet, KeptRows, id_text
from appliance.dataset.near.views import Views
from appliance.dataset.pairs import Pair, PairMaker
from appliance.dataset.reading import BadRow, RawRow
from appliance.dataset.redaction import RedactionReport
from appliance.dataset.row_batches import Batch, BatchMaker, Portion, Things
from appliance.dataset.telling import STAGE
from appliance.dataset.worker_pool import WorkerPool
from appliance.errors import DataError
from appliance.events import Emit, Event
from appliance.paths import Project

SHOWN = 20  # bad rows told to the person; all are in rejected.jsonl
_ADDED_AT_ONCE = 256  # rows
_PORTIONS_A_WORKER = 3  # that are under way or done and not yet accepted

OnBatch = Callable[[Batch], None]


def _ignore(_: Batch) -> None:
    pass


@dataclass
class Collector:
    """Takes what files hold, in order; sorts rows into kept, duplicate and rejected.

    Portions are worked on by the pool where there is one, and accepted in the order in which they were given: the
    result is the same to the bit without it.

    Attributes:
        pairs: gets transcripts and documents.
        flagged_file: gets what is wrong with rows that stay.
        cut_file: gets what reading left out of rows that stay.
        views: gets the texts to compare; None: none are compared.
        pool: None: portions are worked on here and at once.
        seen, test_ids: ids of accepted rows, and of those of the test files.
        repeats: ids of rows that were dropped since an equal one had been accepted.
        told: rows of the files, by the told column that stands in them.
        columns: of the files, as far as they were looked at.
        held: (id, offset, size) of rows in the spool that are other wordings of a question, for no split.
    """

    project: Project
    emit: Emit
    strict: bool
    maker: BatchMaker
    spool: IO[bytes]
    rejected_file: IO[bytes]
    report: RedactionReport
    pairs: PairMaker
    flagged_file: IO[bytes]
    cut_file: IO[bytes]
    views: Views | None = None
    pool: WorkerPool | None = None
    kept: KeptRows = field(default_factory=KeptRows)
    seen: IdSet = field(default_factory=IdSet)
    test_ids: IdSet = field(default_factory=IdSet)
    repeats: array[int] = field(default_factory=lambda: array("Q"))
    duplicates: int = 0
    overlaps: int = 0
    longest_answer: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    first_bad: list[str] = field(default_factory=list)
    flagged: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=dict)
    held: list[tuple[str, int, int]] = field(default_factory=list)
    spooled: int = 0
    _added: list[tuple[RawRow, bool]] = field(default_factory=list)
    _under_way: deque[tuple[Callable[[], Batch], bool, OnBatch]] = field(default_factory=deque)

    def reject(self, bad: BadRow) -> None:
        """Count and record a bad row; the first ones are told.

        Raises:
            DataError: always, where `strict` is set and the row is a file's own.
        """
        bad = replace(bad, reason=self.maker.told(bad.reason))
        if self.strict and not bad.made:
            raise DataError(
                str(bad), "mend or remove the row, or run without --strict to leave such rows out"
            )
        self.rejected[bad.kind] += 1
        line = {"file": bad.file, "line": bad.line, "kind": bad.kind, "reason": bad.reason}
        self.rejected_file.write(storage.json_line(line))
        if len(self.first_bad) < SHOWN:
            self.first_bad.append(str(bad))
            self.emit(Event(STAGE, "warning", str(bad)))

    def add_pair(self, pair: Pair) -> None:
        """Take a row that was made, or keep one back that is a question's other wording."""
        if not pair.held:
            self.add(pair.row, pair.test)
            return
        batch = self.maker.batch([pair.row])
        if len(batch.rows) and batch.rows.tokens[0] <= self.project.config.dataset.max_tokens:
            self.held.append((id_text(int(batch.rows.ids[0])), *self.append(batch.lines)))

    def add(self, raw: RawRow, test: bool) -> None:
        """Take a row of a test file or another; what can't be learnt from is rejected."""
        self._added.append((raw, test))
        if len(self._added) >= _ADDED_AT_ONCE:
            self._send_added()

    def append(self, line: bytes) -> tuple[int, int]:
        """Put one more line into the spool, checked and placed by somebody else; its offset and size."""
        place = self.spooled, len(line)
        self.spool.write(line)
        self.spooled += len(line)
        return place

    def forget_ids(self) -> None:
        """No more rows come."""
        self.seen, self.test_ids = IdSet(), IdSet()

    def _send_added(self) -> None:
        waiting, self._added = self._added, []
        for test in (True, False):
            if raws := [raw for raw, of_test in waiting if of_test == test]:
                self.take(Things(raws[0].file, [*raws]), test)

    def take(self, portion: Portion, test: bool, on_batch: OnBatch = _ignore) -> None:
        """Take a portion of a test file or another.

        Args:
            portion: what it is.
            test: whether it is of a test file.
            on_batch: told of its batch just before its rows are accepted.
        """
        if self.pool is None:
            self._accept(self.maker.make(portion), test, on_batch)
            return
        self._under_way.append((self.pool.submit(portion), test, on_batch))
        while len(self._under_way) > _PORTIONS_A_WORKER * len(self.pool):
            self._accept_next()

    def hand_over(self, batch: Batch, test: bool, on_batch: OnBatch = _ignore) -> None:
        """Take what needs no work, in its turn."""
        if self.pool is None:
            self._accept(batch, test, on_batch)
        else:
            self._under_way.append((lambda: batch, test, on_batch))

    def flush(self) -> None:
        """Accept all that is still under way."""
        if self._added:
            self._send_added()
        while self._under_way:
            self._accept_next()

    def _accept_next(self) -> None:
        result, test, on_batch = self._under_way.popleft()
        self._accept(result(), test, on_batch)

    def _accept(self, batch: Batch, test: bool, on_batch: OnBatch) -> None:
        """The rows of a batch, and what stands between them, in order."""
        on_batch(batch)
        self.told.update(batch.told)
        begin = 0
        bad: list[tuple[int, BadRow]] = []
        for place, thing in batch.others:
            if isinstance(thing, BadRow):
                bad.append((place, thing))
                continue
            self._accept_run(batch, begin, place, bad, test)
            begin, bad = place, []
            self.pairs.take(thing, test)
        self._accept_run(batch, begin, len(batch.rows), bad, test)

    def _accept_run(
        self, batch: Batch, begin: int, end: int, bad: Iterable[tuple[int, BadRow]], test: bool
    ) -> None:
        rows = batch.rows.chosen(slice(begin, end)) if end - begin < len(batch.rows) else batch.rows
        new = self.seen.add(rows.ids)
        self._count_repeats(rows.ids[~new], test)
        if test:
            self.test_ids.add(rows.ids[new])
        for place in [place for place in batch.findings if begin <= place < end and new[place - begin]]:
            identity = id_text(int(rows.ids[place - begin]))
            self.report.add(identity, batch.sources[place], batch.findings[place])
        for found, counts, stream in (
            (batch.flawed, self.flagged, self.flagged_file),
            (batch.cut, self.cut, self.cut_file),
        ):
            for place in [place for place in found if begin <= place < end and new[place - begin]]:
                identity, source = id_text(int(rows.ids[place - begin])), batch.sources[place]
                for kind, reason in found[place]:
                    counts[kind] += 1
                    line = {"id": identity, "source": source, "kind": kind, "reason": reason}
                    stream.write(storage.json_line(line))
        limit = self.project.config.dataset.max_tokens
        fits = new & (rows.tokens <= limit)
        for _, each in sorted([*bad, *_too_long(batch, begin, new & ~fits, limit)], key=lambda pair: pair[0]):
            self.reject(each)
        if not fits.any():
            return
        if test:
            rows.test[:] = True
        lengths = batch.answer_lengths[begin:end][fits]
        self.longest_answer = max(self.longest_answer, int(lengths.max()))
        if self.views is not None and batch.texts is not None:
            inside = np.zeros(len(batch.rows), dtype=bool)
            inside[begin:end] = fits
            self.views.add_texts(batch.texts.part(inside))
        self._spool(rows.chosen(fits) if not fits.all() else rows, batch.lines)

    def _spool(self, rows: Columns, lines: bytes) -> None:
        begins, sizes = rows.offsets.tolist(), rows.sizes.tolist()
        self.spool.writelines(lines[begin : begin + size] for begin, size in zip(begins, sizes, strict=True))
        places = self.spooled + np.cumsum(rows.sizes, dtype=np.int64) - rows.sizes
        self.kept.extend(replace(rows, offsets=places))
        self.spooled += sum(sizes)

    def _count_repeats(self, ids: NDArray[np.uint64], test: bool) -> None:
        """Test files are read first, so an equal row in `sources` is a leak rather than a repetition."""
        if not len(ids):
            return
        leaks = self.test_ids.holds(ids) & (not test)
        self.overlaps += int(np.count_nonzero(leaks))
        self.duplicates += int(np.count_nonzero(~leaks))
        self.repeats.frombytes(ids[~leaks].tobytes())


def _too_long(batch: Batch, begin: int, which: NDArray[np.bool_], limit: int) -> Iterator[tuple[int, BadRow]]:
    for place in (np.flatnonzero(which) + begin).tolist():
        file, _, line = batch.sources[place].rpartition(":")
        reason = f"{batch.rows.tokens[place]} tokens, more than dataset.max_tokens = {limit}"
        yield place, BadRow(file, int(line), "too-long", reason, made=place in batch.made)
