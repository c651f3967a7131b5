"""From accepted rows to splits: what is near stays together, what leaks leaves, conflicts are settled, units placed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.config import DatasetSection
from appliance.dataset import conflicts, remembered_places
from appliance.dataset.kept_rows import Columns, Ids, id_text
from appliance.dataset.near import UnionFind
from appliance.dataset.near.shingles import mix
from appliance.dataset.near.views import Reasons, Views, progress
from appliance.dataset.placing import Units, are_labels, place
from appliance.dataset.rows import SPLITS, Row
from appliance.dataset.splitting import TEST
from appliance.dataset.telling import STAGE, Telling
from appliance.events import Emit, Event

NEAR_FILE, CONFLICTS_FILE = "near.jsonl", "conflicts.jsonl"
TEMPLATES = frozenset({"qa", "cloze", "summary", "extract", "continue"})
"""Kinds of rows that are made of a document, so that their prompts share its words."""
_TOLD_AT_ONCE = 512  # pairs whose rows are read together

Numbers = NDArray[np.int64]
ReadRows = Callable[[Iterable[int]], Iterator[Row]]
"""Numbers of rows, in the order of their ids -> the rows."""


@dataclass
class Arrangement:
    """What becomes of the rows.

    Attributes:
        splits: numbers of the rows of each split, ordered by id: equal content gives equal files, however it was read.
        units: how many units (groups and what is near to them) each split holds.
        overlaps: rows that left because the test files hold their group or something near.
        near, conflicts: counts for the card.
        labels: how many labels the units were spread by; 0 where answers aren't labels.
        moved: rows that are in another split than in the preparing before.
        clusters: (rows,) number of the cluster, for the rows that are near to another; else -1.
    """

    splits: dict[str, Numbers] = field(
        default_factory=lambda: {name: np.zeros(0, dtype=np.int64) for name in SPLITS}
    )
    units: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    overlaps: int = 0
    near: dict[str, Any] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    moved: int = 0
    clusters: Numbers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


class _Arranger:
    """The rows in the order of their ids, which of them still stay, and what is known of each."""

    def __init__(
        self, rows: Columns, read: ReadRows, section: DatasetSection, folder: Path, emit: Emit
    ) -> None:
        self.rows = rows
        self.read = read
        self.section = section
        self.folder = folder
        self.emit = emit
        self.stays: NDArray[np.bool_] = np.ones(len(rows), dtype=bool)
        self.result = Arrangement()
        self.near_prompts: Numbers = np.arange(
            len(rows), dtype=np.int64
        )  # label of the cluster of near prompts

    @property
    def _threshold(self) -> float:
        return self.section.duplicates.threshold

    def _tell(self, what: str) -> Telling:
        telling = Telling(self.emit, what, len(self.rows))
        telling.begin()
        return telling

    def _learners(self) -> Numbers:
        """Rows that are not of the test files and still stay."""
        return np.flatnonzero(self.stays & ~self.rows.test)

    def drop_overlaps(self, views: Views | None) -> None:
        """Rows whose group the test files hold, or that are near to a test row, leave."""
        learners = self._learners()
        held = np.unique(self.rows.groups[self.rows.test])
        self.stays[learners[np.isin(self.rows.groups[learners], held)]] = False
        if views is not None:
            tell = progress(self._tell("comparing with the test files").share())
            found = views.across(self.rows.test, self._threshold, tell, once=True)
            leaving = {pair.one for pair in found if self.stays[pair.one]}
            self.stays[list(leaving)] = False
            self.result.near["overlaps"] = len(leaving)
        self.result.overlaps = int(np.count_nonzero(~self.stays))

    def join(self, views: Views | None) -> UnionFind:
        """Which rows are near to each other; with `drop`, one of those with the same answer stays."""
        self.result.clusters = np.full(len(self.rows), -1, dtype=np.int64)
        if views is None:
            return UnionFind(len(self.rows))
        tell = progress(self._tell("looking for near-duplicates").share())
        learners = self._learners()
        sets, self.near_prompts, reasons = views.clusters(learners, self._threshold, tell)
        labels = sets.labels()[learners]
        names, sizes = np.unique(labels, return_counts=True)
        together = np.isin(labels, names[sizes > 1])
        self.result.clusters[learners[together]] = labels[together]
        self.result.near |= {
            "clusters": int(np.count_nonzero(sizes > 1)),
            "rows": int(sizes[sizes > 1].sum()),
            "largest": int(sizes.max(initial=0)),
            "dropped": 0,
        }
        if self.section.duplicates.near == "drop":
            self._drop_near(views, learners[together], labels[together])
        self._write_reasons(reasons)
        return sets

    def _drop_near(self, views: Views, together: Numbers, labels: Numbers) -> None:
        before, tell = len(self._learners()), self._tell("leaving out near-duplicates")
        done = len(self.rows) - len(together)
        for members in _runs(together, labels):
            kept: dict[int, list[int]] = defaultdict(list)
            for number in members.tolist():  # in the order of their ids: the rule depends on content alone
                same = kept[int(self.rows.answers[number])]
                if any(views.likeness(number, other) >= self._threshold for other in same):
                    self.stays[number] = False
                else:
                    same.append(number)
                done += 1
                tell(done)
        self.result.near["dropped"] = before - len(self._learners())

    def _write_reasons(self, reasons: Reasons) -> None:
        telling = Telling(self.emit, "writing near.jsonl", len(reasons), "pairs")
        pairs, done = iter(reasons), 0
        with storage.atomic_writer(self.folder / NEAR_FILE) as stream:
            while batch := list(itertools.islice(pairs, _TOLD_AT_ONCE)):
                told = self._told(number for pair in batch for number in (pair.one, pair.other))
                for pair in batch:
                    line = {
                        "rows": [told[pair.one], told[pair.other]],
                        "jaccard": round(pair.jaccard, 4),
                        "view": pair.view,
                        "shingles": pair.kind,
                        "dropped": [self._id(n) for n in (pair.one, pair.other) if not self.stays[n]],
                    }
                    stream.write(storage.json_line(line))
                done += len(batch)
                telling(done)

    def _id(self, number: int) -> str:
        return id_text(int(self.rows.ids[number]))

    def _told(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """Rows as the files that explain name them."""
        return {number: _explained(row) for number, row in self._rows(numbers).items()}

    def _rows(self, numbers: Iterable[int]) -> dict[int, Row]:
        wanted = sorted(set(numbers))
        return dict(zip(wanted, self.read(wanted), strict=True))

    def settle_conflicts(self, repeats: Ids) -> None:
        """Find the same prompt with other answers, and do what `dataset.conflicts` says."""
        tell = self._tell("looking for conflicting answers")
        learners, rows = self._learners(), self.rows
        repeated, times = np.unique(repeats, return_counts=True)
        counts = np.zeros(len(rows), dtype=np.int64)
        at = np.minimum(np.searchsorted(rows.ids, repeated), len(rows) - 1)
        known = rows.ids[at] == repeated  # a row that was too long was repeated and is not there
        counts[at[known]] = times[known]
        same = conflicts.find_conflicts(rows.prompts, rows.answers, learners, counts, self.section.conflicts)
        near = conflicts.find_near_conflicts(self.near_prompts, rows.prompts, rows.answers, learners)
        dropped = {row for each in same for row in set(each.rows) - set(each.kept)}
        self.stays[list(dropped)] = False
        self.result.conflicts = {
            "prompts": len(same),
            "rows": sum(len(each.rows) for each in same),
            "dropped": len(dropped),
            "near": 0,
        }
        done = 0
        with storage.atomic_writer(self.folder / CONFLICTS_FILE) as stream:
            for each in [*same, *near]:
                done += len(each.rows)
                tell(min(done, len(rows)))
                read = self._rows(each.rows)
                if each.near and all(row.kind in TEMPLATES for row in read.values()):
                    continue  # two questions about one passage share it by construction
                self.result.conflicts["near"] += each.near
                lines = [_explained(read[row]) | {"kept": row in each.kept} for row in each.rows]
                stream.write(storage.json_line({"kind": "near" if each.near else "same", "rows": lines}))

    def place(self, sets: UnionFind, separate_test: bool, longest_answer: int) -> remembered_places.Places:
        """Make units of groups and clusters, and give each its split; done again, it forgets the time before.

        Returns:
            the split of each group.
        """
        learners, rows, result = self._learners(), self.rows, self.result
        self._tell("placing rows in splits")
        groups = rows.groups[learners]
        units = UnionFind(len(rows))
        units.parent = sets.labels().copy()
        units.union_equal(learners, groups)
        names, unit_of = np.unique(units.labels()[learners], return_inverse=True)
        answers = rows.answers[learners]
        distinct = len(np.unique(answers))
        labelled = are_labels(distinct, len(learners), longest_answer)
        earlier = remembered_places.load(self.folder, self.emit).of(groups)
        made = Units(
            keys=_speaking(groups, unit_of, len(names)),
            rows=np.bincount(unit_of, minlength=len(names)),
            labels=_most_frequent(answers, unit_of) if labelled else None,
            before=_counted(unit_of[earlier >= 0], earlier[earlier >= 0], len(names)),
        )
        chosen = place(made, with_test=not separate_test)
        result.labels = distinct if labelled else 0
        sizes = np.bincount(chosen, minlength=len(SPLITS))
        result.units = {name: int(size) for name, size in zip(SPLITS, sizes, strict=True)}
        split = chosen[unit_of]
        result.moved = int(np.count_nonzero((earlier >= 0) & (earlier != split)))
        split_of = np.full(len(rows), SPLITS.index(TEST), dtype=np.int8)
        split_of[learners] = split
        for number, name in enumerate(SPLITS):
            result.splits[name] = np.flatnonzero(self.stays & (split_of == number))
        if separate_test:
            result.units[TEST] = len(np.unique(rows.groups[rows.test]))
        return remembered_places.places(groups, split)


def _explained(row: Row) -> dict[str, Any]:
    prompt = str(row.messages[-2]["content"])
    return {"id": row.id, "source": row.source, "prompt": prompt, "answer": row.answer}


def _speaking(keys: Ids, unit_of: Numbers, count: int) -> Ids:
    """(units,) the key of the group that speaks for each unit: it is chosen by another hash than its key.

    The smallest key itself would put every unit of many groups at the beginning, and so into training.
    """
    order = np.lexsort((mix(keys), unit_of))
    first = np.searchsorted(unit_of[order], np.arange(count))
    return keys[order][first]


def _most_frequent(answers: Numbers, unit_of: Numbers) -> Numbers:
    """(units,) each unit's most frequent answer; on a tie the greatest."""
    order = np.lexsort((answers, unit_of))
    unit, answer = unit_of[order], answers[order]
    ends = np.flatnonzero(
        np.concatenate([(unit[1:] != unit[:-1]) | (answer[1:] != answer[:-1]), [True]])[: len(unit)]
    )
    times = np.diff(np.concatenate([[-1], ends]))
    best = np.lexsort((answer[ends], times, unit[ends]))
    last = np.concatenate([unit[ends][best][1:] != unit[ends][best][:-1], [True]])[: len(ends)]
    winners: Numbers = answer[ends][best][last]
    return winners


def _counted(unit_of: Numbers, split: NDArray[np.int8], count: int) -> Numbers:
    """(units, splits) how many rows of each unit were in each split."""
    places = unit_of * len(SPLITS) + split
    counts: Numbers = np.bincount(places, minlength=count * len(SPLITS)).reshape(count, len(SPLITS))
    return counts


def _runs(numbers: Numbers, labels: Numbers) -> Iterator[Numbers]:
    """The numbers of each label, ascending; nothing of none."""
    if not len(numbers):
        return
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.concatenate([labels[order][1:] != labels[order][:-1], [True]])) + 1
    for begin, end in zip(np.concatenate([[0], bounds[:-1]]), bounds, strict=True):
        yield numbers[order[begin:end]]


def arrange(
    rows: Columns,
    read: ReadRows,
    views: Views | None,
    section: DatasetSection,
    folder: Path,
    emit: Emit,
    *,
    repeats: Sequence[int] | Ids,
    longest_answer: int,
) -> Arrangement:
    """Decide on every accepted row; writes near.jsonl, conflicts.jsonl and places.json into `folder`.

    Args:
        rows: the accepted rows, ordered by id; at least one.
        read: gives some of them.
        views: their texts to compare, numbered as they; None: near ones aren't looked for.
        section: `[dataset]` of the configuration.
        folder: build/dataset; also where earlier places are remembered.
        emit: gets progress in rows.
        repeats: ids of the equal conversations that were dropped before, each as often as it was dropped.
        longest_answer: characters.
    """
    separate_test = bool(rows.test.any())
    arranger = _Arranger(rows, read, section, folder, emit)
    if separate_test:
        arranger.drop_overlaps(views)
    sets = arranger.join(views)
    arranger.settle_conflicts(np.asarray(repeats, dtype=np.uint64))
    result = arranger.result
    known = arranger.place(sets, separate_test, longest_answer)
    if section.duplicates.near == "group" and not all(map(len, result.splits.values())):
        # So alike that there are not three of a kind to part: parted rows are better than none.
        known = arranger.place(UnionFind(len(rows)), separate_test, longest_answer)
        if all(map(len, result.splits.values())):
            result.near["parted"] = True
            text = (
                "nearly all rows are nearly the same, and are parted all the same: the test split says little"
            )
            emit(Event(STAGE, "warning", text))
    if all(map(len, result.splits.values())):
        remembered_places.save(folder, known)
    return result
