"""Does the training split hold what a model is to be asked? Equal, near, or a long stretch of words in common."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from appliance.dataset.canaries import is_canary
from appliance.dataset.cleaning import BadConversation
from appliance.dataset.near import Frames
from appliance.dataset.near.shingles import mix, shingles
from appliance.dataset.near.views import SAMPLE, Likeness, Views, conversation_text, progress
from appliance.dataset.reading import BadRow, RawRow, Transcript, file_name, read_file
from appliance.dataset.row_making import RowMaker
from appliance.dataset.rows import Row, iterate_rows
from appliance.errors import DataError, UsageError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.visible import visible

WINDOW = 13
"""Words in a row that two texts share by copying, not by chance (Brown et al. 2020, appendix C)."""
COMMON = 10
"""A stretch that more training rows hold than this is a form that they all share, and no leak."""
_BATCH = 512

How = Literal["exact", "near", "window"]


@dataclass(frozen=True)
class Leak:
    """One training row and one row of an evaluation set that it gives away.

    Attributes:
        how: `exact` (what the user said is equal), `near` (Jaccard at the threshold), `window` (thirteen words).
        train, against: where the two rows stand, `file:line`.
        train_id: of the training row.
        jaccard: the highest of the measures; for a window of the whole texts too.
        train_text, against_text: the last prompt of each; for a window the shared words.
    """

    how: How
    train: str
    against: str
    train_id: str
    jaccard: float
    train_text: str
    against_text: str


@dataclass(frozen=True)
class LeakReport:
    """What a check found.

    Attributes:
        train_rows, against_rows: how many were compared.
        leaks: all pairs, the evaluation set's order; exact before near before window.
        rows: how many rows of the evaluation set are given away by any.
        common_windows: stretches left out because more than `COMMON` training rows hold them.
        bad: rows of the evaluation set that couldn't be read.
        threshold: from which Jaccard similarity rows are near.
    """

    train_rows: int
    against_rows: int
    leaks: tuple[Leak, ...]
    rows: int
    common_windows: int
    bad: tuple[str, ...]
    threshold: float

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON value."""
        return asdict(self)


def _read_set(project: Project, paths: Sequence[Path]) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    bad: list[str] = []
    maker = RowMaker(project)
    for path in paths:
        if not path.is_file():
            raise UsageError(
                f"{path}: no such file", "give files of examples, as `dataset.sources` names them"
            )
        for raw in read_file(path, file_name(path, project.root), project.config.dataset, lambda _: None):
            if isinstance(raw, BadRow):
                bad.append(str(raw))
                continue
            if not isinstance(raw, RawRow):
                kind = "a transcript" if isinstance(raw, Transcript) else "a document"
                bad.append(str(BadRow(raw.file, 0, "material", f"{kind}, which has no questions to compare")))
                continue
            try:
                rows.append(maker.row(raw)[0])
            except BadConversation as fault:
                bad.append(str(BadRow(raw.file, raw.line, fault.kind, fault.reason)))
    if not rows:
        told = "".join(f"\n  {line}" for line in bad[:5])
        raise DataError(
            f"no row to check against{told}", "give chat JSON lines, or a table with the project's columns"
        )
    return rows, bad


Windows = tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]


def _windows(texts: Sequence[str]) -> Windows:
    """Every stretch of `WINDOW` words: (hash, text it is of, word it begins at)."""
    words, places = shingles(texts, "words")
    count = max(0, len(words) - WINDOW + 1)
    owner = np.repeat(np.arange(len(texts), dtype=np.int64), np.diff(places))
    hashed = np.zeros(count, dtype=np.uint64)
    for step in range(WINDOW):
        hashed = mix(hashed ^ words[step : step + count])
    inside = owner[:count] == owner[WINDOW - 1 :][:count]
    begins = np.arange(count) - places[owner[:count]]
    return hashed[inside], owner[:count][inside], begins[inside]


def _shared_windows(
    train: Iterable[Row], against: Sequence[Row], frames: Frames
) -> tuple[dict[tuple[int, int], str], int]:
    """(training row, evaluation row) -> the first words they share; and how many stretches are a common form."""
    texts = [frames.strip(conversation_text(row.messages)) for row in against]
    hashes, owners, begins = _windows(texts)
    known, first = np.unique(hashes, return_index=True)
    seen: Counter[int] = Counter()
    held: dict[int, list[int]] = defaultdict(list)
    number = 0
    for batch in _batches(train):
        found, owner, _ = _windows([frames.strip(conversation_text(row.messages)) for row in batch])
        hits = np.isin(found, known)
        for value, row in {(int(v), int(o)) for v, o in zip(found[hits], owner[hits], strict=True)}:
            seen[value] += 1
            if seen[value] <= COMMON:
                held[value].append(number + row)
        number += len(batch)
    common = {value for value, rows in seen.items() if rows > COMMON}
    at = {int(value): place for place, value in enumerate(known)}
    by_hash: dict[int, list[int]] = defaultdict(list)
    for value, owner_of in zip(hashes.tolist(), owners.tolist(), strict=True):
        if value in seen and value not in common:
            by_hash[value].append(owner_of)
    shared: dict[tuple[int, int], str] = {}
    for value in sorted(by_hash, key=lambda value: first[at[value]]):
        place = int(first[at[value]])
        words = texts[owners[place]].split(" ")[begins[place] : begins[place] + WINDOW]
        for pair in itertools.product(held[value], dict.fromkeys(by_hash[value])):
            shared.setdefault(pair, " ".join(words))
    return shared, len(common)


def _batches(rows: Iterable[Row]) -> Iterable[list[Row]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, _BATCH)):
        yield batch


def check_leakage(project: Project, paths: Sequence[Path], emit: Emit) -> LeakReport:
    """Compare the prepared training split with evaluation sets.

    Canaries are left out. What both sides share by their frame (an instruction before every message) isn't compared.

    Args:
        project: prepared; its `dataset.duplicates.threshold` says what is near.
        paths: files of examples, read as the project's own.
        emit: gets progress.

    Raises:
        UsageError: no such file.
        DataError: the dataset isn't prepared, or the files hold no row.
    """
    path = project.dataset / "train.jsonl"
    threshold = project.config.dataset.duplicates.threshold
    against, bad = _read_set(project, paths)

    def train() -> Iterable[Row]:
        return (row for row in iterate_rows(path) if not is_canary(row))

    def tell(share: float) -> None:
        emit(Event("dataset", "progress", "comparing", done=round(100 * share), total=100, unit="%"))

    where: list[tuple[str, str]] = []
    with Views((row.messages for row in itertools.islice(train(), SAMPLE)), project.dataset) as views:
        for row in itertools.chain(train(), against):
            views.add(row.messages)
            where.append((row.id, row.source))
        size = len(where) - len(against)
        side = np.arange(len(where)) >= size
        near = views.across(side, threshold, progress(tell), once=False)
        equal = views.digests("user")
        shared, common = _shared_windows(train(), against, views.frames["conversation"])
        found = {(pair.one, pair.other) for pair in near}
        windows = {pair: words for pair, words in shared.items() if (pair[0], pair[1] + size) not in found}
        likeness = {pair: views.likeness(pair[0], pair[1] + size) for pair in windows}
    prompts = _prompts(train(), {pair.one for pair in near} | {pair[0] for pair in windows})

    def near_leak(pair: Likeness) -> Leak:
        how: How = "exact" if equal[pair.one] == equal[pair.other] else "near"
        row = against[pair.other - size]
        (identity, source), text = where[pair.one], str(row.messages[-2]["content"])
        return Leak(how, source, row.source, identity, round(pair.jaccard, 4), prompts[pair.one], text)

    def window_leak(pair: tuple[int, int]) -> Leak:
        identity, source = where[pair[0]]
        row = against[pair[1]]
        return Leak(
            "window", source, row.source, identity, round(likeness[pair], 4), prompts[pair[0]], windows[pair]
        )

    order = {"exact": 0, "near": 1, "window": 2}
    leaks = [(pair.other - size, near_leak(pair)) for pair in near]
    leaks += [(pair[1], window_leak(pair)) for pair in windows]
    leaks.sort(key=lambda each: (order[each[1].how], each[0], each[1].train))
    return LeakReport(
        train_rows=size,
        against_rows=len(against),
        leaks=tuple(leak for _, leak in leaks),
        rows=len({number for number, _ in leaks}),
        common_windows=common,
        bad=tuple(bad),
        threshold=threshold,
    )


def _prompts(rows: Iterable[Row], wanted: set[int]) -> dict[int, str]:
    return {n: str(row.messages[-2]["content"]) for n, row in enumerate(rows) if n in wanted}


def leak_lines(report: LeakReport) -> list[str]:
    """The report for a terminal: a pair takes three lines, and nothing in its texts is obeyed there."""
    lines = [
        f"{report.against_rows} rows against {report.train_rows} training rows: {report.rows} given away by "
        f"{len(report.leaks)} pair{'s' if len(report.leaks) != 1 else ''} (Jaccard >= {report.threshold:g}, equal, "
        f"or {WINDOW} words in a row)"
    ]
    for leak in report.leaks:
        lines.append(
            f"{leak.how:<7}{leak.jaccard:6.2f}  {visible(leak.train, 0)}  {visible(leak.against, 0)}"
        )
        lines.append(f"         train:   {visible(' '.join(leak.train_text.split()), 160)}")
        what = "shared: " if leak.how == "window" else "against:"
        lines.append(f"         {what} {visible(' '.join(leak.against_text.split()), 160)}")
    if report.common_windows:
        lines.append(
            f"not counted: {report.common_windows} stretches that more than {COMMON} training rows share"
        )
    if report.bad:
        lines.append(f"not read: {len(report.bad)} rows, the first: {visible(report.bad[0], 300)}")
    return lines
