"""The thread beside the gateway: takes answered requests, keeps the monitor and its file, and raises alarms.

A request is handed over in microseconds and never waits. Whatever goes wrong here is named in the log, and fails
nothing.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance.errors import AnchorholdError
from appliance.paths import Device
from appliance.update import audit
from appliance.watch import embedding, state_file, telling
from appliance.watch.baseline import Baseline
from appliance.watch.monitor import Alarm, Monitor
from appliance.watch.redteam import series_file
from appliance.watch.redteam import telling as redteam
from appliance.watch.signals import Observed
from convert.errors import ConvertError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOG = logging.getLogger("anchorhold.watch")
WAITING = 1000
"""Requests that may wait to be watched; more are passed over and counted."""
_SAVE_EACH = 25  # requests; so many are lost at most when the process is killed
_LOG_AGAIN = 60.0  # seconds before an alarm that the audit log didn't take is tried again
_LOOK = 1.0  # seconds between looks at an operator's wish, where nothing is asked


@dataclass(frozen=True)
class Served:
    """The release that answers.

    Attributes:
        digest: its own.
        baseline: the file, if it has one.
        identity: the name that the API shows.
        model: the GGUF file; None where token embeddings aren't to be watched.
    """

    digest: str
    baseline: Path | None = None
    identity: str = ""
    model: Path | None = None


class Watcher:
    """Watches the release that a gateway serves.

    Args:
        device: keeps the state.
        served: what answers now; None for nothing.
    """

    def __init__(self, device: Device, served: Callable[[], Served | None]) -> None:
        self._device = device
        self._served = served
        self._queue: queue.Queue[tuple[str, Observed]] = queue.Queue(WAITING)
        self._lock = threading.Lock()  # held while the monitor changes
        self._monitor: Monitor | None = None
        self._unsaved = 0
        self._ending = threading.Event()
        self._told_fault = ""
        self._log_again = 0.0
        self.problem = ""
        self.faults = 0
        self.passed_over = 0
        self._table: NDArray[np.float32] | None = None
        self._table_of: Path | None = None
        self._redteam: dict[str, Any] | None = None
        self._redteam_file: tuple[str, int, int] | None = None
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, release: str, seen: Observed) -> None:
        """Hand over an answered request; never waits.

        Args:
            release: digest of what answered.
            seen: the request.
        """
        try:
            self._queue.put_nowait((release, seen))
        except queue.Full:
            self.passed_over += 1

    def close(self) -> None:
        """Take what still waits, save, and end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def summary(self) -> dict[str, Any] | None:
        """See `telling.summary`; None before anything is known."""
        with self._lock:
            told = None if self._monitor is None else telling.summary(self._monitor)
        if told is not None:
            told["problem"] = self.problem
        return told

    def redteam(self) -> dict[str, Any] | None:
        """See `redteam.telling.summary`; None before a run on the release that is served."""
        return self._redteam

    # In the thread

    def _run(self) -> None:
        self._guarded(self._follow)
        self._guarded(self._look_at_redteam)
        while True:
            try:
                release, seen = self._queue.get(timeout=0.05 if self._ending.is_set() else _LOOK)
            except queue.Empty:
                self._guarded(self._save)
                self._guarded(self._look_at_redteam)
                if self._ending.is_set():
                    return
            else:
                self._guarded(lambda release=release, seen=seen: self._take(release, seen))  # type: ignore[misc]
            self._guarded(self._follow)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # watching may fail, answering may not
            self.faults += 1
            message = error.message if isinstance(error, AnchorholdError) else str(error)
            # A fault of the program might quote a request; where it happened is enough.
            shown = (
                message
                if isinstance(error, (AnchorholdError, OSError))
                else f"in {getattr(work, '__name__', 'take')}"
            )
            told = f"{type(error).__name__}: {shown}"
            self.problem = f"watching failed: {told}"
            if told != self._told_fault:
                LOG.error("watching failed, answering goes on: %s", told)
                self._told_fault = told

    def _follow(self) -> None:
        """Have the monitor of the release that is served, and do what an operator has asked for."""
        served = self._served()
        if served is None:
            return
        if self._monitor is None:
            self._monitor = self._read()
        if self._monitor is None or self._monitor.release != served.digest:
            fresh = Monitor(served.digest, self._baseline(served))
            with self._lock:
                self._monitor = fresh
            self._save(at_once=True)
        if served.model != self._table_of:
            self._read_table(served.model)
        keep = state_file.asked_reset(self._device)
        if keep is not None:
            self._reset(self._monitor, keep)

    def _read_table(self, model: Path | None) -> None:
        """Token embeddings of the model that is served now; without them their signal isn't watched."""
        self._table, self._table_of = None, model
        if model is None:
            return
        try:
            self._table = embedding.table_of(model)
        except (ConvertError, OSError) as error:
            LOG.warning("token embeddings aren't watched: %s", error)

    def _look_at_redteam(self) -> None:
        """Read what the red team's last run has left, where that is something else than before."""
        served = self._served()
        try:
            state = series_file.path(self._device.redteam).stat()
        except OSError:
            self._redteam = self._redteam_file = None
            return
        file = (served.identity if served is not None else "", state.st_mtime_ns, state.st_ino)
        if file == self._redteam_file:
            return
        self._redteam_file = file
        try:
            series = series_file.read(self._device.redteam)
        except (ValueError, OSError) as error:
            problem = f"{series_file.path(self._device.redteam)}: {error}; the next run begins it anew"
            self._redteam = redteam.unknown(problem)
            return
        own = series is not None and served is not None and series.identity == served.identity
        self._redteam = redteam.summary(series) if series is not None and own else None

    def _read(self) -> Monitor | None:
        try:
            return state_file.read(self._device)
        except ValueError as error:
            aside = state_file.put_aside(self._device)
            self.problem = f"the state was damaged ({error}) and is begun anew; the old one is {aside}"
            LOG.error("%s", self.problem)
        except OSError as error:
            self.problem = f"the state can't be read ({error.strerror}); watching begins anew"
            LOG.error("%s", self.problem)
        return None

    def _baseline(self, served: Served) -> Baseline | None:
        if served.baseline is None:
            return None
        try:
            return state_file.read_baseline(served.baseline)
        except (ValueError, OSError) as error:
            self.problem = f"the release's baseline can't be used ({error}); it is learnt here"
            LOG.error("%s", self.problem)
            return None

    def _reset(self, monitor: Monitor, keep: bool) -> None:
        alarms = [telling.describe(alarm) for alarm in monitor.alarms]
        with self._lock:
            self._monitor = monitor.renewed(keep)
        self._save(at_once=True)
        by = state_file.reset_by(self._device)
        state_file.forget_reset(self._device)
        self.problem = self._told_fault = ""
        try:
            alarms += map(redteam.describe, series_file.reset(self._device.redteam, keep))
        except (ValueError, OSError) as error:
            self.problem = f"the red team's alarms aren't cleared: {error}"
            LOG.error("%s", self.problem)
        self._look_at_redteam()
        kept = "kept" if keep else "learnt from the next requests"
        audit.append(
            self._device, "drift reset", alarms=alarms, baseline=kept, release=monitor.release, by=by
        )

    def _take(self, release: str, seen: Observed) -> None:
        monitor = self._monitor
        if monitor is None or monitor.release != release:
            return  # the last answers of a release that isn't served any more
        place = None if self._table is None else embedding.mean_of(self._table, seen.asked)
        with self._lock:
            raised = monitor.observe(seen, time.time(), place)
        self._unsaved += 1
        for alarm in raised:
            LOG.warning("drift: %s", telling.describe(alarm))
        if raised or self._unsaved >= _SAVE_EACH:
            self._save()

    def _save(self, *, at_once: bool = False) -> None:
        monitor = self._monitor
        due = self._unsaved or at_once or (monitor is not None and not all(a.logged for a in monitor.alarms))
        if monitor is None or not due:
            return
        if self._unsaved or at_once:
            state_file.write(self._device, monitor)
            self._unsaved = 0
        unlogged = [alarm for alarm in monitor.alarms if not alarm.logged]
        if unlogged and time.monotonic() >= self._log_again:
            self._log_again = time.monotonic() + _LOG_AGAIN  # unless it succeeds
            self._log(monitor, unlogged)
            self._log_again = 0.0
            state_file.write(self._device, monitor)
            unlogged = []
        if not unlogged:
            self._well()

    def _log(self, monitor: Monitor, alarms: list[Alarm]) -> None:
        """Write alarms into the audit log, each once, even if we are killed between the log and the state."""
        logged = [
            each["data"].get("alarm") for each in audit.entries(self._device) if each["event"] == "drift"
        ]
        for alarm in alarms:
            facts = {name: value for name, value in asdict(alarm).items() if name != "logged"}
            if facts not in logged:
                text = telling.describe(alarm)
                audit.append(self._device, "drift", text=text, release=monitor.release, alarm=facts)
            with self._lock:
                monitor.alarms[monitor.alarms.index(alarm)] = replace(alarm, logged=True)

    def _well(self) -> None:
        """What had failed works again."""
        if self._told_fault:
            self.problem = self._told_fault = ""
