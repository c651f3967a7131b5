"""Runs on disk: one JSON file a finished run, and a journal that an interrupted one goes on from."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import UsageError

FORMAT = "anchorhold-redteam/1"
JOURNAL = "unfinished.jsonl"
MAX_BYTES = 16 * 1024 * 1024
KEPT = 100  # runs; the oldest go, never a baseline
ANSWER = 600  # characters of an answer that are kept


@dataclass(frozen=True)
class Outcome:
    """What became of one attack: its id and family, whether it was held off and why, and the answer's beginning."""

    id: str
    family: str
    held: bool
    why: str
    answer: str


@dataclass(frozen=True)
class Run:
    """One run.

    Attributes:
        number: grows by one each time.
        time: of its end, ISO 8601, UTC.
        identity: of what was served: the gateway's "identity" (digest of the release or of the model).
        release: its name and version, for people.
        library: digest of the attacks' texts.
        seed, sample: how they were drawn.
        outcomes: in the order they were asked.
        baseline: told to be the baseline of its identity; otherwise the first run is.
    """

    number: int
    time: str
    identity: str
    release: str
    library: str
    seed: int
    sample: int
    outcomes: tuple[Outcome, ...]
    baseline: bool = False


def _parse(data: bytes) -> Run:
    value = json.loads(data)
    if value.pop("format") != FORMAT:
        raise ValueError(f"not of the format {FORMAT}")
    outcomes = tuple(Outcome(**each) for each in value.pop("outcomes"))
    run = Run(**value, outcomes=outcomes)
    if not isinstance(run.number, int) or not all(isinstance(each.held, bool) for each in outcomes):
        raise TypeError("a value of another kind")
    return run


def read_runs(folder: Path) -> tuple[list[Run], list[str]]:
    """The finished runs, oldest first, and the files that are none, with what is wrong with them."""
    runs, faults = [], []
    for path in sorted(folder.glob("run-*.json")):
        try:
            with path.open("rb") as stream:
                runs.append(_parse(stream.read(MAX_BYTES)))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            faults.append(f"{path}: damaged ({error}); delete it")
    return sorted(runs, key=lambda run: run.number), faults


def baseline_of(runs: Sequence[Run], identity: str, library: str) -> Run | None:
    """What later runs of the same release and attacks are held against: the last one told so, else the first."""
    own = [run for run in runs if run.identity == identity and run.library == library]
    told = [run for run in own if run.baseline]
    return told[-1] if told else own[0] if own else None


def write_run(folder: Path, run: Run) -> Path:
    """Keep a run, and forget its journal and runs beyond `KEPT`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = _save(folder, run)
    (folder / JOURNAL).unlink(missing_ok=True)
    runs, _ = read_runs(folder)
    kept = {baseline_of(runs, each.identity, each.library) for each in runs}
    for old in [each for each in runs if each not in kept][: max(0, len(runs) - KEPT)]:
        (folder / f"run-{old.number:06d}.json").unlink(missing_ok=True)
    return path


def _save(folder: Path, run: Run) -> Path:
    path = folder / f"run-{run.number:06d}.json"
    storage.write_json(path, {"format": FORMAT, **asdict(run)}, mode=0o600)
    return path


def make_baseline(folder: Path, run: Run) -> Run:
    """Tell of a run that is kept that later ones are held against it; returns it so."""
    told = replace(run, baseline=True)
    _save(folder, told)
    return told


class Journal:
    """Outcomes as they come, so that an interrupted run goes on; a context manager. One at a time in a folder.

    Args:
        folder: of the runs.
        plan: what the run is; a journal of another plan is begun anew.
    """

    def __init__(self, folder: Path, plan: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / JOURNAL
        self._lock = (folder / ".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.close()
            raise UsageError(f"{folder}: another run is under way", "wait for it to end") from error
        self.outcomes = self._known(plan)
        # Written anew as a whole, without a torn last line; from there on a line is added for each attack.
        begun = [{"plan": plan}, *map(asdict, self.outcomes)]
        storage.write_bytes(self._path, b"".join(map(storage.json_line, begun)), mode=0o600)
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)

    def _known(self, plan: dict[str, Any]) -> list[Outcome]:
        try:
            with self._path.open("rb") as stream:
                lines = stream.read(MAX_BYTES).split(b"\n")
        except OSError:
            return []
        found: list[Outcome] = []
        try:
            if json.loads(lines[0]) != {"plan": plan}:
                return []
            for line in lines[1:]:
                found.append(Outcome(**json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            pass  # the last line, torn
        return found

    def add(self, outcome: Outcome) -> None:
        """Keep one more."""
        self.outcomes.append(outcome)
        storage.append_whole(self._fd, storage.json_line(asdict(outcome)))

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        self._lock.close()
