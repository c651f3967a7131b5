"""The split: by hash, stable, never empty while there are groups enough."""

from __future__ import annotations

from collections import Counter

import pytest

from appliance.dataset.splitting import assign, by_position, position


def test_positions_lie_in_the_unit_interval_and_differ() -> None:
    places = [position(f"group {number}") for number in range(500)]
    assert all(0 <= place < 1 for place in places)
    assert len(set(places)) == 500


@pytest.mark.parametrize(
    ("place", "split"),
    [(0.0, "train"), (0.7999, "train"), (0.8, "valid"), (0.8999, "valid"), (0.9, "test"), (0.9999, "test")],
)
def test_the_bounds_of_the_splits(place: float, split: str) -> None:
    assert by_position(place) == split


def test_without_a_test_split_a_tenth_is_for_validation() -> None:
    assert [by_position(place, with_test=False) for place in (0.0, 0.8999, 0.9)] == [
        "train",
        "train",
        "valid",
    ]


def test_adding_groups_moves_none() -> None:
    few = assign(f"note {number}" for number in range(200))
    many = assign(f"note {number}" for number in range(2000))
    assert {group: many[group] for group in few} == few


def test_shares_are_about_80_10_10() -> None:
    counts = Counter(assign(f"note {number}" for number in range(5000)).values())
    assert 3900 < counts["train"] < 4100
    assert 420 < counts["valid"] < 580
    assert 420 < counts["test"] < 580


@pytest.mark.parametrize("count", range(3, 40))
def test_tiny_sets_fill_every_split_and_in_the_same_way_each_time(count: int) -> None:
    groups = [f"row {number}" for number in range(count)]
    placed = assign(groups)
    assert set(placed.values()) == {"train", "valid", "test"}
    assert assign(reversed(groups)) == placed


@pytest.mark.parametrize("count", range(2, 20))
def test_tiny_sets_with_test_files_of_their_own(count: int) -> None:
    placed = assign([f"row {number}" for number in range(count)], with_test=False)
    assert set(placed.values()) == {"train", "valid"}


def test_a_group_is_moved_only_into_an_empty_split() -> None:
    groups = [f"row {number}" for number in range(12)]
    by_hash = {group: by_position(position(group)) for group in groups}
    moved = {group for group, split in assign(groups).items() if split != by_hash[group]}
    assert len(moved) == len({"train", "valid", "test"} - set(by_hash.values()))
