"""Releases that only some devices can read: opened by those, refused by others, and whatever can be wrong with them."""

from __future__ import annotations

import io
import json
import os
import random
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from appliance import storage
from appliance.errors import AnchorholdError, ExitCode, KeysError, TrustError, UpdateError, UsageError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import encryption_keys, limits
from appliance.trust.encryption_keys import Receiver
from appliance.update import publish, sealed_format
from appliance.update.sealed_format import HEAD, RECEIVER, SEGMENT, TAG, Sealed, seal, sealed_bytes, unseal
from tests.stick_simulator import Simulator, flip_bit, leftovers, make_release, refused
from tests.update.test_key_changes import changed as rotated

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = b"an old model " * 9000
NEW = random.Random(5).randbytes(2 * limits.MIB + 4321)


def write(simulator: Simulator, *receivers: Receiver, version: str = "1.1.0", **given: Any) -> None:
    """Put a release on the stick, encrypted to `receivers`."""
    release = simulator.folder / "releases" / version
    if not release.exists():
        make_release(release, version, given.pop("data", NEW))
    signers, emit = given.pop("signers", simulator.all_signers), given.pop("emit", ignore)
    publish.write_stick(simulator.keys, signers, release, simulator.stick, emit, receivers=receivers, **given)


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active and a key, and a stick with 1.1.0 encrypted to it and to another."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    simulator.install()
    write(simulator, key_of(simulator).receiver, another(tmp_path))
    return simulator


def key_of(simulator: Simulator) -> encryption_keys.DeviceKey:
    return encryption_keys.make(simulator.device, "ours")


def another(folder: Path) -> Receiver:
    return encryption_keys.make(Device(folder / "another device"), "other").receiver


def plain_model(simulator: Simulator, version: str = "1.1.0") -> bytes:
    return (simulator.folder / "releases" / version / "notes.gguf").read_bytes()


def test_the_device_reads_it_and_nobody_else_does(simulator: Simulator) -> None:
    model = plain_model(simulator)
    stored = simulator.target("notes.gguf", "1.1.0").read_bytes()
    assert len(stored) == sealed_bytes(len(model), 2)
    for at in range(0, len(model) - 64, 50_000):
        assert model[at : at + 64] not in stored
    for path in simulator.stick.rglob("*1.1.0*"):
        assert b"<p>1.1.0" not in path.read_bytes()  # the report
    simulator.check(deep=True)
    simulator.install()
    assert simulator.active == "1.1.0"
    assert leftovers(simulator.device) == []


def test_the_other_device_reads_the_same_stick(simulator: Simulator, tmp_path: Path) -> None:
    simulator.device = Device(tmp_path / "another device")
    simulator.install()
    assert simulator.active == "1.1.0"


def test_a_device_that_it_isn_t_for(simulator: Simulator) -> None:
    write(simulator, another(simulator.folder), version="1.2.0")
    error = refused(simulator, UpdateError, "encrypted to other devices, not to this one")
    assert error.exit_code is ExitCode.UPDATE


def test_a_device_without_a_key(simulator: Simulator) -> None:
    (simulator.device.root / "trust" / "device-key.json").unlink()
    assert refused(simulator, UpdateError, "this device has no key").exit_code is ExitCode.UPDATE


def test_a_key_that_was_damaged(simulator: Simulator) -> None:
    (simulator.device.root / "trust" / "device-key.json").write_text('{"format": "anchorhold-device-key/1"}')
    assert refused(simulator, KeysError, "damaged").exit_code is ExitCode.TRUST


def test_another_key_under_the_same_id(simulator: Simulator) -> None:
    """What was wrapped isn't for this key, though the sealed file says so."""

    class Impostor(Receiver):
        @property
        def id(self) -> str:
            return key_of(simulator).receiver.id

    write(simulator, Impostor("x", another(simulator.folder).public), version="1.2.0")
    error = refused(simulator, KeysError, "key doesn't open what was encrypted to it")
    assert error.exit_code is ExitCode.TRUST


@pytest.mark.parametrize("place", [0, 60, HEAD.size + 20, HEAD.size + 2 * RECEIVER + 5, 1_500_000, -1])
def test_one_flipped_bit(simulator: Simulator, place: int) -> None:
    flip_bit(simulator.target("notes.gguf", "1.1.0"), place)
    assert refused(simulator, TrustError, "changed or damaged").exit_code is ExitCode.TRUST


@pytest.mark.parametrize("size", [0, 100, SEGMENT + TAG, -TAG])
def test_cut_short(simulator: Simulator, size: int) -> None:
    path = simulator.target("notes.gguf", "1.1.0")
    os.truncate(path, size if size >= 0 else path.stat().st_size + size)
    refused(simulator, TrustError, "cut off")


def put(simulator: Simulator, data: bytes, change: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Sign `data` in place of the sealed model, as a publisher whose keys were stolen could."""
    old = simulator.target("notes.gguf", "1.1.0")
    name = old.name.partition(".")[2]
    digest = storage.sha256_bytes(data)
    old.with_name(f"{digest}.{name}").write_bytes(data)

    def sign(targets: Any) -> None:
        custom = dict(targets.targets[name].custom["anchorhold"])
        custom["chunks"] = [digest] if data else []
        if change is not None:
            change(custom["sealed"])
        targets.targets[name] = TargetFile(
            len(data), {"sha256": digest}, name, {"custom": {"anchorhold": custom}}
        )

    simulator.resign("targets", [simulator.signers["targets"]], sign)


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """A sealed file's beginning and its segments."""
    begin = HEAD.size + 2 * RECEIVER
    return data[:begin], [data[at : at + SEGMENT + TAG] for at in range(begin, len(data), SEGMENT + TAG)]


def joined(*parts: bytes) -> bytes:
    return b"".join(parts)


BROKEN: dict[str, Callable[[bytes, list[bytes]], bytes]] = {
    "a segment changed": lambda h, s: joined(h, s[0], bytes([s[1][0] ^ 1]) + s[1][1:], s[2]),
    "two swapped": lambda h, s: joined(h, s[1], s[0], s[2]),
    "one doubled": lambda h, s: joined(h, s[0], s[0], s[2]),
    "one left out": lambda h, s: joined(h, s[0], s[2]),
    "the last left out": lambda h, s: joined(h, s[0], s[1]),
    "the last cut": lambda h, s: joined(h, s[0], s[1], s[2][:-1]),
    "one more": lambda h, s: joined(h, *s, s[2]),
    "a byte more": lambda h, s: joined(h, *s, b"x"),
    "the other receiver changed": lambda h, s: joined(h[:-1], bytes([h[-1] ^ 1]), *s),
    "the first receiver twice": lambda h, s: joined(
        h[: HEAD.size], h[HEAD.size : HEAD.size + RECEIVER] * 2, *s
    ),
    "another format": lambda h, s: joined(b"AHSEAL02", h[8:], *s),
    "no receivers": lambda h, s: joined(h[: HEAD.size - 4], bytes(4), *s),
    "too many receivers": lambda h, s: joined(h[: HEAD.size - 4], b"\xff" * 4, *s),
    "another segment size": lambda h, s: joined(h[:48], bytes([1]), h[49:], *s),
    "another digest": lambda h, s: joined(h[:8], bytes(32), h[40:], *s),
    "another size": lambda h, s: joined(h[:40], b"\xff" * 8, h[48:], *s),
    "head alone": lambda h, s: h,
    "cut in the receivers": lambda h, s: h[:-1],
    "empty": lambda h, s: b"",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_seal_that_was_signed(simulator: Simulator, how: str) -> None:
    put(simulator, BROKEN[how](*pieces(simulator.target("notes.gguf", "1.1.0").read_bytes())))
    refused(simulator, (TrustError), "sealed file|doesn't open")  # a KeysError is one too


def _set(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda sealed: sealed.update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        *(_set("sha256", value) for value in (None, "0" * 63, "0" * 64)),
        *(_set("bytes", value) for value in (None, -1, True, 1 << 60)),
        *(_set("chunks", value) for value in (None, [], ["0" * 64] * 2)),
        *(_set("to", value) for value in (None, [], [1])),
    ],
)
def test_signed_fields_that_do_not_fit(
    simulator: Simulator, change: Callable[[dict[str, Any]], None]
) -> None:
    put(simulator, simulator.target("notes.gguf", "1.1.0").read_bytes(), change)
    refused(simulator, TrustError, "signed")


def test_signed_chunks_of_something_else(simulator: Simulator) -> None:
    """The plain text's digests count beside the seal."""
    data = simulator.target("notes.gguf", "1.1.0").read_bytes()
    put(simulator, data, _set("chunks", ["0" * 64]))
    refused(simulator, TrustError, "holds something else than was signed")


def test_in_parts_and_interrupted(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 512 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, key_of(simulator).receiver, version="1.3.0")
    target = simulator.check(deep=True).files["notes.gguf"]
    assert target.sealed is not None and len(target.sealed.stored.parts) == 3
    part = simulator.device.objects / ".incoming" / f"{target.sha256}.gguf"
    part.parent.mkdir()
    part.write_bytes(plain_model(simulator, "1.3.0")[: 3 * 512 * limits.KIB + 5])
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert done[0] == 3 * 512 * limits.KIB
    assert simulator.active == "1.3.0"


@pytest.mark.parametrize("whole", [True, False])
def test_an_encrypted_delta(simulator: Simulator, whole: bool) -> None:
    simulator.install()
    base = simulator.folder / "releases" / "1.1.0" / "notes.gguf"
    new = NEW[:-5] + b"other"
    write(simulator, key_of(simulator).receiver, version="1.2.0", data=new, bases=[base], whole=whole)
    (stored,) = simulator.stick.glob("targets/*delta-*")
    assert stored.read_bytes().startswith(sealed_format.MAGIC) and stored.stat().st_size < 20_000
    told: list[Event] = []
    simulator.install(emit=told.append)
    assert "and a delta" in "\n".join(event.text for event in told)
    assert simulator.active == "1.2.0"


def test_nothing_in_the_clear_stays_when_a_release_is_encrypted_later(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    clear = simulator.target("notes.gguf", "1.0.0")
    write(simulator, key_of(simulator).receiver, version="1.0.0")
    assert not clear.exists()
    assert len(list(simulator.stick.glob("targets/*.notes.gguf"))) == 1
    simulator.install()
    assert simulator.active == "1.0.0"


def test_nothing_in_the_clear_stays_of_a_write_that_was_interrupted(tmp_path: Path) -> None:
    """Begun without --encrypt-to and stopped once the model was whole: no metadata names it yet."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    clear = simulator.target("notes.gguf", "1.0.0")
    content = clear.read_bytes()
    write(simulator, key_of(simulator).receiver, version="1.0.0")
    clear.write_bytes(content)  # as the stopped one has left it
    write(simulator, key_of(simulator).receiver, version="1.0.0")
    assert not clear.exists()


def warnings(simulator: Simulator, *receivers: Receiver, version: str, **given: Any) -> list[str]:
    """Put a release on the stick; what is warned of meanwhile."""
    events: list[Event] = []
    write(simulator, *receivers, version=version, emit=events.append, **given)
    return [event.text for event in events if event.kind == "warning"]


def test_what_stays_in_the_clear_beside_an_encrypted_release_is_named(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    simulator.publish("1.1.0", OLD)
    ours = key_of(simulator).receiver
    (told,) = warnings(simulator, ours, version="1.2.0")
    assert "readable by whoever has this stick: notes 1.1.0, notes 1.0.0;" in told and "--prune" in told
    (told,) = warnings(simulator, ours, version="1.3.0")  # not 1.2.0, which is encrypted
    assert "stick: notes 1.1.0, notes 1.0.0;" in told
    assert warnings(simulator, version="1.4.0") == []  # nothing was to be hidden
    (told,) = warnings(simulator, ours, version="1.5.0", prune=True)
    assert "held notes 1.4.0, notes 1.1.0, notes 1.0.0 in the clear" in told and "take a new one" in told
    assert warnings(simulator, ours, version="1.6.0") == []


def test_a_release_that_was_in_the_clear_before_it_was_encrypted_is_named(tmp_path: Path) -> None:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    (told,) = warnings(simulator, key_of(simulator).receiver, version="1.0.0")
    assert "held notes 1.0.0 in the clear" in told and "a flash stick may keep their blocks" in told


def test_an_encrypted_release_in_parts_and_with_a_delta_is_not_in_the_clear(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 512 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick, ours = simulator.folder / "another stick", key_of(simulator).receiver
    base = simulator.folder / "releases" / "1.1.0" / "notes.gguf"
    assert warnings(simulator, ours, version="1.2.0", data=NEW[:-5] + b"other", bases=[base]) == []
    assert warnings(simulator, ours, version="1.3.0") == []
    simulator.publish("1.4.0", NEW)  # one that lies there in parts, in the clear
    assert "stick: notes 1.4.0;" in warnings(simulator, ours, version="1.5.0")[0]


def test_written_again_in_the_clear_anybody_reads_it(simulator: Simulator, tmp_path: Path) -> None:
    release = simulator.folder / "releases" / "1.1.0"
    base = simulator.folder / "releases" / "1.0.0" / "notes.gguf"
    kept = release.parent / "sealed" / "something of the user's own"
    kept.write_bytes(b"")
    write(simulator, key_of(simulator).receiver, version="1.1.0", bases=[base])
    write(simulator)
    assert len(list(simulator.stick.glob("targets/*1.1.0.notes.gguf*"))) == 1
    simulator.device = Device(tmp_path / "a third device")
    simulator.install()
    assert simulator.active == "1.1.0"
    assert kept.exists()


def test_what_was_sealed_is_taken_again(simulator: Simulator) -> None:
    """Signatures of several people are of those bytes; and a damaged one is made anew."""
    first = simulator.target("notes.gguf", "1.1.0").name
    receivers = (key_of(simulator).receiver, another(simulator.folder))
    write(simulator, *receivers)
    assert simulator.target("notes.gguf", "1.1.0").name == first
    for path in (simulator.folder / "releases" / "sealed").iterdir():
        flip_bit(path)
    write(simulator, *receivers)
    assert simulator.target("notes.gguf", "1.1.0").name != first
    simulator.install()
    assert simulator.active == "1.1.0"


def test_it_stays_readable_when_keys_change(simulator: Simulator) -> None:
    rotated(simulator, "targets")
    simulator.publish("1.2.0")
    simulator.install(version="1.1.0")
    assert simulator.active == "1.1.0"


def test_kill_at_every_change_to_the_disk(simulator: Simulator, tmp_path: Path) -> None:
    output = tmp_path / "killed"
    output.mkdir()
    program = [sys.executable, "-m", "tests.update.killed_install"]
    subprocess.run(
        [*program, str(simulator.stick), str(simulator.device.root), str(output)], check=True, cwd=REPOSITORY
    )
    seen = []
    for folder in sorted(output.iterdir()):
        simulator.device = Device(folder)
        assert simulator.active in {"1.0.0", "1.1.0"}
        seen.append(simulator.active)
        simulator.install()
        assert simulator.active == "1.1.0" and leftovers(simulator.device) == []
    assert len(seen) > 20 and seen == sorted(seen) and set(seen) == {"1.0.0", "1.1.0"}


# The format by itself


def sealed(data: bytes, *receivers: Receiver) -> tuple[Sealed, bytes]:
    plain, out = Sealed(storage.sha256_bytes(data), len(data)), io.BytesIO()
    seal(plain, io.BytesIO(data), receivers, out)
    return plain, out.getvalue()


def blocks(data: bytes, size: int) -> Iterator[bytes]:
    return iter([data[at : at + size] for at in range(0, len(data), size)])


@pytest.mark.parametrize("size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT])
def test_sizes_at_the_edges_of_segments(tmp_path: Path, size: int) -> None:
    key = encryption_keys.make(Device(tmp_path), "ours")
    data = random.Random(size).randbytes(size)
    plain, stored = sealed(data, key.receiver)
    assert len(stored) == sealed_bytes(size, 1)
    for block in (1000, 4 * limits.MIB):
        assert b"".join(unseal(blocks(stored, block), plain, key)) == data
    for start in (0, size // 2, size):
        assert b"".join(unseal(blocks(stored, 7777), plain, key, start)) == data[start:]


def test_random_changes_never_open(tmp_path: Path) -> None:
    key = encryption_keys.make(Device(tmp_path), "ours")
    data = random.Random(1).randbytes(3000)
    plain, stored = sealed(data, key.receiver)
    draw = random.Random(2)
    for _ in range(400):
        broken = bytearray(stored)
        place = draw.randrange(len(broken))
        how = draw.randrange(3)
        if how == 0:
            broken[place] ^= 1 << draw.randrange(8)
        elif how == 1:
            del broken[place : place + draw.randint(1, 50)]
        else:
            broken[place:place] = draw.randbytes(draw.randint(1, 50))
        with pytest.raises(AnchorholdError):
            list(unseal(iter([bytes(broken)]), plain, key))


def test_the_key_s_file(tmp_path: Path) -> None:
    device = Device(tmp_path / "device")
    key = encryption_keys.make(device, "pump-house")
    path = device.root / "trust" / "device-key.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = encryption_keys.make(device, "another name")
    assert again.receiver == key.receiver
    public = encryption_keys.write_public(key.receiver, tmp_path)
    assert json.loads(path.read_bytes())["private"] not in public.read_text()
    assert encryption_keys.read_public(public) == key.receiver


def test_what_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "x.device.json"
    with pytest.raises(UsageError, match="can't be read"):
        encryption_keys.read_public(path)
    good = {"format": encryption_keys.PUBLIC_FORMAT, "name": "x", "public": "11" * 32}
    for change in ({"public": "00" * 32}, {"public": "11"}, {"name": "../x"}, {"name": 1}, {"format": "y"}):
        path.write_text(json.dumps({**good, **change}))
        with pytest.raises(KeysError, match="not a device's key"):
            encryption_keys.read_public(path)
    for text in ("", "[]", "{}", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(KeysError, match="not a device's key"):
            encryption_keys.read_public(path)


def test_enrolling(tmp_path: Path) -> None:
    first, second = (encryption_keys.make(Device(tmp_path / name), "same").receiver for name in "ab")
    encryption_keys.enrol(tmp_path / "keys", first)
    encryption_keys.enrol(tmp_path / "keys", first)
    with pytest.raises(KeysError, match="another key is enrolled under this name"):
        encryption_keys.enrol(tmp_path / "keys", second)
    assert encryption_keys.enrolled(tmp_path / "keys", ["same", "same"]) == [first]
    with pytest.raises(KeysError, match="no such device is enrolled") as caught:
        encryption_keys.enrolled(tmp_path / "keys", ["other"])
    assert "enrolled: same" in caught.value.hint
