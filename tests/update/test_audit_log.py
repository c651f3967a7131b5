"""The audit log on the disk: kills, torn lines, full files, full disks, and whoever edits, cuts or puts back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import KeysError
from appliance.fleet.telling import is_alarm
from appliance.paths import Device
from appliance.trust import chain, device_identity, limits, receipt
from appliance.update import audit, log_files, receipts

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def device(tmp_path: Path) -> Device:
    """A device with five entries."""
    device = Device(tmp_path / "device")
    device.root.mkdir()
    for number in range(1, 6):
        audit.append(device, "tried", number=number)
    return device


def numbers(device: Device) -> list[int]:
    """What the entries of the tests say."""
    return [entry["data"]["number"] for entry in audit.entries(device) if entry["event"] == "tried"]


def lines(device: Device) -> list[bytes]:
    return audit.path(device).read_bytes().splitlines(keepends=True)


# Kills


def test_kill_at_every_change_and_in_every_write(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.update.killed_writer", str(tmp_path)]
    subprocess.run(program, check=True, cwd=REPOSITORY)
    attempts = sorted(tmp_path.iterdir())
    assert len(attempts) > 40
    seen_torn = seen_older = 0
    for folder in attempts:
        device = Device(folder / "device")
        done = [int(line.split()[0]) for line in (folder / "done").read_text().splitlines()]
        if device.log.is_dir():
            assert not audit.check(device.log).faults, folder
        audit.append(device, "after")
        assert audit.verify(device) == [], folder
        kept = numbers(device)
        assert kept[: len(done)] == done and len(kept) <= len(done) + 1, (
            folder
        )  # at most the one in hand is more
        assert kept == list(range(1, len(kept) + 1)), folder
        torn = [entry for entry in audit.entries(device) if entry["event"] == "torn"]
        assert len(torn) == len(list(device.log.glob("torn-*"))), folder
        seen_torn += len(torn)
        seen_older += bool(log_files.older(device.log))
        assert not list(device.root.rglob("*.part")), folder
        assert device_identity.key_path(device).stat().st_mode & 0o777 == 0o600
    assert seen_torn > 3 and seen_older > 10


@pytest.mark.parametrize("kept", [1, 40, -2])
def test_a_torn_last_line_is_kept_aside_and_the_chain_goes_on(device: Device, kept: int) -> None:
    whole = lines(device)
    torn = whole[-1][:kept]
    audit.path(device).write_bytes(b"".join(whole[:-1]) + torn)
    assert audit.check(device.log).torn == len(torn)
    audit.append(device, "tried", number=6)
    told = audit.entries(device)[4]
    assert told["event"] == "torn"
    assert (device.log / told["data"]["kept"]).read_bytes() == torn
    assert numbers(device) == [1, 2, 3, 4, 6]


def test_an_entry_that_lacks_only_its_line_feed_is_an_entry(device: Device) -> None:
    data = audit.path(device).read_bytes()
    audit.path(device).write_bytes(data[:-1])
    assert audit.verify(device) == []
    audit.append(device, "tried", number=6)
    assert audit.verify(device) == [] and numbers(device) == [1, 2, 3, 4, 5, 6]


def test_zeros_behind_the_last_entry(device: Device) -> None:
    """What some file systems leave after a power cut."""
    with audit.path(device).open("ab") as stream:
        stream.write(bytes(3000) + b"\n" + bytes(10))
    audit.append(device, "tried", number=6)
    assert audit.verify(device) == [] and numbers(device) == [1, 2, 3, 4, 5, 6]
    (aside,) = device.log.glob("torn-6-*")
    assert aside.read_bytes() == bytes(3000) + b"\n" + bytes(10)


# Whoever changes it


def test_an_edit_is_found_at_its_entry(device: Device) -> None:
    path = audit.path(device)
    path.write_bytes(path.read_bytes().replace(b'"number":3},"device"', b'"number":8},"device"'))
    assert audit.verify(device) == ["entry 3: edited: entry 4 names another digest than it has"]


def test_an_edit_of_the_last_entry_is_found(device: Device) -> None:
    path = audit.path(device)
    path.write_bytes(path.read_bytes().replace(b'"number":5},"device"', b'"number":8},"device"'))
    assert audit.verify(device) == ["entry 5: edited: another entry stood here"]


def test_a_line_taken_out_is_found(device: Device) -> None:
    whole = lines(device)
    audit.path(device).write_bytes(b"".join(whole[:2] + whole[4:]))
    assert audit.verify(device) == ["entry 3: entries 3 to 4 are missing (cut out)"]


def test_a_line_put_in_twice_is_found(device: Device) -> None:
    whole = lines(device)
    audit.path(device).write_bytes(b"".join([*whole[:3], whole[2], *whole[3:]]))
    assert audit.verify(device)[0] == "entry 4: the number 3 stands in its place (put in twice)"


def test_another_device_s_entries_are_found(device: Device, tmp_path: Path) -> None:
    other = Device(tmp_path / "other")
    for number in range(1, 7):
        audit.append(other, "tried", number=number)
    audit.path(device).write_bytes(audit.path(other).read_bytes())
    known = device_identity.read(other)
    assert known is not None
    assert audit.verify(device)[0] == f"entry 1: written by another device, {known.device}"


def test_a_cut_end_is_found(device: Device) -> None:
    audit.path(device).write_bytes(b"".join(lines(device)[:3]))
    (fault,) = audit.verify(device)
    assert fault.startswith(
        "entry 3: the log ends here, though 5 were written here: it was cut, or an older copy"
    )


def test_an_older_copy_that_was_put_back_is_found(device: Device) -> None:
    older = audit.path(device).read_bytes()
    audit.append(device, "tried", number=6)
    audit.path(device).write_bytes(older)
    (fault,) = audit.verify(device)
    assert fault.startswith("entry 5: the log ends here, though 6 were written here")


def test_a_cut_behind_what_the_workshop_has_is_found_without_head_json(device: Device) -> None:
    log_files.write_place(device.log / log_files.ACKNOWLEDGED, audit.check(device.log).head)
    audit.path(device).write_bytes(b"".join(lines(device)[:3]))
    (device.log / log_files.HEAD).unlink()
    (fault,) = audit.verify(device)
    assert fault.startswith("entry 3: the log ends here, though the workshop has 5")


def test_a_log_that_is_gone_is_found(device: Device) -> None:
    audit.path(device).unlink()
    (fault,) = audit.verify(device)
    assert fault.startswith("entry 0: the log ends here, though 5 were written here")


@pytest.mark.parametrize("kept", [0, 3, 4])
def test_a_cut_is_told_by_the_next_entry(device: Device, kept: int) -> None:
    """That entry's place becomes the log's end, so without a word of it nobody would see the cut any more."""
    written = log_files.read_place(device.log / log_files.HEAD)
    assert written is not None and written.number == 5
    audit.path(device).write_bytes(b"".join(lines(device)[:kept]))
    audit.append(device, "after")
    audit.append(device, "after")
    told = [entry for entry in audit.entries(device) if entry["event"] == "log cut"]
    assert [entry["data"] for entry in told] == [{"written": 5, "digest": written.digest, "ends": kept}]
    assert audit.verify(device) == []
    assert is_alarm(audit.check(device.log).entries[kept])


def test_a_lost_identity_keeps_its_id_whoever_asks_for_it(device: Device) -> None:
    before = device_identity.read(device)
    shutil.rmtree(device.identity)
    after = audit.identity(device)
    assert before is not None and after.device == before.device and after.public != before.public
    assert audit.entries(device)[-1]["event"] == "key made"
    assert audit.verify(device) == []
    device_identity.key_path(device).unlink()
    assert receipt.read(receipts.make(device).data).device == before.device
    assert [entry["event"] for entry in audit.entries(device)[-2:]] == ["key made", "key made"]


def test_spelling_is_part_of_an_entry(device: Device) -> None:
    path = audit.path(device)
    path.write_bytes(path.read_bytes().replace(b'{"data":{"number":2}', b'{"data": {"number":2}'))
    assert audit.verify(device)[0].startswith("entry 2: damaged or edited: not the canonical JSON")


# Full files, and full disks


def test_full_files_and_what_is_dropped_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_SEGMENT_BYTES", 700)
    monkeypatch.setattr(limits, "LOG_SEGMENTS_KEPT", 2)
    device = Device(tmp_path / "device")
    entries = [audit.append(device, "tried", number=number) for number in range(1, 31)]
    files = log_files.older(device.log)
    assert len(files) > 5 and files[0][0] == 1
    assert audit.verify(device) == [] and numbers(device) == list(range(1, 31))
    with log_files.writing(device.log):
        assert (
            log_files.drop(device.log, files[1][0] - 2) is None
        )  # one entry of the first file isn't acknowledged
        log_files.write_place(device.log / log_files.ACKNOWLEDGED, entries[19].link)
        last = log_files.drop(device.log, 20)
    assert last is not None and last.number <= 20
    assert audit.verify(device) == []
    assert numbers(device) == list(range(last.number + 1, 31))
    audit.append(device, "tried", number=31)
    assert audit.verify(device) == []
    (device.log / log_files.ACKNOWLEDGED).unlink()
    assert "hasn't acknowledged so much" in audit.verify(device)[0]
    oldest = log_files.older(device.log)[0][1]
    oldest.unlink()
    assert any("missing (cut out)" in fault for fault in audit.verify(device))


def test_a_kill_between_saying_and_dropping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOG_SEGMENT_BYTES", 700)
    monkeypatch.setattr(limits, "LOG_SEGMENTS_KEPT", 1)
    device = Device(tmp_path / "device")
    last = [audit.append(device, "tried", number=number) for number in range(1, 13)][-1]
    copy = tmp_path / "copy"
    shutil.copytree(device.log, copy)
    with log_files.writing(device.log):
        log_files.write_place(device.log / log_files.ACKNOWLEDGED, last.link)
        assert log_files.drop(device.log, last.number) is not None
    for path in copy.glob("audit-*.jsonl"):  # as if none had gone yet
        shutil.copy(path, device.log)
    assert audit.verify(device) == []
    with log_files.writing(device.log):
        log_files.drop(device.log, last.number)
    assert audit.verify(device) == []


@pytest.mark.root
def test_a_full_disk_leaves_the_log_whole(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(small)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("can't mount a tmpfs here")
    try:
        device = Device(small)
        with pytest.raises(OSError, match="No space left"):
            for number in range(1, 1000):
                audit.append(device, "tried", number=number, text="x" * 1500)
        kept = numbers(device)
        assert audit.check(device.log).torn == 0 and kept == list(range(1, len(kept) + 1)) and len(kept) > 5
        assert audit.verify(device) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_what_does_not_fit_an_entry_is_cut(device: Device) -> None:
    deep: object = "x"
    for _ in range(2000):
        deep = {"deeper": deep}
    entry = audit.append(
        device, "tried", number=6, text="é" * 9000, deep=deep, long=10**5000, many=["y" * 90] * 500
    )
    assert len(entry.line) <= limits.ENTRY_BYTES and "cut" in entry.data
    entry = audit.append(device, "tried", path="/media/\udcff", number=7, odd=float("nan"))
    assert entry.data == {"path": "/media/\\udcff", "number": 7, "odd": "nan"}
    assert audit.verify(device) == []


def test_a_log_of_before_is_put_aside(tmp_path: Path) -> None:
    device = Device(tmp_path)
    former = (
        b'{"data":{},"event":"installed","number":1,"previous":"'
        + b"0" * 64
        + b'","time":"2026-11-01T00:00:00Z"}\n'
    )
    device.log.mkdir()
    audit.path(device).write_bytes(former + b'{"torn')
    audit.append(device, "tried", number=1)
    begun, tried = audit.entries(device)
    assert (begun["event"], begun["number"], tried["number"]) == ("log begun", 1, 2)
    (name,) = begun["data"]["former"]
    assert (device.log / name).read_bytes() == former + b'{"torn'
    audit.path(device).write_bytes(former)  # later it is no way to hide what was written
    assert audit.verify(device) != []


# The device's own key


def test_a_lost_key_is_replaced_under_the_old_id_and_told(device: Device) -> None:
    before = device_identity.read(device)
    device_identity.key_path(device).unlink()
    audit.append(device, "tried", number=6)
    after = device_identity.read(device)
    assert before is not None and after is not None
    assert (before.device, before.public != after.public) == (after.device, True)
    told = audit.entries(device)[5]
    assert (told["event"], told["data"]["fingerprint"]) == ("key made", after.fingerprint)
    shutil.rmtree(device.identity)
    audit.append(device, "tried", number=7)
    again = device_identity.read(device)
    assert again is not None and again.device == before.device  # the log remembers
    assert audit.verify(device) == []


def test_a_lost_public_half_comes_back_from_the_key(device: Device) -> None:
    before = device_identity.read(device)
    (device.identity / "device.json").write_text("{")
    audit.append(device, "tried", number=6)
    assert device_identity.read(device) == before
    assert [entry["event"] for entry in audit.entries(device)] == ["tried"] * 6


def test_damaged_halves_are_kept_and_replaced(device: Device) -> None:
    for path in (device.identity / "device.json", device_identity.key_path(device)):
        path.write_text("{")
    audit.append(device, "tried", number=6)
    assert audit.verify(device) == []
    assert (device.identity / "device.key.damaged").read_text() == "{"
    assert audit.entries(device)[5]["event"] == "key made"


def test_a_key_that_others_may_read_signs_nothing(device: Device) -> None:
    device_identity.key_path(device).chmod(0o640)
    with pytest.raises(KeysError, match="others may read this key"):
        device_identity.sign(device, b"data")
    audit.append(device, "tried", number=6)  # the log needs no key
    assert audit.verify(device) == []


def test_a_signature_holds_for_its_bytes_and_key_alone(device: Device) -> None:
    identity, signature = device_identity.sign(device, b"data")
    assert device_identity.holds(identity.public, signature, b"data")
    assert not device_identity.holds(identity.public, signature, b"date")
    assert not device_identity.holds("00" * 32, signature, b"data")
    assert not device_identity.holds(identity.public, "zz", b"data")


def test_entries_name_their_device_and_number(device: Device) -> None:
    identity = device_identity.read(device)
    assert identity is not None
    found = [json.loads(line) for line in lines(device)]
    assert [entry["number"] for entry in found] == [1, 2, 3, 4, 5]
    assert {entry["device"] for entry in found} == {identity.device}
    assert found[0]["previous"] == chain.START
