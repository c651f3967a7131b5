"""A device's keys: made once however many ask, told by the log whenever the power goes, read as they were written."""

from __future__ import annotations

import json
import os
import signal
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from appliance.errors import KeysError
from appliance.paths import Device
from appliance.trust import device_identity, encryption_keys, receipt
from appliance.trust.encryption_keys import KEY_BYTES, Receiver
from appliance.update import audit, receipts
from appliance.update.device_keys import make
from tests.update.killed_install import CHANGES

SECRET = bytes(range(32))
OTHER = "0123456789abcdef" * 2


@pytest.fixture
def device(tmp_path: Path) -> Device:
    device = Device(tmp_path / "device")
    device.root.mkdir()
    audit.append(device, "tried")
    return device


def fingerprints(device: Device, event: str) -> list[str]:
    return [entry["data"]["fingerprint"] for entry in audit.entries(device) if entry["event"] == event]


def in_children(count: int, act: Callable[[int], None]) -> None:
    """Do `act` in so many processes, all at the same moment."""
    reading, writing = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)  # ends when all others have let go of it
            try:
                act(number)
            finally:
                os._exit(0)
        children.append(child)
    os.close(writing)
    for child in children:
        os.waitpid(child, 0)
    os.close(reading)


def test_many_programs_make_one_encryption_key(tmp_path: Path) -> None:
    for attempt in range(5):
        device, out = Device(tmp_path / f"device-{attempt}"), tmp_path / f"out-{attempt}"
        device.root.mkdir()
        out.mkdir()

        def act(number: int, device: Device = device, out: Path = out) -> None:
            key = make(device, "pump-house")
            (out / str(number)).write_text(key.receiver.fingerprint)

        in_children(6, act)
        told = [path.read_text() for path in out.iterdir()]
        key = encryption_keys.read(device)
        assert key is not None and told == [key.receiver.fingerprint] * 6
        assert fingerprints(device, "encryption key made") == [told[0].replace(" ", "")]


def test_many_programs_make_one_identity(tmp_path: Path) -> None:
    device = Device(tmp_path / "device")
    device.root.mkdir()
    in_children(6, lambda _: audit.identity(device) and None)
    identity = device_identity.read(device)
    assert identity is not None and device_identity.sign(device, b"x")[0] == identity


def test_two_enrol_two_keys_under_one_name(tmp_path: Path) -> None:
    """One is taken, the other is told."""
    keys = [encryption_keys.make(Device(tmp_path / name), "same").receiver for name in "abcdef"]

    def act(number: int) -> None:
        try:
            encryption_keys.enrol(tmp_path / "keys", keys[number])
        except KeysError:
            (tmp_path / f"refused-{number}").touch()

    in_children(6, act)
    assert len(list(tmp_path.glob("refused-*"))) == 5


def killed(folder: Path, allowed: int, act: Callable[[], object]) -> bool:
    """Do `act` in a process that is killed at the change below `folder` after `allowed` ones; whether it was."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] != 0
    left = allowed

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (writes or event in CHANGES) and any(str(each).startswith(str(folder)) for each in arguments):
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    sys.addaudithook(hook)
    act()
    os._exit(0)


@pytest.mark.parametrize("lost", ["key", "both"])
def test_a_new_identity_key_is_told_whenever_it_is_killed(tmp_path: Path, lost: str) -> None:
    for allowed in range(200):
        device = Device(tmp_path / f"{allowed:03}")
        device.root.mkdir()
        audit.append(device, "tried")
        before = device_identity.read(device)
        device_identity.key_path(device).unlink()
        if lost == "both":
            (device.identity / "device.json").unlink()
        dead = killed(device.root, allowed, lambda device=device: audit.append(device, "tried"))  # type: ignore[misc]
        if device_identity.key_path(device).exists():  # then it may sign, and nobody comes after it
            assert device_identity.sign(device, b"")[0].fingerprint in fingerprints(device, "key made")
        made = receipt.read(receipts.make(device).data)
        after = device_identity.read(device)
        assert before is not None and after is not None and before.device == after.device == made.device
        assert made.key == after.public != before.public
        assert fingerprints(device, "key made")[-1] == after.fingerprint
        assert audit.verify(device) == [] and b"key made" in b"".join(made.entries)
        assert sorted(path.name for path in device.identity.iterdir()) == ["device.json", "device.key.json"]
        if not dead:
            break
    assert allowed > 10


def test_an_encryption_key_is_told_whenever_it_is_killed(tmp_path: Path) -> None:
    for allowed in range(200):
        device = Device(tmp_path / f"{allowed:03}")
        device.root.mkdir()
        audit.append(device, "tried")
        dead = killed(device.root, allowed, lambda device=device: make(device, "ours"))  # type: ignore[misc]
        told = fingerprints(device, "encryption key made")
        for _ in range(2):
            key = encryption_keys.read(device)
            assert key is None or key.receiver.fingerprint.replace(" ", "") in told
            make(device, "ours")
            told = fingerprints(device, "encryption key made")
        assert len(set(told)) == 1
        (path,) = (device.root / "trust").iterdir()
        assert path.name == "device-key.json" and stat.S_IMODE(path.stat().st_mode) == 0o600
        if not dead:
            break
    assert allowed > 6


def test_where_the_log_cannot_be_written_there_is_no_key(device: Device) -> None:
    audit.path(device).unlink()
    audit.path(device).mkdir()
    with pytest.raises(OSError, match="a folder, not a regular file"):
        make(device, "ours")
    assert encryption_keys.read(device) is None
    audit.path(device).rmdir()
    assert make(device, "ours").receiver.name == "ours"
    assert len(fingerprints(device, "encryption key made")) == 1


def test_another_name_the_next_time_is_another_key(device: Device) -> None:
    def fail(_: Receiver) -> None:
        raise OSError("killed here")

    with pytest.raises(OSError, match="killed here"):
        encryption_keys.make(device, "first", fail)
    assert make(device, "second").receiver.name == "second"


def test_a_key_that_was_put_in_the_other_s_place_is_told(device: Device, tmp_path: Path) -> None:
    """The private half of a backup, say; or the change was killed before the public half."""
    copy = device_identity.key_path(device).read_bytes()
    device_identity.key_path(device).unlink()
    audit.append(device, "tried")
    device_identity.key_path(device).write_bytes(copy)
    made = receipt.read(receipts.make(device).data)
    assert made.key == json.loads(copy)["public"]
    assert len(fingerprints(device, "key made")) == 2 and audit.verify(device) == []


def test_halves_of_two_devices_sign_nothing(device: Device, tmp_path: Path) -> None:
    other = Device(tmp_path / "other")
    audit.append(other, "tried")
    device_identity.key_path(device).write_bytes(device_identity.key_path(other).read_bytes())
    with pytest.raises(KeysError, match="tell of two devices"):
        receipts.make(device)
    assert fingerprints(device, "key made") == []


# The files


def test_each_kind_of_key_file_has_a_format_of_its_own(device: Device) -> None:
    make(device, "ours")
    found = [device_identity.key_path(device), device.root / "trust" / "device-key.json"]
    formats = [json.loads(path.read_bytes())["format"] for path in found]
    assert formats == ["anchorhold-identity-key/1", "anchorhold-encryption-key/1"]


def former_identity(device: Device) -> str:
    """As versions before wrote it, byte by byte; returns the public key."""
    public = Ed25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw().hex()
    text = f"""{{
  "device": "{OTHER}",
  "format": "anchorhold-device-key/1",
  "private": "{SECRET.hex()}",
  "public": "{public}"
}}
"""
    device.identity.mkdir(parents=True)
    device_identity.key_path(device).write_text(text)
    device_identity.key_path(device).chmod(0o600)
    public_half = {"device": OTHER, "format": "anchorhold-device/1", "public": public}
    (device.identity / "device.json").write_text(json.dumps(public_half))
    return public


def test_an_identity_of_before_signs_and_stays(tmp_path: Path) -> None:
    device = Device(tmp_path / "device")
    public = former_identity(device)
    before = device_identity.key_path(device).read_bytes()
    audit.append(device, "tried")
    made = receipt.read(receipts.make(device).data)
    assert (made.device, made.key) == (OTHER, public)
    assert device_identity.key_path(device).read_bytes() == before
    (device.identity / "device.json").unlink()
    assert audit.identity(device).public == public
    assert fingerprints(device, "key made") == []


def former_encryption_key(device: Device) -> Path:
    path = device.root / "trust" / "device-key.json"
    path.parent.mkdir(parents=True)
    text = f'{{\n  "format": "anchorhold-device-key/1",\n  "name": "pump-house",\n  "private": "{SECRET.hex()}"\n}}\n'
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_an_encryption_key_of_before_opens_and_stays(tmp_path: Path) -> None:
    device = Device(tmp_path / "device")
    path = former_encryption_key(device)
    before = path.read_bytes()
    key = make(device, "another name")
    public = X25519PrivateKey.from_private_bytes(SECRET).public_key().public_bytes_raw()
    assert key.receiver == Receiver("pump-house", public)
    assert key.unwrap(key.receiver.wrap(bytes(KEY_BYTES), b"x"), b"x") == bytes(KEY_BYTES)
    assert path.read_bytes() == before and not device.log.exists()


def test_one_kind_is_not_taken_for_the_other(tmp_path: Path, device: Device) -> None:
    make(device, "ours")
    identity, encryption = device_identity.key_path(device), device.root / "trust" / "device-key.json"
    former = Device(tmp_path / "former")
    former_identity(former)
    for wrong in (identity.read_bytes(), device_identity.key_path(former).read_bytes()):
        other = Device(tmp_path / f"x{len(wrong)}")
        (other.root / "trust").mkdir(parents=True)
        (other.root / "trust" / "device-key.json").write_bytes(wrong)
        with pytest.raises(KeysError):
            encryption_keys.read(other)
    identity.write_bytes(encryption.read_bytes())
    with pytest.raises(KeysError, match="another format"):
        device_identity.sign(device, b"x")
