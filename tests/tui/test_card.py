"""The report card behind Status: of a really installed release, on full and plain terminals, by keys alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance import storage
from appliance.errors import UpdateError
from tests.tui.conftest import SIZES, Hands, shown, until, words
from tests.update.test_installed_card import AUDIT, installed
from tui.app import AnchorholdApp
from tui.backend import DeviceBackend
from tui.history import History


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("plain", [False, True])
async def test_the_card_of_an_installed_release(tmp_path: Path, size: tuple[int, int], plain: bool) -> None:
    simulator = installed(tmp_path, storage.canonical_json(AUDIT))
    history = History(None)
    app = AnchorholdApp(DeviceBackend(simulator.device), history, plain=plain, copies=tmp_path / "copied")
    async with app.run_test(size=size) as pilot:
        hands = Hands(pilot)
        await until(pilot, lambda: app.looked)
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app) and "c report card" in shown(app))
        await hands.press("c")
        await until(hands, lambda: "1 of 2 passed, 1 waived by name" in shown(app))
        screen = shown(app)
        assert max(map(len, screen.splitlines())) <= size[0]
        assert not plain or screen.isascii()
        await hands.press("end")
        await until(hands, lambda: "kept" in shown(app) and "better" in shown(app))
        row = next(line for line in shown(app).splitlines() if "0.7 to 0.9" in line)
        assert row.split() == ["kept", "0.8", "0.7", "to", "0.9", "0.3", "better"], "no row is wrapped"
        await hands.press("escape")
        await until(hands, lambda: "Active release" in shown(app))
        await hands.press("c")
        await until(hands, lambda: "Report card of" in shown(app))
        await hands.press("c")
        await until(hands, lambda: "Active release" in shown(app))
    history.close()


async def test_a_release_without_one_says_so_and_the_next_release_is_read_anew(opened, backend) -> None:
    backend.shown_card = UpdateError("notes 1.0.0 brings no report card", "make a release with one")
    async with opened(plain=True) as (app, hands):
        await hands.press("f2")
        await until(hands, lambda: "Active release" in shown(app))
        await hands.press("c")
        await until(hands, lambda: "notes 1.0.0 brings no report card make a release with one" in words(app))
        backend.shown_card = ["gates     3 of 3 \u202epassed\u00e9"]
        active = backend.overview.active
        backend.overview = backend.overview.__class__(
            **{**vars(backend.overview), "active": active.__class__(**{**vars(active), "digest": "9" * 64})}
        )
        await until(hands, lambda: "gates 3 of 3 passed?" in words(app))
