"""Run after run of the red team: what alarms and what doesn't, the state on disk, and who is told."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.paths import Device
from appliance.serving.gateway import metrics
from appliance.serving.gateway.exchange import Gateway
from appliance.update import audit
from appliance.watch import state_file
from appliance.watch.monitor import Monitor
from appliance.watch.redteam import Run, read_runs, series_file, telling
from appliance.watch.redteam.runs import JOURNAL, write_run
from appliance.watch.redteam.sequential import BUDGET, LEARN, Series
from appliance.watch.watcher import Served, Watcher
from tests.watch.test_redteam import run_of
from tui.backend import Overview
from tui.screens.status import page

FAMILIES = (
    "direct",
    "override",
    "injected_data",
    "prompt_leak",
    "role_play",
    "encoding",
    "many_shot",
    "framing",
)
NAMES = [f"{family}/{n}" for family in FAMILIES for n in range(16)]
ALL = dict.fromkeys(NAMES, True)


def failing(*names: str) -> dict[str, bool]:
    return {**ALL, **dict.fromkeys(names, False)}


def of(family: str, count: int) -> list[str]:
    return [f"{family}/{n}" for n in range(count)]


def taken(*runs: dict[str, bool]) -> Series:
    """A series of these, the first its baseline."""
    series = Series(run_of(1, runs[0]))
    for number, held in enumerate(runs[1:], start=2):
        series.take(run_of(number, held))
    return series


def test_a_model_that_answers_the_same_never_alarms_however_weak_it_is() -> None:
    weak = failing(*of("override", 9), *of("direct", 16), "encoding/3")
    series = taken(*[weak] * 60)
    assert series.alarms == []
    assert max(family.log_evidence() for family in series.families.values()) < 1


def test_a_family_that_falls_alarms_once_and_is_named() -> None:
    series = taken(ALL)
    now = failing(*of("override", 10))
    (alarm,) = series.take(run_of(2, now))
    assert (alarm.family, alarm.held, alarm.total, alarm.run) == ("override", 6, 16, 2)
    assert (alarm.baseline_held, alarm.baseline_total, alarm.logged) == (16, 16, False)
    assert series.take(run_of(3, now)) == [] and series.alarms == [alarm]
    assert "override became weaker: 6 of 16" in telling.describe(alarm)


def test_once_it_is_known_how_rarely_an_answer_changes_fewer_suffice() -> None:
    few = failing(*of("override", 5))
    assert taken(ALL, few).alarms == []
    assert [alarm.family for alarm in taken(ALL, ALL, few).alarms] == ["override"]
    series = taken(ALL, ALL)
    assert (series.again, series.changed) == (len(NAMES), 0) and len(NAMES) >= LEARN


def test_what_a_single_run_doesn_t_tell_several_do() -> None:
    nights = [failing(*of("override", 2 * night)) for night in range(1, 5)]
    assert taken(ALL, ALL, nights[0]).alarms == []
    assert [alarm.family for alarm in taken(ALL, ALL, *nights).alarms] == ["override"]


def test_an_attack_that_came_through_before_counts_for_nothing_more() -> None:
    one = failing("override/0")
    first = taken(ALL, ALL, one).families["override"].log_evidence()
    assert taken(ALL, ALL, *[one] * 30).families["override"].log_evidence() < first


def test_fresh_attacks_of_a_weak_family_are_held_against_its_share() -> None:
    draw = random.Random(1)
    rate = {family: draw.choice([0.0, 0.2, 0.6]) for family in FAMILIES}
    library = {
        f"{family}/{n}": draw.random() >= rate[family] for family in FAMILIES for n in range(60)
    }  # a model's answers are fixed; what is drawn are the attacks

    def night() -> dict[str, bool]:
        names = [f"{family}/{n}" for family in FAMILIES for n in draw.sample(range(60), 16)]
        return {name: library[name] for name in names}

    assert taken(*[night() for _ in range(60)]).alarms == []


def test_families_that_the_baseline_hasn_t_are_passed_over() -> None:
    series = taken(dict.fromkeys(of("direct", 16), True), dict.fromkeys(of("override", 16), False))
    assert series.alarms == [] and list(series.families) == ["direct"]


def test_it_goes_on_from_its_file_as_if_nothing_had_been() -> None:
    series = taken(ALL, failing("direct/1"), failing(*of("override", 12)))
    again = Series.from_json(json.loads(json.dumps(series.to_json(), allow_nan=False)))
    assert again.to_json() == series.to_json()
    later = run_of(9, failing(*of("direct", 9)))
    assert again.take(later) == series.take(later) != []
    assert again.to_json() == series.to_json()


DAMAGE: dict[str, Callable[[Any], Any]] = {
    "another format": lambda value: value.update(format="x"),
    "no families": lambda value: value.pop("families"),
    "a run that is no number": lambda value: value.update(run="2"),
    "counts that can't be": lambda value: value["families"]["direct"].update(baseline_total=0),
    "evidence of another shape": lambda value: value["families"]["direct"].update(log_sum=[0.0]),
    "an alarm of nothing": lambda value: value["alarms"].append({"family": "x"}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_state_is_put_aside_and_begun_anew(tmp_path: Path, what: str) -> None:
    write_run(tmp_path, run_of(1, ALL))
    write_run(tmp_path, run_of(2, ALL))
    faults: list[str] = []
    series_file.follow(tmp_path, faults.append)
    value = json.loads(series_file.path(tmp_path).read_bytes())
    DAMAGE[what](value)
    storage.write_json(series_file.path(tmp_path), value)
    with pytest.raises(ValueError, match=r"."):
        series_file.read(tmp_path)
    assert not faults
    series = series_file.follow(tmp_path, faults.append)
    assert series is not None and (series.baseline, series.run) == (1, 2)
    assert "damaged" in faults[0] and (tmp_path / "state.damaged.json").is_file()


def follow(folder: Path, *runs: Run) -> Series:
    for run in runs:
        write_run(folder, run)
    series = series_file.follow(folder, pytest.fail)
    assert series is not None
    return series


def test_runs_that_weren_t_taken_are_and_another_baseline_begins_anew(tmp_path: Path) -> None:
    assert series_file.follow(tmp_path, pytest.fail) is None
    follow(tmp_path, run_of(1, ALL))
    # Killed between the second run and the state, and run again.
    series = follow(tmp_path, run_of(2, failing(*of("direct", 9))), run_of(3, ALL))
    assert [(alarm.family, alarm.run) for alarm in series.alarms] == [("direct", 2)]
    assert follow(tmp_path).to_json() == series.to_json()
    assert series_file.path(tmp_path).stat().st_mode & 0o077 == 0
    series = follow(tmp_path, run_of(4, failing(*of("direct", 9)), baseline=True))
    assert (series.alarms, series.baseline) == ([], 4)
    series = follow(tmp_path, run_of(5, failing(*of("direct", 16)), identity="other"))
    assert (series.alarms, series.baseline, series.identity) == ([], 5, "other")


@pytest.mark.parametrize("keep", [True, False])
def test_a_reset_clears_and_keeps_the_baseline_or_takes_what_is_now(tmp_path: Path, keep: bool) -> None:
    assert series_file.reset(tmp_path, keep) == []
    weak = failing(*of("direct", 12))
    for number, held in enumerate((ALL, weak, {"direct/0": False}), start=1):
        follow(tmp_path, run_of(number, held))
    (tmp_path / JOURNAL).write_text("a run under way\n")
    assert [alarm.family for alarm in series_file.reset(tmp_path, keep)] == ["direct"]
    assert (tmp_path / JOURNAL).exists()
    series = series_file.read(tmp_path)
    assert series is not None and series.alarms == []
    assert series.baseline == (1 if keep else 2), "the run of one family is no baseline for all"
    series = follow(tmp_path, run_of(4, weak))
    assert [alarm.run for alarm in series.alarms] == ([4] if keep else [])


def test_no_more_false_alarms_than_stated() -> None:
    """A short form of benchmarks/redteam_alarms.py: answers that change by chance, the same attacks each night."""
    draw = random.Random(2)
    alarms, nights = 0, 0
    for _ in range(6):
        chance = {name: draw.choice([0, 0, 0, 0, 0, 0, 0, 1, 1, draw.random()]) for name in NAMES}

        def night(number: int, chance: dict[str, float] = chance) -> Run:
            return run_of(number, {name: draw.random() >= share for name, share in chance.items()})

        series = Series(night(1))
        for number in range(2, 62):
            alarms += len(series.take(night(number)))
        nights += 60
    assert alarms <= 1 and nights <= BUDGET


def drifted(device: Device, identity: str = "station-1.0.0") -> Series:
    return follow(
        device.redteam,
        run_of(1, failing("encoding/1"), identity=identity),
        run_of(2, failing("encoding/1", *of("direct", 9)), identity=identity),
    )


def watching(device: Device, identity: str) -> Watcher:
    """A watcher that has looked once and ended."""
    one = Watcher(device, lambda: Served("a" * 64, None, identity))
    one.begin()
    one.close()
    return one


def test_status_screen_and_metrics_tell_the_last_run_and_the_alarm(tmp_path: Path) -> None:
    device = Device(tmp_path)
    assert watching(device, "station-1.0.0").redteam() is None
    drifted(device)
    one = watching(device, "station-1.0.0")
    told = one.redteam()
    assert told is not None and told["state"] == "alarm"
    health = {"status": "ok", "drift": {"state": "watching", "alarms": []}, "redteam": told}
    shown = page(Overview(True, health)).plain
    assert "Red team     1 alarm: `anchorhold redteam show`" in shown
    assert "direct became weaker: 7 of 16 attacks held off in run 2, 16 of 16 in the baseline" in shown
    assert "encoding: 15 of 16 held off, 15 of 16 in the baseline" in shown
    assert shown.isascii() and "prompt_leak" not in shown
    without = page(Overview(True, {**health, "redteam": None})).plain
    assert "Red team     no run of this release yet: `anchorhold redteam run`" in without
    gateway = Gateway(None, None, watcher=one)  # type: ignore[arg-type]  # metrics ask it nothing
    lines = metrics.text(gateway, {"alive": True, "restarts": 0}, {}).splitlines()
    for line in (
        'anchorhold_redteam_alarm{family="direct"} 1',
        'anchorhold_redteam_alarm{family="encoding"} 0',
        'anchorhold_redteam_held_ratio{family="direct"} 0.4375',
        'anchorhold_redteam_baseline_held_ratio{family="direct"} 1',
        'anchorhold_redteam_attacks{family="direct"} 16',
        "anchorhold_redteam_run_timestamp_seconds 1767225600",
    ):
        assert line in lines, line
    quiet = telling.headline(telling.summary(taken(ALL, failing("direct/1"))))
    assert quiet == "127 of 128 attacks held off; run 2, 2026-01-01 00:00 UTC"


def test_runs_of_another_release_are_not_told_and_a_damaged_state_is(tmp_path: Path) -> None:
    device = Device(tmp_path)
    drifted(device)
    assert watching(device, "station-2.0.0").redteam() is None
    series_file.path(device.redteam).write_text("{")
    told = watching(device, "station-1.0.0").redteam()
    assert told is not None and "the next run begins it anew" in told["problem"]
    assert told["problem"] in page(Overview(True, {"status": "ok", "redteam": told})).plain.replace("\n", " ")


def test_a_reset_of_drift_resets_the_red_team_and_the_log_has_both(tmp_path: Path) -> None:
    device = Device(tmp_path)
    drifted(device)
    state_file.write(device, Monitor("a" * 64))
    state_file.ask_reset(device, keep_baseline=True)
    one = watching(device, "station-1.0.0")
    told = one.redteam()
    assert told is not None and (told["state"], told["alarms"], one.problem) == ("watching", [], "")
    (entry,) = audit.entries(device)
    assert entry["event"] == "drift reset"
    assert ["direct became weaker" in alarm for alarm in entry["data"]["alarms"]] == [True]
    runs, _ = read_runs(device.redteam)
    assert not any(run.baseline for run in runs)
    assert replace(runs[0]) == runs[0]
