"""The thread beside the gateway: releases change, logs fail, queues fill; and the audit log has two writers."""

from __future__ import annotations

import multiprocessing
import random
import threading
from pathlib import Path

from rich.text import Text

from appliance import storage
from appliance.paths import Device
from appliance.update import audit
from appliance.watch import state_file, watcher
from appliance.watch.baseline import baseline_of
from appliance.watch.watcher import Served, Watcher
from tests.watch.test_monitor import USUAL, asked, practised
from tui.backend import Overview
from tui.screens.status import page

RELEASE, OTHER = "a" * 64, "b" * 64
STRANGE = "wo ist das Flugzeug, bitte"


def watch(device: Device, served: Served, prompts: list[str], *, of: str = "") -> Watcher:
    """A watcher that has taken these prompts and ended."""
    draw = random.Random(1)
    one = Watcher(device, lambda: served)
    for prompt in prompts:
        one.put(of or served.digest, asked(draw, prompt))
    one.begin()
    one.close()
    return one


def alarmed(device: Device) -> Watcher:
    """A watcher whose release has drifted."""
    state_file.write(device, practised(release=RELEASE))
    return watch(device, Served(RELEASE), [STRANGE] * 40)


def test_an_alarm_is_logged_once_whenever_it_is_started_again(tmp_path: Path) -> None:
    device = Device(tmp_path)
    alarmed(device)
    logged = [entry["data"]["text"] for entry in audit.entries(device)]
    assert logged and len(set(logged)) == len(logged)
    monitor = state_file.read(device)
    assert monitor is not None and all(alarm.logged for alarm in monitor.alarms)
    # As if killed between the log and the state.
    value = monitor.to_json()
    value["alarms"] = [{**alarm, "logged": False} for alarm in value["alarms"]]
    storage.write_bytes(state_file.path(device), storage.canonical_json(value))
    watch(device, Served(RELEASE), [])
    assert [entry["data"]["text"] for entry in audit.entries(device)] == logged


def test_an_alarm_that_can_t_be_logged_is_named_and_tried_again(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.log.write_text("a file where the folder should be")
    one = alarmed(device)
    told = one.summary()
    assert told is not None
    assert told["alarms"] and "watching failed" in told["problem"]
    assert one.faults > 0
    device.log.unlink()
    again = watch(device, Served(RELEASE), [])
    told = again.summary()
    assert told is not None and told["problem"] == ""
    assert [entry["event"] for entry in audit.entries(device)] == ["drift"] * len(told["alarms"])


def test_another_release_begins_another_state_with_its_own_baseline(tmp_path: Path) -> None:
    device = Device(tmp_path)
    alarmed(device)
    made = baseline_of(USUAL)
    assert made is not None
    data = storage.canonical_json(made.to_json())
    file = tmp_path / f"{storage.sha256_bytes(data)}.json"
    storage.write_bytes(file, data)
    told = watch(device, Served(OTHER, file), USUAL[:5]).summary()
    assert told is not None
    assert (told["release"], told["requests"], told["alarms"]) == (OTHER, 5, [])
    assert told["baseline"] == "of the release"
    late = watch(device, Served(OTHER, file), USUAL[:5], of=RELEASE).summary()
    assert late is not None and late["requests"] == 5  # answers of the release before count for nothing


def test_a_baseline_that_was_changed_is_named_and_what_is_usual_learnt(tmp_path: Path) -> None:
    file = tmp_path / f"{'c' * 64}.json"
    file.write_text("{}")
    told = watch(Device(tmp_path / "device"), Served(RELEASE, file), USUAL[:3]).summary()
    assert told is not None
    assert (told["baseline"], told["requests"]) == ("learnt here", 3)
    assert "not the file that was installed" in told["problem"]


def test_a_flood_is_passed_over_and_counted(tmp_path: Path) -> None:
    one = Watcher(Device(tmp_path), lambda: Served(RELEASE))
    seen = asked(random.Random(1))
    for _ in range(watcher.WAITING + 7):
        one.put(RELEASE, seen)
    assert one.passed_over == 7


def test_the_status_screen_tells_of_drift() -> None:
    health = {"status": "ok", "drift": {"state": "alarm", "requests": 9, "alarms": ["refuses: 40 %\x1b[2J"]}}
    shown = page(Overview(True, health))
    assert isinstance(shown, Text)
    assert "Drift        1 alarm: `anchorhold drift`" in shown.plain
    assert "refuses: 40 %" in shown.plain and "\x1b" not in shown.plain
    assert "Drift        not watched" in page(Overview(True, {"status": "ok"})).plain


def _append(root: Path, name: str, count: int) -> None:
    for number in range(count):
        audit.append(Device(root), name, number=number)


def test_installer_and_gateway_may_log_at_once(tmp_path: Path) -> None:
    processes = [
        multiprocessing.get_context("spawn").Process(target=_append, args=(tmp_path, name, 40))
        for name in ("one", "two")
    ]
    for process in processes:
        process.start()
    threads = [threading.Thread(target=_append, args=(tmp_path, "thread", 20)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for waiting in (*threads, *processes):
        waiting.join()
    assert audit.verify(Device(tmp_path)) == []
    assert len(audit.entries(Device(tmp_path))) == 120
