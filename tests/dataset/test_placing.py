"""Where units go: each label in its share, old units where they were, no split empty."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest

from appliance.dataset.placing import Unit, earlier_split, labels_of, place
from appliance.dataset.splitting import by_position, position


def labelled_units(seed: int, count: int, labels: int = 20) -> list[Unit]:
    chance = random.Random(seed)
    return [
        Unit(
            (f"g{seed}-{number:05}",),
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
    units = [Unit((f"g{number}",), 1, f"label {number // 4}") for number in range(4000)]
    counts = Counter(place(units))
    assert 3100 < counts["train"] < 3300
    assert 320 < counts["test"] < 480


def test_a_large_unit_leaves_the_shares_of_its_label_as_near_as_can_be() -> None:
    units = [Unit(("whole-conversation",), 60, "a"), *(Unit((f"g{n}",), 1, "a") for n in range(140))]
    rows = shares(units, place(units))["a"]
    assert rows == {"train": 160, "valid": 20, "test": 20}


@pytest.mark.parametrize("seed", range(5))
def test_units_that_were_there_stay_and_new_ones_fill_their_labels(seed: int) -> None:
    units = labelled_units(seed, 600)
    first = place(units)
    old = [
        Unit(unit.groups, unit.rows, unit.label, ((split, unit.rows),))
        for unit, split in zip(units, first, strict=True)
    ]
    more = [*old, *labelled_units(seed + 100, 200)]
    random.Random(seed).shuffle(more)
    second = place(more)
    by_groups = {unit.groups: split for unit, split in zip(more, second, strict=True)}
    assert [by_groups[unit.groups] for unit in units] == first
    for label, rows in shares(more, second).items():
        largest = max(unit.rows for unit in more if unit.label == label)
        assert abs(rows["test"] - 0.1 * rows.total()) <= 2 * largest + 1, (label, rows)


def test_a_unit_that_joins_two_goes_where_most_of_its_rows_were() -> None:
    assert (
        earlier_split(Unit(("a", "b"), 5, "", (("test", 1), ("train", 3))), ("train", "valid", "test"))
        == "train"
    )
    assert (
        earlier_split(Unit(("a", "b"), 2, "", (("test", 1), ("train", 1))), ("train", "valid", "test"))
        == "test"
    )
    assert earlier_split(Unit(("a",), 2, "", (("test", 2),)), ("train", "valid")) == ""
    assert earlier_split(Unit(("a",), 2), ("train",)) == ""


def test_without_labels_the_hash_of_the_first_group_decides() -> None:
    units = [Unit((f"g{number}", f"z{number}"), 2) for number in range(300)]
    assert place(units) == [by_position(position(unit.groups[0])) for unit in units]


def test_the_order_of_units_does_not_matter() -> None:
    units = labelled_units(9, 400)
    placed = {unit.groups: split for unit, split in zip(units, place(units), strict=True)}
    units.reverse()
    assert {unit.groups: split for unit, split in zip(units, place(units), strict=True)} == placed


def test_what_are_labels() -> None:
    assert labels_of({"yes": 10, "no": 10}, 3)
    assert not labels_of({"yes": 20}, 3)
    assert not labels_of({str(number): 2 for number in range(50)}, 2)
    assert not labels_of({"yes": 10, "no": 10}, 5000)
