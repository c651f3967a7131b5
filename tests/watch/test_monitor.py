"""The monitor: it learns, alarms once an episode, is renewed, comes back from its file, and is what is measured."""

from __future__ import annotations

import copy
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance import storage
from appliance.paths import Device
from appliance.refusals import begins_as_refusal
from appliance.watch import state_file, telling
from appliance.watch.baseline import LEAST, baseline_of, from_json, spread_of
from appliance.watch.monitor import BLOCK, BLOCKS, BURSTS, LEARN, SKETCHED, Monitor
from appliance.watch.signals import SIGNALS, Observed, fits
from benchmarks.drift import SharedTests
from tests.conftest import station_rows

USUAL = [row[0]["content"] for row in station_rows(84)]


def asked(draw: random.Random, prompt: str = "", unfit: float = 0.02, **given: Any) -> Observed:
    """An answered request as they usually are."""
    answer = '{"unit": "P1"}' if draw.random() > unfit else '{"unit": "P'
    facts = {
        "prompt": prompt or draw.choice(USUAL),
        "answer": answer,
        "finish": "stop",
        "tokens": draw.randint(8, 20),
        "confidence": -draw.lognormvariate(-3, 1),
        "schema": True,
    }
    return Observed(**{**facts, **given})


def practised(requests: int = LEARN, release: str = "r" * 64) -> Monitor:
    """A monitor of a release that brings its baseline, after so many usual requests."""
    draw = random.Random(4)
    monitor = Monitor(release, baseline_of(USUAL))
    for number in range(requests):
        assert monitor.observe(asked(draw), 1000.0 + number) == []
    return monitor


@pytest.fixture(scope="module")
def ready() -> Monitor:
    return practised()


def test_what_the_release_brings_is_tested_sooner_than_what_is_learnt(ready: Monitor) -> None:
    young = practised(BURSTS)
    told = {each["name"]: each["state"] for each in telling.summary(young)["signals"]}
    assert {name for name, state in told.items() if state == "watching"} == {"length", "unknown", "surprise"}
    assert telling.summary(young)["state"] == "learning"
    assert telling.summary(ready)["state"] == "watching"
    states = {each["name"]: each["state"] for each in telling.summary(ready)["signals"]}
    assert {name for name, state in states.items() if state != "watching"} == {
        "embedding"
    }  # no model, no tokens


def test_without_a_baseline_words_are_learnt_first() -> None:
    draw = random.Random(4)
    monitor = Monitor("r" * 64)
    for number in range(SKETCHED):
        monitor.observe(asked(draw), number)
    assert monitor.signals["unknown"].count == 0
    for number in range(LEARN - SKETCHED):
        monitor.observe(asked(draw), number)
    states = {each["name"]: each["state"] for each in telling.summary(monitor)["signals"]}
    assert {name for name, state in states.items() if state != "watching"} == {
        "embedding"
    }  # no model, no tokens
    raised = [
        alarm for _ in range(60) for alarm in monitor.observe(asked(draw, "ein Flug nach Lissabon"), 2000.0)
    ]
    assert "unknown" in {alarm.signal for alarm in raised}


SHIFTS: dict[str, dict[str, Any]] = {
    "unknown": {"prompt": "wo ist das Flugzeug, bitte"},
    "length": {"prompt": USUAL[0] + " " + USUAL[1]},
    "unfit": {"unfit": 0.3},
    "refusal": {"answer": "I'm sorry, but I can't help with that."},
    "cut": {"finish": "length"},
    "answer": {"tokens": 60},
    "confidence": {"confidence": -3.0},
}


@pytest.mark.parametrize("signal", SHIFTS)
def test_a_shift_alarms_once_and_tells_what_and_since_when(ready: Monitor, signal: str) -> None:
    monitor, draw = copy.deepcopy(ready), random.Random(5)
    raised = []
    for number in range(200):
        raised += monitor.observe(asked(draw, **SHIFTS[signal]), 5000.0 + number)
    mine = [alarm for alarm in raised if alarm.signal == signal]
    assert [(alarm.signal, alarm.side) for alarm in mine] == [
        (signal, "down" if signal == "confidence" else "up")
    ]
    assert monitor.alarms == raised
    (alarm,) = mine
    assert alarm.share > 2 * alarm.usual
    # A block of the history may have begun before the shift.
    assert alarm.since >= 1000.0 + LEARN - 2 * BLOCK
    text = telling.describe(alarm)
    assert "usually" in text and "1970-01-01" in text
    told = telling.summary(monitor)
    assert (told["state"], text in [each["text"] for each in told["alarms"]]) == ("alarm", True)
    table = telling.lines(told)
    assert all(len(line) <= 80 and line.isascii() for line in table if "ALARM" not in line)
    assert json.loads(json.dumps(told, allow_nan=False)) == told


def test_nothing_alarms_in_a_quiet_month(ready: Monitor) -> None:
    monitor, draw = copy.deepcopy(ready), random.Random(6)
    assert [monitor.observe(asked(draw), 5000.0 + n) for n in range(3000)] == [[]] * 3000
    assert len(monitor.signals["length"].history) <= BLOCKS


def test_after_a_reset_the_baseline_is_kept_or_learnt_anew(ready: Monitor) -> None:
    monitor, draw = copy.deepcopy(ready), random.Random(7)
    for number in range(60):
        monitor.observe(asked(draw, "wo ist das Flugzeug, bitte"), 5000.0 + number)
    assert monitor.alarms
    kept, anew = monitor.renewed(keep_baseline=True), monitor.renewed(keep_baseline=False)
    assert kept.alarms == anew.alarms == []
    assert (kept.brought, anew.brought) == (True, False)
    kept_raised, anew_raised = [], []
    for number in range(60):
        kept_raised += kept.observe(asked(draw, "wo ist das Flugzeug, bitte"), 6000.0 + number)
        anew_raised += anew.observe(asked(draw, "wo ist das Flugzeug, bitte"), 6000.0 + number)
    assert "unknown" in {alarm.signal for alarm in kept_raised}
    assert anew_raised == []


@pytest.mark.parametrize("requests", [0, 7, BURSTS - 1, LEARN + 40])
def test_it_goes_on_from_its_file_as_if_nothing_had_been(tmp_path: Path, requests: int) -> None:
    device = Device(tmp_path)
    assert state_file.read(device) is None
    monitor = practised(requests)
    state_file.write(device, monitor)
    assert state_file.path(device).stat().st_mode & 0o077 == 0
    again = state_file.read(device)
    assert again is not None
    first, second = random.Random(8), random.Random(8)
    for number in range(120):
        prompt = "wo ist das Flugzeug, bitte" if number > 60 else ""
        one = monitor.observe(asked(first, prompt), 9000.0 + number)
        other = again.observe(asked(second, prompt), 9000.0 + number)
        assert one == other
    assert again.to_json() == monitor.to_json()
    assert storage.canonical_json(monitor.to_json()).find(b"deck") == -1


def _alarm_of_nothing(value: Any) -> None:
    value["alarms"] = [
        {
            "signal": "nothing",
            "side": "up",
            "value": 1,
            "time": 1.0,
            "since": 1.0,
            "seen": 1,
            "share": 1.0,
            "usual": 0.0,
            "limit": 0.0,
            "logged": False,
        }
    ]


DAMAGE: dict[str, Callable[[Any], Any]] = {
    "another format": lambda value: value.update(format="x"),
    "no signals": lambda value: value.pop("signals"),
    "a signal is gone": lambda value: value["signals"].pop("cut"),
    "signals are a list": lambda value: value.update(signals=[]),
    "evidence of another shape": lambda value: value["signals"]["cut"]["evidence"]["up"]["log_sum"].append(
        [1]
    ),
    "evidence is not a number": lambda value: value["signals"]["cut"]["evidence"]["up"].update(
        log_sum=[[math.nan] * 5]
    ),
    "shares above one": lambda value: value["signals"]["cut"]["bursts"].update(up=[[0, 0.1, 0.2, 1.1]]),
    "counts that can't be": lambda value: value["signals"]["cut"]["spread"].update(up=[[0.0, 99999]]),
    "an alarm of nothing": _alarm_of_nothing,
    "a sketch that isn't one": lambda value: value.update(sketch={"words": "", "trigrams": ""}),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_file_is_told_from_a_good_one(tmp_path: Path, ready: Monitor, what: str) -> None:
    device = Device(tmp_path)
    value = json.loads(json.dumps(ready.to_json()))
    DAMAGE[what](value)
    storage.write_bytes(state_file.path(device), json.dumps(value).encode())
    with pytest.raises(ValueError, match=r"."):
        state_file.read(device)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"[" * 200_000, b"\xff\xfe", b"{}" * 9_000_000])
def test_a_file_that_is_no_state_is_refused(tmp_path: Path, data: bytes) -> None:
    device = Device(tmp_path)
    storage.write_bytes(state_file.path(device), data)
    with pytest.raises(ValueError, match=r"."):
        state_file.read(device)


def test_it_alarms_when_the_benchmark_s_form_of_it_does(ready: Monitor) -> None:
    """The figures of benchmarks/drift.py are those of what runs on a device."""
    rng = np.random.default_rng(9)
    shape = (1, 600)
    values = {signal.name: (rng.random(shape) < 0.02).astype(float) for signal in SIGNALS if signal.rate}
    values |= {signal.name: rng.normal(20, 5, shape) for signal in SIGNALS if not signal.rate}
    first = {name: each[0, :500] for name, each in values.items()}
    spreads = {name: spread_of(name, list(each)) for name, each in first.items()}
    later = {name: each.copy() for name, each in values.items()}
    later["answer"][0, 300:] += 10
    monitor = copy.deepcopy(ready)
    for name, watched in monitor.signals.items():
        watched.spread, watched.learning = None, list(first[name][:-1])
        watched.bursts, watched.evidence = {}, {}
        watched.take(float(first[name][-1]), 0.0, 500)
    expected = SharedTests(spreads, first).run(later)[0][0][0]
    for number in range(600):
        raised = monitor.take({name: float(each[0, number]) for name, each in later.items()}, 0.0)
        assert bool(raised) == (number == expected)
        if raised:
            break
    assert 300 < expected < 400


def test_a_spread_counts_what_lies_beyond_even_among_ties() -> None:
    spread = spread_of("length", [1.0] * 90 + [2.0] * 9 + [3.0])
    assert [(limit.value, limit.beyond) for limit in spread.up] == [(1.0, 10), (2.0, 1)]
    assert [(limit.value, limit.beyond) for limit in spread.down] == [(1.0, 0)]
    rate = spread_of("cut", [0.0] * 97 + [1.0] * 3)
    assert [(limit.value, limit.beyond) for limit in rate.up] == [(0.0, 3)]
    assert rate.down == ()


def test_too_few_rows_make_no_baseline_and_a_strange_one_is_refused() -> None:
    assert baseline_of(USUAL[: LEAST - 1]) is None
    made = baseline_of(USUAL)
    assert made is not None
    value = json.loads(json.dumps(made.to_json()))
    value["signals"]["of a later program"] = {"anything": 1}
    assert from_json(value).spreads == made.spreads
    for wrong in ({}, [], None, {**value, "format": "x"}, {**value, "signals": {"length": {"count": 0}}}):
        with pytest.raises(ValueError, match=r"."):
            from_json(wrong)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("I cannot assist with this request", True),
        ("As an AI language model, I have no opinions.", True),
        ("  Leider darf ich das nicht beantworten.", True),
        ("Je ne peux pas vous aider.", True),
        ("Lo siento, no puedo ayudar.", True),
        ('{"unit": "P1", "note": "sorry"}', False),
        ("The pump can't be repaired on site.", False),
        ("I can do that. First close the valve.", False),
        ("", False),
    ],
)
def test_refusals_are_told_by_how_they_begin(answer: str, expected: bool) -> None:
    assert begins_as_refusal(answer) is expected


def test_an_answer_fits_when_it_is_whole_json_that_ended() -> None:
    assert fits('{"a": 1}', "stop")
    assert not fits('{"a": 1}', "length")
    assert not fits('{"a": ', "stop")
    assert not fits("[" * 100_000, "stop")
