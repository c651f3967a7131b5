"""What memory holds of rows: a set of ids that behaves as a set, columns, and places by group."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from appliance.dataset import remembered_places
from appliance.dataset.arranging import _most_frequent, _speaking
from appliance.dataset.card import content_digest, token_lengths
from appliance.dataset.kept_rows import Columns, IdSet, KeptRows, group_key
from appliance.dataset.splitting import position
from appliance.events import Event, ignore
from appliance.storage import sha256_json


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.uint64)


@pytest.mark.parametrize("seed", range(4))
def test_an_id_set_is_a_set(seed: int) -> None:
    chance = random.Random(seed)
    # Few different numbers, so that many come again; numbers with equal low bits, so that they meet in one slot.
    pool = [0, 1, 2**64 - 1, *(chance.randrange(2**64) for _ in range(4000))]
    pool += [number << 40 for number in range(3000)]
    plain: set[int] = set()
    ours = IdSet()
    for _ in range(60):
        batch = chance.choices(pool, k=chance.randrange(400))
        expected = []
        for number in batch:
            expected.append(number not in plain)
            plain.add(number)
        assert ours.add(ids(*batch)).tolist() == expected
        asked = chance.choices(pool, k=200)
        assert ours.holds(ids(*asked)).tolist() == [number in plain for number in asked]
        assert len(ours) == len(plain)


def test_an_id_set_holds_a_million_in_few_bytes() -> None:
    numbers = np.random.default_rng(1).integers(1, 2**64, 1_000_000, dtype=np.uint64)
    ours = IdSet()
    for begin in range(0, len(numbers), 50_000):
        assert ours.add(numbers[begin : begin + 50_000]).all()
    for begin in range(0, len(numbers), 50_000):
        assert not ours.add(numbers[begin : begin + 50_000]).any()
    assert ours._table.nbytes <= 22 * len(numbers)


def test_columns_come_back_ordered_by_id_with_where_they_came() -> None:
    kept = KeptRows()
    for part in ((5, 3), (4,), ()):
        numbers = ids(*part)
        ones = np.ones(len(part), dtype=np.int64)
        kept.extend(
            Columns(
                numbers, numbers + ids(1), numbers.astype(np.int32), numbers == 4, ones * 7, ones.astype(np.uint32),
                -numbers.astype(np.int64), ones,
            )
        )  # fmt: skip
    assert len(kept) == 3
    rows, order = kept.by_id()
    assert rows.ids.tolist() == [3, 4, 5] and order.tolist() == [1, 2, 0]
    assert rows.groups.tolist() == [4, 5, 6] and rows.prompts.tolist() == [-3, -4, -5]
    assert rows.test.tolist() == [False, True, False] and rows.tokens.tolist() == [3, 4, 5]
    more = rows.with_more([9], [8], [(100, 20)])
    assert more.ids.tolist() == [3, 4, 5, 9] and more.tokens[-1] == 8
    assert (more.offsets[-1], more.sizes[-1], more.test[-1]) == (100, 20, False)


def test_a_groups_key_says_where_it_falls() -> None:
    for name in ("a", "note 7", "ü", ""):
        assert (group_key(name) >> 16) / 2**48 == position(name)


def test_the_answer_and_the_group_that_speak_for_a_unit() -> None:
    units = np.array([1, 0, 1, 0, 1, 2])
    assert _most_frequent(np.array([7, 3, 5, 4, 5, -1]), units).tolist() == [4, 5, -1]
    keys = np.array([group_key(str(number)) for number in range(6)], dtype=np.uint64)
    speaking = _speaking(keys, units, 3)
    assert speaking[2] == keys[5] and speaking[0] in keys[[1, 3]] and speaking[1] in keys[[0, 2, 4]]
    order = np.array([4, 5, 0, 3, 2, 1])
    assert _speaking(keys[order], units[order], 3).tolist() == speaking.tolist()


def test_units_of_many_groups_are_spread_as_those_of_one() -> None:
    keys = np.array([group_key(f"g{number}") for number in range(40_000)], dtype=np.uint64)
    speaking = _speaking(keys, np.arange(40_000) // 20, 2000)
    below = np.count_nonzero((speaking >> np.uint64(16)) / 2.0**48 < 0.8)
    assert 1540 < below < 1660, "a unit's place must not depend on how many groups it has"


def test_digest_and_lengths_are_those_of_plain_lists() -> None:
    rows = {"train": ids(255, 1), "valid": ids(), "test": ids(2**63)}
    plain = {"train": ["0000000000000001", "00000000000000ff"], "valid": [], "test": ["8000000000000000"]}
    assert content_digest(rows) == sha256_json(plain)
    many = np.random.default_rng(2).integers(0, 2**64, 250_001, dtype=np.uint64)
    assert content_digest({"train": many}) == sha256_json({"train": sorted(f"{one:016x}" for one in many)})
    lengths = token_lengths(np.array([5, 1, 9, 7], dtype=np.int32))
    assert (lengths.min, lengths.median, lengths.p95, lengths.max, lengths.total) == (1, 5, 9, 9, 22)
    assert json.dumps(lengths.total) == "22"
    assert token_lengths(np.zeros(0, dtype=np.int32)).max == 0


def test_places_are_remembered_and_those_with_names_are_still_read(tmp_path: Path) -> None:
    keys = np.array([group_key(name) for name in ("a", "b", "c", "a")], dtype=np.uint64)
    known = remembered_places.places(keys, np.array([0, 2, 1, 0], dtype=np.int8))
    remembered_places.save(tmp_path, known)
    back = remembered_places.load(tmp_path, ignore)
    asked = np.array([group_key(name) for name in ("c", "x", "a", "b")], dtype=np.uint64)
    assert back.of(asked).tolist() == [1, -1, 0, 2]
    named = {"format": 1, "splits": {"train": ["a"], "valid": ["c"], "test": ["b"]}}
    (tmp_path / "places.json").write_text(json.dumps(named))
    assert remembered_places.load(tmp_path, ignore).of(asked).tolist() == [1, -1, 0, 2]


@pytest.mark.parametrize("held", ["0123", "zz" * 8, 7])
def test_broken_places_are_told(tmp_path: Path, held: object) -> None:
    told: list[Event] = []
    splits = {"train": held, "valid": "", "test": ""}
    (tmp_path / "places.json").write_text(json.dumps({"format": 2, "splits": splits}))
    assert len(remembered_places.load(tmp_path, told.append).keys) == 0
    assert [event.kind for event in told] == ["warning"]
