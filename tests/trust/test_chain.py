"""Chains of entries: whatever is logged can be read again, and whatever is changed is found."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import storage
from appliance.trust import chain, limits
from appliance.trust.chain import BEGIN, Link
from tests.properties import PROFILE

settings.load_profile(PROFILE)
DEVICE = "0123456789abcdef" * 2
TIME = "2026-11-01T00:00:00Z"
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(alphabet="\ud800\udfff\0\x1b"),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=40,
)


def made(count: int) -> list[bytes]:
    """A chain."""
    lines: list[bytes] = []
    last = BEGIN
    for number in range(1, count + 1):
        lines.append(chain.encode(DEVICE, last, TIME, "tried", {"number": number, "text": "x" * 20}))
        last = chain.parse(lines[-1]).link
    return lines


@given(st.text(max_size=100), st.dictionaries(st.text(), VALUES, max_size=8))
def test_whatever_is_logged_can_be_read(event: str, data: dict[str, object]) -> None:
    event = event.encode("utf-8", "ignore").decode()
    line = chain.encode(DEVICE, BEGIN, TIME, event, data)
    assert b"\n" not in line and len(line) <= limits.ENTRY_BYTES
    entry = chain.parse(line)
    assert (entry.number, entry.device, entry.event) == (1, DEVICE, event[:64])
    assert entry.link == Link(1, storage.sha256_bytes(line))


@given(st.binary(max_size=2000))
def test_a_parser_refuses_or_reads(data: bytes) -> None:
    for parse in (chain.parse, lambda line: chain.canonical_object(line, 1000)):
        try:
            parse(data)
        except ValueError:
            continue
        assert storage.canonical_json(json.loads(data)) == data


@given(VALUES)
def test_a_place_is_refused_or_read(value: object) -> None:
    try:
        assert chain.link(value).to_json() == value
    except ValueError:
        assert not isinstance(value, dict) or sorted(value) != ["digest", "number"]


@given(st.data())
def test_any_flipped_bit_is_found(data: st.DataObject) -> None:
    lines = made(5)
    whole = b"\n".join(lines)
    place = data.draw(st.integers(0, len(whole) * 8 - 1))
    changed = bytearray(whole)
    changed[place // 8] ^= 1 << place % 8
    entries, faults = chain.follow(bytes(changed).split(b"\n"), BEGIN, device=DEVICE)
    head = chain.parse(lines[-1]).link
    assert faults or not entries or entries[-1].link != head  # the last one only its digest tells


@given(st.integers(0, 6), st.integers(1, 4))
def test_entries_taken_out_are_found(start: int, count: int) -> None:
    lines = made(8)
    left = lines[:start] + lines[start + count :]
    entries, faults = chain.follow(left, BEGIN, device=DEVICE)
    if start + count >= 8:
        assert entries[-1].number < 8 if entries else True
    else:
        assert faults[0].entry == start + 1 and "missing" in faults[0].what


@given(st.permutations(range(5)))
def test_another_order_is_found(order: list[int]) -> None:
    lines = made(5)
    _, faults = chain.follow([lines[index] for index in order], BEGIN, device=DEVICE)
    assert bool(faults) == (order != sorted(order))


def test_a_chain_goes_on_from_any_place() -> None:
    lines = made(6)
    after = chain.parse(lines[2]).link
    entries, faults = chain.follow(lines[3:], after, device=DEVICE)
    assert not faults and [entry.number for entry in entries] == [4, 5, 6]
    entry = chain.entry_at(entries, 5)
    assert entry is not None and entry.number == 5
    assert chain.entry_at(entries, 3) is None and chain.entry_at(entries, 7) is None
    _, faults = chain.follow(lines[3:], Link(3, "f" * 64), device=DEVICE)
    assert faults[0].entry == 3


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 16_000,
        b'{"a":' * 3000,
        b"9" * 10_000,
        b"1e999",
        b'{"data":{},"data":{}}',
        "{}".encode("utf-16"),
        b"\xff\xfe",
        b'"\\ud800"',
    ],
    ids=["lists", "objects", "number", "infinite", "doubled", "utf-16", "no text", "surrogate"],
)
def test_hostile_lines(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        chain.parse(line)


def test_faults_are_told_up_to_a_number() -> None:
    _, faults = chain.follow([b"x"] * 10_000, BEGIN)
    assert len(faults) == chain.FAULTS_TOLD


def test_nesting_is_bounded() -> None:
    value: object = 1
    for _ in range(limits.JSON_DEPTH):
        value = {"a": value}
    chain.check_depth(value)
    with pytest.raises(ValueError, match="nested"):
        chain.check_depth({"a": value})
