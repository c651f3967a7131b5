"""A power cut that loses what wasn't synced, while the workshop writes a stick or changes its keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import KeysError
from appliance.paths import Device
from appliance.trust import keys, pending
from benchmarks.unsynced import losses, put_down
from tests.stick_simulator import SECRETS, Simulator, make_release
from tests.update.test_faults import needs_strace
from tests.update.test_key_changes import changed

pytestmark = pytest.mark.slow


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device that has installed 1.0.0 from a stick."""
    if needs_strace():
        pytest.skip(needs_strace())
    simulator = Simulator(tmp_path / "here")
    simulator.publish("1.0.0")
    simulator.install()
    make_release(simulator.folder / "releases" / "1.1.0", "1.1.0", b"the new model " * 900)
    return simulator


def cut(
    simulator: Simulator, act: Callable[[], int | None], look: Callable[[Simulator, str, bool], None]
) -> int:
    """Do something, and look at what each power cut may have left; how many different states there were."""
    there, log = simulator.folder.with_name("there"), simulator.folder.with_name("strace.log")
    count = 0
    for where, left, done in losses(act, simulator.folder, log):
        put_down(left, there)
        after = Simulator.__new__(Simulator)
        after.__dict__ |= simulator.__dict__
        after.folder, after.keys, after.stick = there, there / "keys", there / "stick"
        after.root, after.device = there / "keys" / keys.ROOT_FILE, Device(there / "device")
        look(after, where, done)
        count += 1
    return count


def goes_on(simulator: Simulator, where: str) -> None:
    """The same stick can be written again, and the device takes it."""
    simulator.all_signers = keys.unlock(simulator.keys, SECRETS, keys.ROLES)
    simulator.publish("1.1.0")
    simulator.check(deep=True)
    simulator.install()
    assert simulator.active == "1.1.0", where


def test_a_stick_is_what_it_was_or_what_it_was_to_be(simulator: Simulator) -> None:
    def look(after: Simulator, where: str, done: bool) -> None:
        report = after.check(deep=True)
        assert report.version in ({"1.1.0"} if done else {"1.0.0", "1.1.0"}), where
        goes_on(after, where)

    def write() -> None:
        simulator.publish("1.1.0")

    assert cut(simulator, write, look) > 20


@pytest.mark.parametrize("role", ["root", "targets"])
def test_keys_that_change_are_the_old_or_the_new(simulator: Simulator, role: str) -> None:
    before = keys.newest(simulator.keys).version

    def look(after: Simulator, where: str, done: bool) -> None:
        version = keys.newest(after.keys).version
        assert version in ({before + 1} if done else {before, before + 1}), where
        for request in pending.waiting(after.keys):  # signed, and cut before it was put in its place
            pending.finish(after.keys, request)
        goes_on(after, where)
        try:
            changed(after, role)
        except KeysError as error:
            raise AssertionError(f"{where}: the keys can't be changed any more: {error.message}") from error

    def change() -> None:
        changed(simulator, role)

    assert cut(simulator, change, look) > 5
