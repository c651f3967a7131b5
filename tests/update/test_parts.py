"""Files larger than a FAT32 stick may hold: written in parts, joined while they are copied."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import TrustError, UpdateError
from appliance.trust import limits
from appliance.update import copying
from appliance.update import stick as sticks
from tests.stick_simulator import Simulator, flip_bit, gguf_bytes, make_release, refused


@pytest.fixture
def simulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """Chunks of 1 MiB, parts of 2 MiB; 1.0.0 is active, the stick has 1.1.0, whose model lies in three parts."""
    monkeypatch.setattr(limits, "HASH_CHUNK_BYTES", limits.MIB)
    monkeypatch.setattr(limits, "PART_BYTES", 2 * limits.MIB)
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    simulator.install()
    simulator.publish("1.1.0", os.urandom(5 * limits.MIB))
    return simulator


def part(simulator: Simulator, number: int) -> Path:
    return simulator.target(f"notes.gguf.part{number:04}", "1.1.0")


def test_parts_are_joined(simulator: Simulator) -> None:
    sizes = [path.stat().st_size for path in (part(simulator, number) for number in (1, 2, 3))]
    assert sizes[:2] == [2 * limits.MIB] * 2 and 0 < sizes[2] < 2 * limits.MIB
    assert simulator.check(deep=True).files["notes.gguf"].bytes == sum(sizes)
    release = simulator.install()
    assert simulator.active == "1.1.0"
    assert release.model.read_bytes() == (simulator.folder / "releases/1.1.0/notes.gguf").read_bytes()


def test_a_file_of_exactly_one_part_stays_whole(simulator: Simulator) -> None:
    empty = len(gguf_bytes(b"x" * 64)) - 64
    simulator.publish("1.2.0", b"x" * (2 * limits.MIB - empty))
    assert simulator.target("notes.gguf", "1.2.0").stat().st_size == 2 * limits.MIB
    simulator.install()
    assert simulator.active == "1.2.0"


def test_a_copy_goes_on_in_the_middle_of_the_parts(simulator: Simulator) -> None:
    target = simulator.check().files["notes.gguf"]
    incoming = simulator.device.objects / ".incoming" / f"{target.sha256}.gguf"
    incoming.parent.mkdir()
    whole = (simulator.folder / "releases/1.1.0/notes.gguf").read_bytes()
    incoming.write_bytes(whole[: 3 * limits.MIB + 99])
    part(simulator, 1).write_bytes(b"isn't read any more")
    done: list[float] = []
    simulator.install(emit=lambda event: done.append(event.done) if event.unit == "bytes" else None)
    assert done[0] == 3 * limits.MIB and simulator.active == "1.1.0"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_part_is_missing(simulator: Simulator, number: int) -> None:
    part(simulator, number).unlink()
    refused(simulator, TrustError, f"part000{number} is missing: the stick isn't whole")


def test_two_parts_are_swapped(simulator: Simulator) -> None:
    first, second = part(simulator, 1), part(simulator, 2)
    first.rename(first.with_name("third"))
    second.rename(first)
    first.with_name("third").rename(second)
    refused(simulator, TrustError, "changed or damaged")


def test_a_part_stands_twice(simulator: Simulator) -> None:
    shutil.copy(part(simulator, 1), part(simulator, 2))
    refused(simulator, TrustError, "changed or damaged")


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("how", ["first", "last", "short", "long"])
def test_a_part_is_changed(simulator: Simulator, number: int, how: str) -> None:
    path = part(simulator, number)
    if how in {"first", "last"}:
        flip_bit(path, 0 if how == "first" else -1)
    else:
        data = path.read_bytes()
        path.write_bytes(data[:-1] if how == "short" else data + b"x")
    refused(simulator, TrustError, "changed or damaged|cut off|longer than what was signed")


@pytest.mark.parametrize("how", ["missing", "doubled", "reordered", "without an offset", "of another file"])
def test_signed_parts_that_do_not_fit(simulator: Simulator, how: str) -> None:
    """Even what the publisher has signed is put together only where it fits."""

    def change(targets: Any) -> None:
        name = "notes-1.1.0.notes.gguf.part000"
        custom = {n: targets.targets[f"{name}{n}"].custom["anchorhold"] for n in (1, 2, 3)}
        if how == "missing":
            del targets.targets[f"{name}2"]
        elif how == "doubled":
            custom[2]["offset"] = 0
        elif how == "reordered":
            custom[2]["offset"], custom[3]["offset"] = custom[3]["offset"], custom[2]["offset"]
        elif how == "without an offset":
            del custom[2]["offset"]
        else:
            custom[3]["of"] = "notes-1.0.0.notes.gguf"

    simulator.resign("targets", [simulator.signers["targets"]], change)
    refused(simulator, TrustError, "parts|offset")


@pytest.mark.parametrize("file", ["x-1.0.0.notes.gguf", "X-1.0.0.NOTES.gguf"])
def test_names_that_fat_would_merge(simulator: Simulator, file: str) -> None:
    """`notes` 1.2.0 with a file of this name, and `notes-1.2.0.x` 1.0.0: one target path but for its case."""
    other = make_release(simulator.folder / "releases/1.2.0", "1.2.0", b"a model of its own")
    (other / "notes.gguf").rename(other / file)
    manifest = other / "release.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"notes.gguf", file.encode()))
    simulator.publish("1.2.0")
    make_release(simulator.folder / "releases/x", "1.0.0", b"another", extra={"name": "notes-1.2.0.x"})
    before = sorted(path.name for path in simulator.stick.rglob("*"))
    with pytest.raises(UpdateError, match="would be one file on the stick"):
        simulator.publish("x")
    assert sorted(path.name for path in simulator.stick.rglob("*")) == before
    assert simulator.check(deep=True).version == "1.2.0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gib", "place", "chunk"),
    [(2, 0, 1), (2, -1, 2), (4, limits.HASH_CHUNK_BYTES // 2, 1), (4, limits.HASH_CHUNK_BYTES - 1, 1)],
)
def test_a_flipped_bit_beyond_32_bits(tmp_path: Path, gib: int, place: int, chunk: int) -> None:
    """Sparse files, real chunks and parts: lengths and offsets beyond 2^31 and 2^32 are counted as they are.

    The copy stands there already up to the flipped chunk, so that the disk needn't hold it.
    """
    zeros = hashlib.sha256(bytes(limits.HASH_CHUNK_BYTES)).hexdigest()
    last = (zeros, hashlib.sha256(b"\0").hexdigest())
    full = (zeros,) * (limits.PART_BYTES // limits.HASH_CHUNK_BYTES)
    stick, copy = tmp_path / "stick", tmp_path / "copy"
    (stick / "targets").mkdir(parents=True)
    parts = [sticks.Target(f"big.part{n}", "0" * 64, limits.PART_BYTES, full) for n in range(gib // 2)]
    parts.append(sticks.Target("big.last", "0" * 64, limits.HASH_CHUNK_BYTES + 1, last))
    size = sum(part.bytes for part in parts)
    assert size == (gib << 30) + limits.HASH_CHUNK_BYTES + 1
    for path, length in [(stick / part.stored, part.bytes) for part in parts] + [(copy, gib << 30)]:
        with path.open("wb") as stream:
            stream.truncate(length)
    chunks = tuple(chunk for part in parts for chunk in part.chunks)
    whole = sticks.Target("big", "0" * 64, size, chunks, tuple(parts))
    seen: list[int] = []
    flip_bit(stick / parts[-1].stored, place)
    with pytest.raises(TrustError, match=rf"big.last: changed or damaged \(chunk {chunk}\)"):
        copying.copy(stick, whole, copy, seen.append)
    assert seen[0] == gib << 30 and sum(seen) <= size
