"""Where units go: each label in its share, old units where they were, no split empty."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from appliance.dataset import placing
from appliance.dataset.conflicts import digest
from appliance.dataset.kept_rows import group_key
from appliance.dataset.placing import Units, are_labels, earlier_splits
from appliance.dataset.rows import SPLITS
from appliance.dataset.splitting import assign, by_position, position


@dataclass(frozen=True)
class Unit:
    """A unit as a person would write it."""

    group: str
    rows: int
    label: str = ""
    before: tuple[tuple[str, int], ...] = ()


def columns_of(units: Sequence[Unit]) -> Units:
    before = np.zeros((len(units), len(SPLITS)), dtype=np.int64)
    for number, unit in enumerate(units):
        for split, rows in unit.before:
            before[number, SPLITS.index(split)] = rows
    return Units(
        np.array([group_key(unit.group) for unit in units], dtype=np.uint64),
        np.array([unit.rows for unit in units], dtype=np.int64),
        np.array([digest(unit.label) for unit in units], dtype=np.int64) if units[0].label else None,
        before,
    )


def place(units: Sequence[Unit], with_test: bool = True) -> list[str]:
    return [SPLITS[split] for split in placing.place(columns_of(units), with_test).tolist()]


def earlier_split(unit: Unit, count: int) -> str:
    (split,) = earlier_splits(columns_of([unit]).before, count).tolist()
    return SPLITS[split] if split >= 0 else ""


def labelled_units(seed: int, count: int, labels: int = 20) -> list[Unit]:
    chance = random.Random(seed)
    return [
        Unit(
            f"g{seed}-{number:05}",
            chance.choice([1, 1, 1, 1, 2, 3]),
            f"label {int(chance.expovariate(0.2)) % labels}",
        )
        for number in range(count)
    ]


def shares(units: list[Unit], placed: list[str]) -> dict[str, Counter[str]]:
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for unit, split in zip(units, placed, strict=True):
        rows[unit.label][split] += unit.rows
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_each_label_has_its_share_in_each_split_to_within_a_unit(seed: int) -> None:
    units = labelled_units(seed, 1500)
    for label, rows in shares(units, place(units)).items():
        largest = max(unit.rows for unit in units if unit.label == label)
        for split, share in (("train", 0.8), ("valid", 0.1), ("test", 0.1)):
            assert abs(rows[split] - share * rows.total()) <= largest + 1, (label, rows)


def test_rounding_does_not_add_up_over_labels() -> None:
    units = [Unit(f"g{number}", 1, f"label {number // 4}") for number in range(4000)]
    counts = Counter(place(units))
    assert 3100 < counts["train"] < 3300
    assert 320 < counts["test"] < 480


def test_a_large_unit_leaves_the_shares_of_its_label_as_near_as_can_be() -> None:
    units = [Unit("whole-conversation", 60, "a"), *(Unit(f"g{n}", 1, "a") for n in range(140))]
    rows = shares(units, place(units))["a"]
    assert rows == {"train": 160, "valid": 20, "test": 20}


@pytest.mark.parametrize("seed", range(5))
def test_units_that_were_there_stay_and_new_ones_fill_their_labels(seed: int) -> None:
    units = labelled_units(seed, 600)
    first = place(units)
    old = [
        Unit(unit.group, unit.rows, unit.label, ((split, unit.rows),))
        for unit, split in zip(units, first, strict=True)
    ]
    more = [*old, *labelled_units(seed + 100, 200)]
    random.Random(seed).shuffle(more)
    second = place(more)
    by_group = {unit.group: split for unit, split in zip(more, second, strict=True)}
    assert [by_group[unit.group] for unit in units] == first
    for label, rows in shares(more, second).items():
        largest = max(unit.rows for unit in more if unit.label == label)
        assert abs(rows["test"] - 0.1 * rows.total()) <= 2 * largest + 1, (label, rows)


def test_a_unit_that_joins_two_goes_where_most_of_its_rows_were() -> None:
    assert earlier_split(Unit("a", 5, "", (("test", 1), ("train", 3))), 3) == "train"
    assert earlier_split(Unit("a", 2, "", (("test", 1), ("train", 1))), 3) == "test"
    assert earlier_split(Unit("a", 2, "", (("valid", 1), ("train", 1))), 3) == "valid"
    assert earlier_split(Unit("a", 2, "", (("test", 2),)), 2) == ""
    assert earlier_split(Unit("a", 2), 1) == ""


@pytest.mark.parametrize("with_test", [True, False])
def test_without_labels_the_hash_of_the_group_decides(with_test: bool) -> None:
    units = [Unit(f"g{number}", 2) for number in range(300)]
    assert place(units, with_test) == [by_position(position(unit.group), with_test) for unit in units]


@pytest.mark.parametrize("with_test", [True, False])
def test_no_split_stays_empty_as_the_rule_for_tiny_sets_says(with_test: bool) -> None:
    for seed in range(60):
        units = [Unit(f"{seed} {number}", 1) for number in range(1 + seed % 7)]
        expected = assign([unit.group for unit in units], with_test)
        assert place(units, with_test) == [expected[unit.group] for unit in units]


def test_the_order_of_units_does_not_matter() -> None:
    units = labelled_units(9, 400)
    placed = {unit.group: split for unit, split in zip(units, place(units), strict=True)}
    units.reverse()
    assert {unit.group: split for unit, split in zip(units, place(units), strict=True)} == placed


def test_what_are_labels() -> None:
    assert are_labels(2, 20, 3)
    assert not are_labels(1, 20, 3)
    assert not are_labels(50, 100, 2)
    assert not are_labels(2, 20, 5000)
