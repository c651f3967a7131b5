"""The series of runs on disk, beside the runs (docs/formats/redteam.md): goes on with each run, a reset renews it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from appliance import storage
from appliance.watch.redteam.runs import Run, baseline_of, make_baseline, read_runs
from appliance.watch.redteam.sequential import FamilyAlarm, Series

MAX_BYTES = 4 * 1024 * 1024


def path(folder: Path) -> Path:
    """Where the state lies in the folder of the runs."""
    return folder / "state.json"


def read(folder: Path) -> Series | None:
    """The state; None where there is none.

    Raises:
        ValueError: it is damaged; the message says how.
        OSError: it can't be read.
    """
    try:
        with path(folder).open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_BYTES:
        raise ValueError(f"larger than {MAX_BYTES} bytes")
    try:
        return Series.from_json(json.loads(data))
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _write(folder: Path, series: Series) -> None:
    storage.write_bytes(path(folder), storage.canonical_json(series.to_json()) + b"\n", 0o600)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    with storage.locked(folder / ".state.lock"):
        yield


def follow(folder: Path, told: Callable[[str], None]) -> Series | None:
    """Take the finished runs that weren't taken yet, and keep the state; None without a run.

    Another release, library or baseline begins another series, with its baseline and the newest run; so does a damaged
    state, which is put aside.

    Args:
        folder: of the runs.
        told: called with what is wrong with the state, in words.

    Raises:
        OSError: it can't be read or written.
    """
    runs, _ = read_runs(folder)
    if not runs:
        return None
    newest = runs[-1]
    baseline = baseline_of(runs, newest.identity, newest.library)
    assert baseline is not None  # the newest, where there is no other
    with _held(folder):
        series = None
        try:
            series = read(folder)
        except ValueError as error:
            aside = path(folder).with_suffix(".damaged.json")
            path(folder).replace(aside)
            told(
                f"{path(folder)}: damaged ({error}); put aside as {aside.name}, what it had seen is begun anew"
            )
        if series is None or not series.of(newest) or series.baseline != baseline.number:
            series = Series(baseline)
            runs = [newest]
        for run in runs:
            if run.number > series.run and series.of(run):
                series.take(run)
        _write(folder, series)
    return series


def logged(folder: Path, alarms: list[FamilyAlarm]) -> None:
    """Note that the audit log has these alarms."""
    with _held(folder):
        series = read(folder)
        if series is not None:
            series.alarms = [replace(each, logged=each.logged or each in alarms) for each in series.alarms]
            _write(folder, series)


def reset(folder: Path, keep_baseline: bool) -> list[FamilyAlarm]:
    """Clear alarms and evidence; returns the alarms that there were.

    Args:
        folder: of the runs.
        keep_baseline: else the newest run that asked every family of the baseline becomes the baseline.

    Raises:
        ValueError: the state is damaged; the message says how.
        OSError: it can't be read or written.
    """
    if not path(folder).exists():
        return []
    with _held(folder):
        series = read(folder)
        if series is None:
            return []
        own = [run for run in read_runs(folder)[0] if series.of(run)]
        whole = [run for run in own if series.families.keys() <= {each.family for each in run.outcomes}]
        baseline: Run | None
        if keep_baseline or not whole:
            baseline = next((run for run in own if run.number == series.baseline), None)
        else:
            baseline = make_baseline(folder, whole[-1])
        if baseline is None:
            path(folder).unlink()  # somebody took the runs away: the next one begins anew
        else:
            _write(folder, series.renewed(baseline))
    return series.alarms
