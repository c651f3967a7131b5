"""Status, Updates and Help, and the ways between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import TrustError, UpdateError
from appliance.events import Event
from tests.tui.conftest import SIZES, shown, until, words
from tests.tui.scripted import ACTIVE, NOTHING
from tui.backend import Overview, StickFacts


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_every_screen_fits_and_is_reached_without_function_keys(opened, size, plain) -> None:
    async with opened(size=size, plain=plain) as (app, hands):
        for digit, label in (
            ("2", "Active release"),
            ("3", "Sticks found"),
            ("4", "WHAT TO DO WHEN"),
            ("1", "Enter send"),
        ):
            await hands.press("ctrl+g")
            await until(hands, lambda: "q Quit" in shown(app))
            await hands.press(digit)
            label = "SCREENS" if digit == "4" else label
            await until(
                hands,
                lambda label=label: (
                    label in shown(app)
                    and "q Quit" not in shown(app)
                    and len(shown(app).splitlines()) == size[1]
                ),
            )
            screen = shown(app)
            assert max(map(len, screen.splitlines())) <= size[0]
            if plain:
                assert screen.isascii(), sorted({c for c in screen if not c.isascii()})


async def test_status_shows_release_signer_slots_and_gateway(opened) -> None:
    async with opened(size=(120, 40)) as (app, hands):
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        screen = shown(app)
        for label in (
            "workorders 1.1.0 (number 2)", "A, installed", "ab" * 16, "9d1c" * 8, "182 tokens/s", "214 MiB",
            "1 of 8 answering, 0 waiting", "hits 40", "1 d 2 h", "workorders 1.0.0 (number 1)",
        ):  # fmt: skip
            assert label in screen, label


async def test_status_tells_when_another_release_is_served_than_is_active(opened, backend) -> None:
    other = ACTIVE.__class__(**{**ACTIVE.__dict__, "digest": "ee" * 32})
    backend.overview = Overview(True, backend.overview.health, other, None, True)
    async with opened() as (app, hands):
        await hands.press("f2")
        await until(hands, lambda: "not the active release" in shown(app))


@pytest.mark.parametrize("size", SIZES)
async def test_status_shows_the_red_team_s_alarm_beside_drift(opened, backend, size) -> None:
    family = {"held": 5, "total": 14, "baseline_held": 14, "baseline_total": 14}
    told = {
        "state": "alarm", "run": 9, "time": "2026-01-09T03:10:00+00:00", "problem": "",
        "families": [{"name": "override", "state": "alarm", "evidence": 1.0, **family}],
        "alarms": ["override became weaker: 5 of 14 attacks held off in run 9, 14 of 14 in the baseline"],
    }  # fmt: skip
    drift = {"state": "watching", "requests": 9, "baseline": "learnt here", "alarms": []}
    health = {**backend.overview.health, "drift": drift, "redteam": told}
    backend.overview = Overview(True, health, ACTIVE, None, True)
    async with opened(size=size) as (app, hands):
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        await hands.press("end")
        await until(hands, lambda: "Red team     1 alarm: `anchorhold redteam show`" in shown(app))
        assert "override became weaker: 5 of 14 attacks held off in run 9, 14 of 14 in the" in words(app)
        assert max(map(len, shown(app).splitlines())) <= size[0]


@pytest.mark.parametrize("size", SIZES)
async def test_a_stick_is_checked_then_installed_with_progress(opened, backend, size) -> None:
    backend.found = [Path("/media/anna/STICK")]
    backend.facts = StickFacts(Path("/media/anna/STICK"), "workorders 1.2.0", (("Signed by", "9d1c"),))
    backend.events = [
        Event("install", "progress", "copying", 30, 100, "bytes"),
        Event("install", "message", "golden answers are right"),
    ]
    backend.outcome = "workorders 1.2.0"
    async with opened(size=size) as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "/media/anna/STICK" in shown(app))
        await hands.press("i")
        assert not backend.installed  # never before a check
        await hands.press("enter")
        await until(hands, lambda: "Genuine: workorders 1.2.0" in shown(app))
        await hands.press("escape", "i")
        await until(hands, lambda: "Install workorders 1.2.0?" in shown(app))
        await hands.press("enter")  # Enter is No at first
        await until(hands, lambda: "Install workorders 1.2.0?" not in shown(app))
        assert not backend.installed
        await hands.press("i")
        await until(hands, lambda: "Install workorders 1.2.0?" in shown(app))
        await hands.press("y")
        await until(hands, lambda: "Installed: workorders 1.2.0 is active" in shown(app))
        assert "golden answers are right" in shown(app)
        assert backend.installed == [(Path("/media/anna/STICK"), None)]
        assert not app.changing


async def test_a_refused_stick_says_why_and_cannot_be_installed(opened, backend) -> None:
    backend.facts = TrustError("not signed by a key that this device trusts", "ask the publisher")
    async with opened() as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "(none; mount one" in shown(app))
        await hands.press("tab")
        await hands.ask("/media/evil")
        await until(hands, lambda: "exit code 8 TRUST" in shown(app))
        screen = words(app)
        assert "not signed by a key that this device trusts" in screen
        assert "ask the publisher" in screen
        assert "exit code 8 TRUST" in screen
        await hands.press("escape", "i")
        await until(hands, lambda: "Check the stick first" in words(app))
        assert not backend.installed


async def test_changing_the_path_takes_the_check_back(opened, backend) -> None:
    backend.facts = StickFacts(Path("/good"), "workorders 1.2.0")
    async with opened() as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "(none; mount one" in shown(app))
        await hands.press("tab")
        await hands.ask("/good")
        await until(hands, lambda: "Genuine" in shown(app))
        await hands.press("x", "escape", "i")
        await until(hands, lambda: "Check the stick first" in words(app))
        assert not backend.installed


async def test_the_root_of_trust_is_asked_for_only_on_a_fresh_device(opened, backend) -> None:
    async with opened() as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "Sticks found" in shown(app))
        assert "Root of trust" not in shown(app)
    backend.overview = NOTHING
    async with opened() as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "Root of trust" in shown(app))


async def test_rollback_asks_first_and_reports(opened, backend) -> None:
    backend.outcome = UpdateError("the model is damaged", "install the stick again")
    async with opened() as (app, hands):
        await hands.press("f3")
        await until(hands, lambda: "Sticks found" in shown(app))
        await hands.press("b")
        await until(hands, lambda: "Go back to workorders 1.0.0?" in shown(app))
        await hands.press("escape")
        await until(hands, lambda: "Go back" not in shown(app))
        assert backend.rolled_back == 0
        await hands.press("b")
        await until(hands, lambda: "Go back to workorders 1.0.0?" in shown(app))
        await hands.press("y")
        await until(hands, lambda: "the model is damaged" in shown(app))
        backend.outcome = "workorders 1.0.0"
        await hands.press("b")
        await until(hands, lambda: "Go back to workorders 1.0.0?" in shown(app))
        await hands.press("y")
        await until(hands, lambda: "workorders 1.0.0 is active again" in shown(app))


async def test_one_does_not_leave_in_the_middle_of_an_install(opened, backend) -> None:
    async with opened() as (app, hands):
        app.changing = True
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        await hands.press("q")
        await until(hands, lambda: "An install is running" in shown(app))
        app.changing = False
        await hands.press("q")
        await until(hands, lambda: not app.is_running)
