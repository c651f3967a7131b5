"""Devices that aren't known: shown with their fingerprint, and taken only where a person names them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.events import ignore
from appliance.fleet.devices import Devices
from appliance.fleet.strangers import believed, look
from appliance.fleet.taking import take_all
from appliance.paths import registry_folder
from appliance.trust import device_identity
from appliance.update import receipts
from tests.fleet.signed_device import LATER, SignedDevice
from tests.fleet.test_taking import REPOSITORY, run


@pytest.fixture
def devices() -> list[SignedDevice]:
    return [SignedDevice(letter * 8 + "0" * 24).logged(3) for letter in "abc"]


@pytest.fixture
def stick(tmp_path: Path, devices: list[SignedDevice]) -> Path:
    """A stick with receipts of three devices."""
    for device in devices:
        put(tmp_path / "stick", device)
    return tmp_path / "stick"


def put(stick: Path, device: SignedDevice, data: bytes = b"") -> None:
    path = stick / "receipts" / receipts.file_name(device.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data or device.receipt(machine=f"host of {device.id[0]}"))


def print_of(device: SignedDevice) -> str:
    return device_identity.fingerprint(device.public)


def enrolled() -> dict[str, str]:
    return {known.device: known.key for known in Devices(registry_folder()).all()}


def test_each_unknown_device_is_shown_with_its_fingerprint(stick: Path, devices: list[SignedDevice]) -> None:
    shown = run("receipts", "import", stick)
    assert shown.returncode == 8 and enrolled() == {}
    for device in devices:
        assert device.id in shown.stdout and print_of(device) in shown.stdout
        assert f"--enrol {device.id[:8]}" in shown.stdout
    told = json.loads(run("receipts", "import", stick, "--json").stdout)
    assert [(each["kind"], each["fingerprint"]) for each in told] == [
        ("unknown", print_of(device)) for device in devices
    ]


def test_only_those_that_are_named_are_enrolled(stick: Path, devices: list[SignedDevice]) -> None:
    first, second, third = devices
    done = run("receipts", "import", stick, "--enrol", "aaaaa", "--enrol", print_of(second).upper())
    assert done.returncode == 8  # the third one isn't known yet
    assert enrolled() == {first.id: first.public, second.id: second.public}
    for device in (first, second):
        assert f"enrolled, its key has the fingerprint {print_of(device)}: 3 new entries" in done.stdout
    assert f"has the fingerprint {print_of(third)}" in done.stdout
    again = run("receipts", "import", stick, "--enrol", "aaaaa", "--enrol", "bbbb", "--json")
    told = json.loads(again.stdout)  # a script may say the same again
    assert [each["outcome"] for each in told] == ["known already", "known already", "refused"]
    done = run("receipts", "import", stick, "--enrol-all", "--json")
    assert done.returncode == 0 and set(enrolled()) == {device.id for device in devices}
    assert [each["enrolled"] for each in json.loads(done.stdout)] == [False, False, True]


@pytest.mark.parametrize("word", ["dddd", "aaa", "", "0" * 64, "x"])
def test_a_word_that_means_no_device(stick: Path, devices: list[SignedDevice], word: str) -> None:
    done = run("receipts", "import", stick, "--enrol", "bbbb", "--enrol", word)
    assert done.returncode == 2 and devices[0].id in done.stderr
    assert enrolled() == {}


def test_a_word_that_means_two(stick: Path, devices: list[SignedDevice]) -> None:
    put(stick, SignedDevice("aaaa" + "1" * 28).logged(1))
    assert "2 devices there are called so" in run("receipts", "import", stick, "--enrol", "aaaa").stderr
    assert enrolled() == {}
    assert run("receipts", "import", stick, "--enrol", devices[0].id).returncode == 8
    assert list(enrolled()) == [devices[0].id]


def test_a_beginning_of_a_fingerprint_names_nothing(stick: Path, devices: list[SignedDevice]) -> None:
    """Whoever makes keys can choose how a fingerprint begins."""
    assert run("receipts", "import", stick, "--enrol", print_of(devices[0])[:16]).returncode == 2


def test_a_key_that_was_swapped_since_a_person_looked(stick: Path, devices: list[SignedDevice]) -> None:
    chosen = believed(look(stick, registry_folder()))
    put(stick, SignedDevice(devices[0].id).logged(3))
    first, second, _ = take_all(stick, registry_folder(), ignore, enrol=chosen)
    assert (first.outcome, first.kind, second.outcome) == ("refused", "unknown", "taken")
    assert devices[0].id not in enrolled()


def test_one_whose_receipt_does_not_hold_is_not_offered(stick: Path, devices: list[SignedDevice]) -> None:
    put(stick, devices[0], devices[0].receipt()[:-9])
    assert [each.device for each in look(stick, registry_folder())] == [devices[1].id, devices[2].id]
    done = run("receipts", "import", stick, "--enrol-all")
    assert done.returncode == 8 and "was cut after entry 2" in done.stdout
    assert devices[0].id not in enrolled()


def test_a_listed_device_whose_log_begins_elsewhere_is_taken_when_it_is_named(
    stick: Path, devices: list[SignedDevice]
) -> None:
    device = devices[0].logged(3)
    put(stick, device, device.receipt(after=4))
    assert run("fleet", "enrol", device.id, device.public).returncode == 0
    assert "a gap" in run("receipts", "import", stick).stdout
    done = run("receipts", "import", stick, "--enrol", device.id)
    assert "2 new entries, up to 6" in done.stdout
    put(stick, device, device.logged(3).receipt(after=8, time=LATER))
    assert "a gap" in run("receipts", "import", stick, "--enrol", device.id).stdout  # later on it is none


def at_a_terminal(stick: Path, answers: str, *more: str) -> str:
    """What `receipts import` prints where a person sits."""
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "appliance", "receipts", "import", str(stick), *more]
    child = subprocess.Popen(
        program, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=REPOSITORY
    )
    os.close(theirs)
    os.write(ours, answers.encode())
    shown, _ = child.communicate(timeout=120)
    os.close(ours)
    return shown.decode()


def test_at_a_terminal_each_is_asked_for(stick: Path, devices: list[SignedDevice]) -> None:
    shown = at_a_terminal(stick, "n\ny\n\n")
    assert set(enrolled()) == {devices[1].id}
    for device in devices:
        assert f"unknown device {device.id} (it calls itself host of {device.id[0]})" in shown
        assert f"fingerprint {print_of(device)}" in shown
    assert "unknown device" not in at_a_terminal(
        stick, "", "--json"
    )  # for programs there is nothing to answer
    assert set(enrolled()) == {devices[1].id}
