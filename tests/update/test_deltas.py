"""Deltas on a stick: the same model as a full install gives, of fewer bytes; and whatever can be wrong with them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from appliance import storage
from appliance.errors import ExitCode, InstalledBaseError, ModelError, StorageError, TrustError, UpdateError
from appliance.events import Event, ignore
from appliance.paths import Device
from appliance.trust import limits
from appliance.update import delta_applying, delta_format, fetching, publish, slots
from appliance.update import install as installing
from appliance.update.delta_format import Head, Kind, Segment, pack
from appliance.update.target_files import Delta, Target
from tests.stick_simulator import Simulator, flip_bit, gguf_bytes, leftovers, make_release, refused
from tests.update.test_key_changes import changed

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = random.Random(1).randbytes(3 * limits.MIB + 77)
NEW = OLD[:70_000] + random.Random(2).randbytes(9_000) + OLD[79_000:]


def write(simulator: Simulator, *, whole: bool = True, version: str = "1.1.0", data: bytes = NEW) -> None:
    """Put a release on the stick with a delta from 1.0.0's model."""
    release = simulator.folder / "releases" / version
    if not release.exists():
        make_release(release, version, data)
    publish.write_stick(
        simulator.keys,
        simulator.all_signers,
        release,
        simulator.stick,
        ignore,
        bases=[simulator.folder / "releases" / "1.0.0" / "notes.gguf"],
        whole=whole,
    )


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active, and a stick with 1.1.0 whole and as a delta."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    simulator.install()
    write(simulator)
    return simulator


def delta(simulator: Simulator) -> Path:
    (found,) = simulator.stick.glob("targets/*.delta-*")
    return found


def model(simulator: Simulator) -> Path:
    return simulator.target("notes.gguf", "1.1.0")


def installed_model(simulator: Simulator, version: str = "1.0.0") -> Path:
    digest = storage.sha256_file(simulator.folder / "releases" / version / "notes.gguf")
    return slots.object_path(simulator.device, digest, "notes.gguf")


def texts(simulator: Simulator, **given: Any) -> str:
    """Install, and what was told."""
    told: list[Event] = []
    simulator.install(emit=told.append, **given)
    return "\n".join(event.text for event in told)


def test_the_delta_is_used_and_the_model_is_the_full_one(simulator: Simulator) -> None:
    assert delta(simulator).stat().st_size < 0.01 * model(simulator).stat().st_size
    assert "and a delta" in texts(simulator)
    assert simulator.active == "1.1.0"
    new = installed_model(simulator, "1.1.0")
    assert new.read_bytes() == (simulator.folder / "releases/1.1.0/notes.gguf").read_bytes()
    assert leftovers(simulator.device) == []


def test_the_whole_model_isn_t_read_where_the_delta_serves(simulator: Simulator) -> None:
    flip_bit(model(simulator))
    simulator.install()
    assert simulator.active == "1.1.0"
    with pytest.raises(TrustError, match="changed or damaged"):
        simulator.check(deep=True)


def test_a_delta_alone(simulator: Simulator) -> None:
    write(simulator, whole=False)
    assert not list(simulator.stick.glob("targets/*1.1.0.notes.gguf"))
    assert simulator.check(deep=True).files["notes.gguf"].whole is False
    simulator.install()
    assert simulator.active == "1.1.0"
    assert simulator.install().version == "1.1.0"  # and again: nothing to do


def test_the_retained_release_serves_as_base(simulator: Simulator) -> None:
    simulator.publish("1.0.1", b"something else")
    simulator.install(version="1.0.1")
    assert simulator.active == "1.0.1"
    write(simulator, version="1.2.0", data=OLD[:-1] + b"!", whole=False)
    simulator.install()
    assert simulator.active == "1.2.0"


def test_without_its_base_the_whole_model_is_copied(simulator: Simulator, tmp_path: Path) -> None:
    simulator.device = Device(tmp_path / "fresh")
    assert "delta" not in texts(simulator)
    assert simulator.active == "1.1.0"


def test_a_delta_alone_without_its_base(simulator: Simulator, tmp_path: Path) -> None:
    write(simulator, whole=False)
    simulator.device = Device(tmp_path / "fresh")
    with pytest.raises(InstalledBaseError, match="isn't installed here") as caught:
        simulator.install()
    assert caught.value.exit_code is ExitCode.UPDATE
    assert "--delta-only" in caught.value.hint
    assert slots.active(simulator.device) is None
    assert leftovers(simulator.device) == []


@pytest.mark.parametrize("place", [100, 1_000_000, -1])
def test_a_damaged_base_falls_back_to_the_whole(simulator: Simulator, place: int) -> None:
    flip_bit(installed_model(simulator), place)
    told = texts(simulator)
    assert "not what was installed: the delta can't be used" in told
    assert simulator.active == "1.1.0"


def test_a_damaged_base_and_no_whole(simulator: Simulator) -> None:
    write(simulator, whole=False)
    base = installed_model(simulator)
    flip_bit(base, 1_000_000)
    with pytest.raises(InstalledBaseError, match="not what was installed") as caught:
        simulator.install()
    assert "whole model" in caught.value.hint
    assert leftovers(simulator.device) == []
    flip_bit(base, 1_000_000)
    assert simulator.active == "1.0.0"
    simulator.install()
    assert simulator.active == "1.1.0"


def test_a_base_cut_short_counts_as_missing(simulator: Simulator) -> None:
    base = installed_model(simulator)
    os.truncate(base, base.stat().st_size - 1)
    assert "and a delta" not in texts(simulator)
    assert simulator.active == "1.1.0"


def test_falling_back_keeps_what_is_good(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks that the delta had made before the damage showed are not copied again."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0")
    flip_bit(installed_model(simulator), 2 * limits.MIB + 5)
    reads: list[int] = []
    read_blocks = fetching.copying.sticks.read_blocks

    def seen(stick: Path, target: Any, start: int = 0) -> Any:
        reads.append(start)
        return read_blocks(stick, target, start)

    monkeypatch.setattr(fetching.copying.sticks, "read_blocks", seen)
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert simulator.active == "1.3.0"
    assert 2 * limits.MIB in reads
    assert done[-1] == max(done)


def test_an_interrupted_making_goes_on(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0", whole=False)
    target = simulator.check().files["notes.gguf"]
    part = simulator.device.objects / ".incoming" / f"{target.sha256}.gguf"
    part.parent.mkdir()
    part.write_bytes((simulator.folder / "releases/1.3.0/notes.gguf").read_bytes()[: 2 * limits.MIB + 5])
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert done[0] == 2 * limits.MIB
    assert simulator.active == "1.3.0"


@pytest.mark.parametrize("place", [0, 9, 50, 90, 100, -1])
def test_one_flipped_bit_in_the_delta(simulator: Simulator, place: int) -> None:
    """A stick that was changed is refused, though the whole model lies there too."""
    flip_bit(delta(simulator), place)
    refused(simulator, TrustError, "delta-.*changed or damaged")


def test_a_missing_and_a_longer_delta(simulator: Simulator) -> None:
    path = delta(simulator)
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    refused(simulator, TrustError, "longer than what was signed")
    path.unlink()
    refused(simulator, TrustError, "is missing")


def put(simulator: Simulator, data: bytes, **changed: Any) -> None:
    """Sign `data` in place of the delta, as a publisher whose keys were stolen could."""
    old = delta(simulator)
    name = old.name.partition(".")[2]
    digest = storage.sha256_bytes(data)
    old.with_name(f"{digest}.{name}").write_bytes(data)
    old.unlink()

    def change(targets: Any) -> None:
        custom = targets.targets[name].custom["anchorhold"]
        fields = {**custom, "chunks": [digest] if data else [], **changed}
        fields = {key: value for key, value in fields.items() if value is not None}
        targets.targets[name] = TargetFile(
            len(data), {"sha256": digest}, name, {"custom": {"anchorhold": fields}}
        )

    simulator.resign("targets", [simulator.signers["targets"]], change)


@pytest.mark.parametrize(
    "fields",
    [
        {"base": "0" * 63},
        {"base": None},
        {"base_bytes": -1},
        {"base_bytes": True},
        {"base_bytes": 1 << 60},
        {"result_chunks": None},
        {"result_chunks": ["0" * 64]},
        {"result_chunks": ["0" * 64] * 2},
        {"chunks": []},
    ],
)
def test_signed_fields_that_do_not_fit(simulator: Simulator, fields: dict[str, Any]) -> None:
    put(simulator, delta(simulator).read_bytes(), **fields)
    refused(simulator, TrustError, "signed")


def head_of(simulator: Simulator) -> Head:
    target = simulator.check().files["notes.gguf"]
    (each,) = target.deltas
    return Head(each.base_sha256, each.base_bytes, target.sha256, target.bytes, 1)


def make(head: Head, *segments: bytes, count: int | None = None, tail: bytes = b"") -> bytes:
    number = len(segments) if count is None else count
    whole = Head(head.base_sha256, head.base_bytes, head.sha256, head.size, number)
    return whole.packed() + b"".join(segments) + tail


def raw(kind: int, packed: int, offset: int, length: int, data: bytes = b"") -> bytes:
    return delta_format.SEGMENT.pack(kind, packed, offset, length) + data


BOMB = pack(bytes(50 << 20))
HOSTILE: dict[str, Any] = {
    "empty": lambda h: b"",
    "no delta": lambda h: b"GGUF" * 100,
    "head cut": lambda h: h.packed()[:90],
    "no segments": lambda h: make(h, count=0),
    "too many segments": lambda h: make(h, count=(1 << 20) + 1),
    "ends early": lambda h: make(h, Segment(Kind.COPY, 0, 10).packed()),
    "fewer than said": lambda h: make(h, Segment(Kind.COPY, 0, h.size).packed(), count=2),
    "something follows": lambda h: make(h, Segment(Kind.COPY, 0, h.size).packed(), tail=b"x"),
    "beyond the base": lambda h: make(h, raw(1, 0, h.base_bytes - 5, 6)),
    "offset overflows": lambda h: make(h, raw(1, 0, (1 << 64) - 1, 1)),
    "length overflows": lambda h: make(h, raw(1, 0, 0, (1 << 64) - 1)),
    "longer than the result": lambda h: make(h, raw(1, 0, 0, h.size + 1)),
    "no length": lambda h: make(h, raw(1, 0, 0, 0)),
    "unknown kind": lambda h: make(h, raw(7, 0, 0, 10)),
    "copy with data": lambda h: make(h, raw(1, 3, 0, 10, b"abc")),
    "literal with offset": lambda h: make(h, raw(2, 3, 1, 10, b"abc")),
    "literal too long": lambda h: make(h, raw(2, 10, 0, (1 << 20) + 1, bytes(10))),
    "packed too long": lambda h: make(h, raw(2, (1 << 32) - 1, 0, 10, bytes(10))),
    "packed cut": lambda h: make(h, raw(2, 100, 0, 10, bytes(10))),
    "bomb": lambda h: make(h, raw(2, len(BOMB), 0, 1 << 20, BOMB)),
    "not zlib": lambda h: make(h, raw(2, 10, 0, 10, b"0123456789")),
    "unpacks to less": lambda h: make(h, Segment(Kind.LITERAL, 0, 10, pack(b"123")).packed()),
    "unpacks to more": lambda h: make(h, Segment(Kind.LITERAL, 0, 2, pack(b"123")).packed()),
    "data behind zlib": lambda h: make(h, Segment(Kind.LITERAL, 0, 3, pack(b"123") + b"x").packed()),
    "another base": lambda h: make(Head("0" * 64, h.base_bytes, h.sha256, h.size, 0), raw(1, 0, 0, h.size)),
    "another result": lambda h: make(Head(h.base_sha256, h.base_bytes, "0" * 64, h.size, 0), raw(1, 0, 0, 9)),
    "another size": lambda h: make(
        Head(h.base_sha256, h.base_bytes, h.sha256, h.size + 1, 0), raw(1, 0, 0, 9)
    ),
    "huge sizes": lambda h: make(Head(h.base_sha256, 1 << 63, h.sha256, 1 << 63, 0), raw(1, 0, 0, 9)),
    "makes another file": lambda h: make(h, Segment(Kind.COPY, 0, h.size).packed()),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_delta_that_was_signed(simulator: Simulator, how: str) -> None:
    put(simulator, HOSTILE[how](head_of(simulator)))
    refused(simulator, TrustError, "delta")


def test_a_bomb_takes_no_memory() -> None:
    segment = Segment(Kind.LITERAL, 0, 1 << 20, pack(bytes(1 << 30)))
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(TrustError, match="doesn't hold"):
        segment.unpacked()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("seed", range(8))
def test_changed_deltas_end_in_the_right_bytes_or_a_refusal(simulator: Simulator, seed: int) -> None:
    """Some hundred random changes of a real delta, read as if each had been signed: no other error, no other bytes."""
    data, base = delta(simulator).read_bytes(), installed_model(simulator)
    target = simulator.check().files["notes.gguf"]
    (signed,) = target.deltas
    right = (simulator.folder / "releases/1.1.0/notes.gguf").read_bytes()
    draw, refusals = random.Random(seed), 0
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(min(len(data), 400) if draw.random() < 0.7 else len(data))
            how = draw.random()
            if how < 0.5:
                broken[place] = draw.choice([0, 1, 2, 3, 0x7F, 0x80, 0xFF, draw.randrange(256)])
            elif how < 0.75:
                del broken[place : place + draw.randint(1, 40)]
            else:
                broken[place:place] = draw.randbytes(draw.randint(1, 40))
        try:
            made = b"".join(delta_applying.blocks((each for each in [bytes(broken)]), base, signed, target))
        except TrustError:
            refusals += 1
            continue
        assert made == right
    assert refusals > 20


def test_offsets_beyond_32_bits(tmp_path: Path) -> None:
    """A sparse base: what is copied lies behind 4 GiB, and a reader that counts in 32 bits would find zeros."""
    base, end = tmp_path / "base", 1 << 32
    with base.open("wb") as stream:
        stream.seek(end + 3)
        stream.write(b"right")
    result = b"right" + b"\0" * 3
    chunks = (storage.sha256_bytes(result),)
    target = Target("result", chunks[0], len(result), chunks)
    signed = Delta("0" * 64, end + 8, Target("delta", "", 0, ()))
    data = make(
        Head(signed.base_sha256, signed.base_bytes, target.sha256, target.bytes, 0),
        Segment(Kind.COPY, end + 3, 5).packed(),
        Segment(Kind.COPY, end - 1, 3).packed(),
    )
    made = delta_applying.blocks((each for each in [data]), base, signed, target)
    assert b"".join(made) == result


def test_a_file_that_saves_nothing_is_left_out(simulator: Simulator) -> None:
    told: list[Event] = []
    other = simulator.folder / "other.gguf"
    other.write_bytes(gguf_bytes(b"small"))
    release = simulator.folder / "releases" / "1.1.0"
    arguments = (simulator.keys, simulator.all_signers, release, simulator.stick, told.append)
    before = delta(simulator)
    publish.write_stick(*arguments, bases=[other], prune=True)
    assert "it is left out" in "\n".join(event.text for event in told)
    assert not before.exists()
    with pytest.raises(UpdateError, match="no delta to go onto the stick alone"):
        publish.write_stick(*arguments, bases=[other, release / "notes.gguf"], whole=False)
    other.write_bytes(b"no model")
    with pytest.raises(ModelError):
        publish.write_stick(*arguments, bases=[other])
    assert simulator.check(deep=True).version == "1.1.0"


def test_parts_and_a_delta(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 256 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0")
    assert len(simulator.check(deep=True).files["notes.gguf"].parts) == 4
    assert "and a delta" in texts(simulator)
    assert simulator.active == "1.3.0"
    write(simulator, version="1.4.0", data=NEW[:-3] + b"new", whole=False)
    assert not list(simulator.stick.glob("targets/*1.4.0*part*"))
    simulator.install()
    assert simulator.active == "1.4.0"


def test_written_again_without_a_delta_it_has_none(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    assert simulator.check(deep=True).files["notes.gguf"].deltas == ()
    assert not list(simulator.stick.glob("targets/*.delta-*"))
    simulator.install()
    assert simulator.active == "1.1.0"


@pytest.mark.parametrize("whole", [True, False])
def test_what_stays_on_the_stick_when_keys_change(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """Releases that were published from here are signed again, in parts or as a delta; a delta beside its file goes."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", 256 * limits.KIB)
    monkeypatch.setattr(limits, "PART_BYTES", limits.MIB)
    simulator.stick = simulator.folder / "another stick"
    write(simulator, version="1.3.0", whole=whole)
    changed(simulator, "targets")
    simulator.publish("1.4.0")
    report = simulator.check(version="1.3.0", deep=True)
    target = report.files["notes.gguf"]
    assert (len(target.parts), len(target.deltas)) == ((4, 0) if whole else (0, 1))
    simulator.install(version="1.3.0")
    assert simulator.active == "1.3.0"


def test_room_is_asked_for_the_result_alone(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    target = simulator.check().files["notes.gguf"]
    free = target.bytes + simulator.check().files["report.html"].bytes + len(simulator.check().manifest_bytes)

    class Usage:
        def __init__(self, size: int) -> None:
            self.free = size + installing.SPARE_BYTES

    monkeypatch.setattr(installing.shutil, "disk_usage", lambda _: Usage(free - 1))
    with pytest.raises(StorageError, match="no space left"):
        simulator.install()
    monkeypatch.setattr(installing.shutil, "disk_usage", lambda _: Usage(free))
    simulator.install()
    assert simulator.active == "1.1.0"


def test_kill_at_every_change_to_the_disk(simulator: Simulator, tmp_path: Path) -> None:
    write(simulator, whole=False)
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
        assert simulator.active == "1.1.0"
        assert leftovers(simulator.device) == []
    assert len(seen) > 20 and seen == sorted(seen) and set(seen) == {"1.0.0", "1.1.0"}
