"""Deltas that lie, signed by a key that was stolen: refused within limits, and the old release goes on serving."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import TargetFile

from appliance import storage
from appliance.errors import TrustError
from appliance.update import delta_applying, delta_format
from appliance.update.delta_format import Head, Kind, Segment, pack
from appliance.update.target_files import Delta, Target
from tests.stick_simulator import Simulator, refused
from tests.update.test_deltas import OLD, delta, installed_model, write


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    """A device with 1.0.0 active, and a stick with 1.1.0 whole and as a delta."""
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0", OLD)
    simulator.install()
    write(simulator)
    return simulator


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
