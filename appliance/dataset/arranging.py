"""From accepted rows to splits: what is near stays together, what leaks leaves, conflicts are settled, units placed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance import storage
from appliance.config import DatasetSection
from appliance.dataset import conflicts, remembered_places
from appliance.dataset.near import UnionFind
from appliance.dataset.near.views import SAMPLE, Likeness, Views, progress
from appliance.dataset.placing import Unit, labels_of, place
from appliance.dataset.rows import SPLITS, Row
from appliance.dataset.splitting import TEST
from appliance.events import Emit, Event

STAGE = "dataset"
NEAR_FILE, CONFLICTS_FILE = "near.jsonl", "conflicts.jsonl"


@dataclass(frozen=True, slots=True)
class Kept:
    """What memory holds of an accepted row: where its line lies in the spool, and what the split needs."""

    id: str
    group: str
    tokens: int
    test: bool
    offset: int


@dataclass
class Arrangement:
    """What becomes of the rows.

    Attributes:
        splits: the rows of each split, ordered by id: equal content gives equal files, however it was read.
        units: how many units (groups and what is near to them) each split holds.
        overlaps: rows that left because the test files hold their group or something near.
        near, conflicts: counts for the card.
        labels: how many labels the units were spread by; 0 where answers aren't labels.
        moved: rows that are in another split than in the preparing before.
        clusters: id -> number of the cluster, for the rows that are near to another.
    """

    splits: dict[str, list[Kept]] = field(default_factory=lambda: {name: [] for name in SPLITS})
    units: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    overlaps: int = 0
    near: dict[str, Any] = field(default_factory=dict)
    conflicts: dict[str, int] = field(default_factory=dict)
    labels: int = 0
    moved: int = 0
    clusters: dict[str, int] = field(default_factory=dict)


ReadRows = Callable[[Iterable[Kept]], Iterator[Row]]


class _Arranger:
    """The rows in the order of their ids, which of them still stay, and what is known of each."""

    def __init__(
        self, kept: Sequence[Kept], read: ReadRows, section: DatasetSection, folder: Path, emit: Emit
    ) -> None:
        self.rows = sorted(kept, key=lambda row: row.id)
        self.read = read
        self.section = section
        self.folder = folder
        self.emit = emit
        self.stays: NDArray[np.bool_] = np.ones(len(self.rows), dtype=bool)
        self.test: NDArray[np.bool_] = np.array([row.test for row in self.rows], dtype=bool)
        self.prompts = np.zeros(len(self.rows), dtype=np.int64)
        self.answers = np.zeros(len(self.rows), dtype=np.int64)
        self.longest_answer = 0
        self.result = Arrangement()

    @property
    def _threshold(self) -> float:
        return self.section.duplicates.threshold

    def _tell(self, what: str) -> Callable[[float], None]:
        told = 0.0

        def tell(share: float) -> None:
            nonlocal told
            if share - told >= 0.01:
                told = share
                done = round(share * len(self.rows))
                self.emit(Event(STAGE, "progress", what, done=done, total=len(self.rows), unit="rows"))

        return tell

    def _learners(self) -> NDArray[np.int64]:
        """Rows that are not of the test files and still stay."""
        return np.flatnonzero(self.stays & ~self.test)

    def look(self, views: Views) -> None:
        """Take from every row what the later steps compare."""
        for number, row in enumerate(self.read(self.rows)):
            self.prompts[number] = conflicts.prompt_digest(row.messages)
            self.answers[number] = conflicts.digest(row.answer)
            self.longest_answer = max(self.longest_answer, len(row.answer))
            views.add(row.messages)

    def drop_overlaps(self, views: Views) -> None:
        """Rows whose group the test files hold, or that are near to a test row, leave."""
        groups = {row.group for row in self.rows if row.test}
        for number in self._learners():
            self.stays[number] = self.rows[number].group not in groups
        if self.section.duplicates.near != "ignore":
            tell = progress(self._tell("comparing with the test files"))
            found = views.across(self.test, self._threshold, tell, once=True)
            leaving = {pair.one for pair in found if self.stays[pair.one]}
            self.stays[list(leaving)] = False
            self.result.near["overlaps"] = len(leaving)
        self.result.overlaps = int(np.count_nonzero(~self.stays))

    def join(self, views: Views) -> UnionFind:
        """Which rows are near to each other; with `drop`, one of those with the same answer stays."""
        if self.section.duplicates.near == "ignore":
            (self.folder / NEAR_FILE).unlink(missing_ok=True)
            return UnionFind(len(self.rows))
        tell = progress(self._tell("looking for near-duplicates"))
        sets, reasons = views.clusters(self._learners(), self._threshold, tell)
        labels = sets.labels()[self._learners()]
        names, sizes = np.unique(labels, return_counts=True)
        together = np.isin(labels, names[sizes > 1])
        for number, label in zip(self._learners()[together], labels[together], strict=True):
            self.result.clusters[self.rows[number].id] = int(label)
        self.result.near |= {
            "clusters": int(np.count_nonzero(sizes > 1)),
            "rows": int(sizes[sizes > 1].sum()),
            "largest": int(sizes.max(initial=0)),
            "dropped": 0,
        }
        if self.section.duplicates.near == "drop":
            self._drop_near(views, sets)
        self._write_reasons(reasons)
        return sets

    def _drop_near(self, views: Views, sets: UnionFind) -> None:
        learners = self._learners()
        labels = sets.labels()[learners]
        for members in _runs(learners, labels):
            kept: dict[int, list[int]] = defaultdict(list)
            for number in members.tolist():  # in the order of their ids: the rule depends on content alone
                same = kept[int(self.answers[number])]
                if any(views.likeness(number, other) >= self._threshold for other in same):
                    self.stays[number] = False
                else:
                    same.append(number)
        self.result.near["dropped"] = len(learners) - len(self._learners())

    def _write_reasons(self, reasons: Sequence[Likeness]) -> None:
        reasons = sorted(reasons, key=lambda pair: (pair.one, pair.other))
        told = self._told([number for pair in reasons for number in (pair.one, pair.other)])
        with storage.atomic_writer(self.folder / NEAR_FILE) as stream:
            for pair in reasons:
                line = {
                    "rows": [told[pair.one], told[pair.other]],
                    "jaccard": round(pair.jaccard, 4),
                    "view": pair.view,
                    "shingles": pair.kind,
                    "dropped": [self.rows[n].id for n in (pair.one, pair.other) if not self.stays[n]],
                }
                stream.write(storage.json_line(line))

    def _told(self, numbers: Iterable[int]) -> dict[int, dict[str, str]]:
        """Rows as the files that explain name them."""
        wanted = sorted(set(numbers))
        rows = self.read([self.rows[number] for number in wanted])
        return {
            number: {
                "id": row.id,
                "source": row.source,
                "prompt": str(row.messages[-2]["content"]),
                "answer": row.answer,
            }
            for number, row in zip(wanted, rows, strict=True)
        }

    def settle_conflicts(self, repeats: Mapping[str, int], sets: UnionFind) -> None:
        """Find the same prompt with other answers, and do what `dataset.conflicts` says."""
        learners = self._learners()
        counts = {n: repeats[self.rows[n].id] for n in learners.tolist() if self.rows[n].id in repeats}
        same = conflicts.find_conflicts(self.prompts, self.answers, learners, counts, self.section.conflicts)
        near = conflicts.find_near_conflicts(sets.labels(), self.prompts, self.answers, learners)
        dropped = {row for each in same for row in set(each.rows) - set(each.kept)}
        self.stays[list(dropped)] = False
        self.result.conflicts = {
            "prompts": len(same),
            "rows": sum(len(each.rows) for each in same),
            "dropped": len(dropped),
            "near": len(near),
        }
        with storage.atomic_writer(self.folder / CONFLICTS_FILE) as stream:
            for each in [*same, *near]:
                told = self._told(each.rows)
                rows = [told[row] | {"kept": row in each.kept} for row in each.rows]
                line = {"kind": "near" if each.near else "same", "rows": rows}
                stream.write(storage.json_line(line))

    def place(self, sets: UnionFind, separate_test: bool) -> None:
        """Make units of groups and clusters, and give each its split; done again, it forgets the time before."""
        learners = self._learners()
        self.result.splits, self.result.units = {name: [] for name in SPLITS}, dict.fromkeys(SPLITS, 0)
        self.result.moved = 0
        units = UnionFind(len(self.rows))
        units.parent = sets.labels().copy()
        units.union_equal((number, self.rows[number].group) for number in learners.tolist())
        before = remembered_places.load(self.folder, self.emit)
        names = Counter(self.answers[learners].tolist())
        labelled = labels_of(names, self.longest_answer)
        self.result.labels = len(names) if labelled else 0
        roots = units.labels()[learners]
        made = [self._unit(run, before, labelled) for run in _runs(learners, roots)]
        chosen = place(made, with_test=not separate_test)
        now: dict[str, str] = {}
        split_of = np.zeros(len(self.rows), dtype=np.int8)
        for run, unit, split in zip(_runs(learners, roots), made, chosen, strict=True):
            self.result.units[split] += 1
            self.result.moved += sum(rows for earlier, rows in unit.before if earlier != split)
            now.update(dict.fromkeys(unit.groups, split))
            split_of[run] = SPLITS.index(split)
        split_of[self.test] = SPLITS.index(TEST)
        for number in np.flatnonzero(self.stays).tolist():
            self.result.splits[SPLITS[split_of[number]]].append(self.rows[number])
        if separate_test:
            self.result.units[TEST] = len({row.group for row in self.rows if row.test})
        self.places = now

    def _unit(self, run: NDArray[np.int64], before: Mapping[str, str], labelled: bool) -> Unit:
        rows = [self.rows[number] for number in run.tolist()]
        label = ""
        if labelled:
            votes = Counter(self.answers[run].tolist())
            label = f"{max(votes, key=lambda answer: (votes[answer], answer)) & (2**64 - 1):016x}"
        earlier = Counter(before[row.group] for row in rows if row.group in before)
        return Unit(
            tuple(sorted({row.group for row in rows})), len(rows), label, tuple(sorted(earlier.items()))
        )


def _runs(numbers: NDArray[np.int64], labels: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The numbers of each label, ascending; nothing of none."""
    if not len(numbers):
        return
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.concatenate([labels[order][1:] != labels[order][:-1], [True]])) + 1
    for begin, end in zip(np.concatenate([[0], bounds[:-1]]), bounds, strict=True):
        yield numbers[order[begin:end]]


def arrange(
    kept: Sequence[Kept],
    read: ReadRows,
    section: DatasetSection,
    repeats: Mapping[str, int],
    folder: Path,
    emit: Emit,
) -> Arrangement:
    """Decide on every accepted row; writes near.jsonl, conflicts.jsonl and places.json into `folder`.

    Args:
        kept: the accepted rows, in any order; at least one.
        read: gives the rows of some of them.
        section: `[dataset]` of the configuration.
        repeats: id -> equal conversations dropped before.
        folder: build/dataset; also where earlier places are remembered.
        emit: gets progress in rows.
    """
    separate_test = any(row.test for row in kept)
    arranger = _Arranger(kept, read, section, folder, emit)
    with Views((row.messages for row in read(arranger.rows[:SAMPLE])), folder) as views:
        arranger.look(views)
        if separate_test:
            arranger.drop_overlaps(views)
        sets = arranger.join(views)
    arranger.settle_conflicts(repeats, sets)
    arranger.place(sets, separate_test)
    if section.duplicates.near == "group" and not all(arranger.result.splits.values()):
        # So alike that there are not three of a kind to part: parted rows are better than none.
        arranger.place(UnionFind(len(kept)), separate_test)
        if all(arranger.result.splits.values()):
            arranger.result.near["parted"] = True
            text = (
                "nearly all rows are nearly the same, and are parted all the same: the test split says little"
            )
            emit(Event(STAGE, "warning", text))
    if all(arranger.result.splits.values()):
        remembered_places.save(folder, arranger.places)
    return arranger.result
