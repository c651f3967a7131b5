"""Which split each unit goes to: where it was before, else by hash, in each label's own share. Pure.

A unit is what must not part: the rows of one named group, and of everything near to them. Its place follows from
the hash of its first group's name. Where answers are labels, units of one label are spread by their rank in that
order, so that each split gets its share of the label as nearly as units allow.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from appliance.dataset.splitting import TEST, TRAIN, VALID, by_position, fill_empty, position

LABEL_ROWS = 10
"""Answers are labels when there are at least so many rows to each."""
LABEL_LENGTH = 200
"""and when none is longer than so many characters."""
_LARGE = 0.05  # of its label's rows: such a unit goes where most is missing, before the others are spread


@dataclass(frozen=True, slots=True)
class Unit:
    """Rows that stay together.

    Attributes:
        groups: the names of the groups in it, sorted.
        rows: how many rows.
        label: the most frequent answer; empty where answers aren't labels.
        before: rows of it by the split that they were in before; empty for a new unit.
    """

    groups: tuple[str, ...]
    rows: int
    label: str = ""
    before: tuple[tuple[str, int], ...] = ()

    @property
    def position(self) -> float:
        """Where the hash puts it in [0, 1)."""
        return position(self.groups[0])


def earlier_split(unit: Unit, splits: Sequence[str]) -> str:
    """The split that most of the unit's rows were in, of those that there are now; empty for a new unit.

    On a tie the test split keeps its rows, then validation: what has been measured on is to stay comparable.
    """
    order = {TEST: 2, VALID: 1, TRAIN: 0}
    known = [(count, order[split], split) for split, count in unit.before if split in splits]
    return max(known)[2] if known else ""


def _spread(label: str, units: list[Unit], have: Counter[str], shares: Mapping[str, float]) -> list[str]:
    """The split of each unit of one label; `have` counts the rows that stand already."""
    total = sum(unit.rows for unit in units) + have.total()
    missing = {split: max(0.0, share * total - have[split]) for split, share in shares.items()}
    result: dict[int, str] = {}
    large = max(1.0, _LARGE * total)
    by_size = sorted(range(len(units)), key=lambda place: (-units[place].rows, units[place].groups))
    for place in by_size:
        if units[place].rows <= large:
            break
        split = max(missing, key=lambda split: missing[split])
        missing[split] = max(0.0, missing[split] - units[place].rows)
        result[place] = split
    rest = sorted(
        (place for place in range(len(units)) if place not in result),
        key=lambda place: (units[place].position, units[place].groups),
    )
    rows = sum(units[place].rows for place in rest)
    wanted = sum(missing.values())
    weights = {split: missing[split] / wanted if wanted else share for split, share in shares.items()}
    # Where the first row of a label falls differs from label to label, or all would round the same way.
    shift, before = position(f"label {label}"), 0
    for place in rest:
        at = (before + shift * units[place].rows) / rows
        before += units[place].rows
        for split, weight in weights.items():
            result[place] = split
            if at < weight:
                break
            at -= weight
    return [result[place] for place in range(len(units))]


def place(units: Sequence[Unit], with_test: bool = True) -> list[str]:
    """The split of each unit.

    A unit that was in a split before stays there. A new one goes by its hash alone where answers aren't labels; else
    it fills what its label lacks. No split stays empty while there are units enough.

    Args:
        units: with different groups.
        with_test: False where the test rows come from files of their own.

    Returns:
        "train", "valid" or "test" a unit.
    """
    shares = {TRAIN: 0.8, VALID: 0.1, TEST: 0.1} if with_test else {TRAIN: 0.9, VALID: 0.1}
    result = [earlier_split(unit, list(shares)) for unit in units]
    have: dict[str, Counter[str]] = defaultdict(Counter)
    new: dict[str, list[int]] = defaultdict(list)
    for number, (unit, split) in enumerate(zip(units, result, strict=True)):
        if split:
            have[unit.label][split] += unit.rows
        elif unit.label:
            new[unit.label].append(number)
        else:
            result[number] = by_position(unit.position, with_test)
    for label, numbers in new.items():
        spread = _spread(label, [units[number] for number in numbers], have[label], shares)
        for number, split in zip(numbers, spread, strict=True):
            result[number] = split
    placed = dict(zip((unit.groups[0] for unit in units), result, strict=True))
    return list(fill_empty(placed, with_test).values())


def labels_of(answers: Mapping[str, int], longest: int) -> bool:
    """Whether answers are labels.

    Args:
        answers: how many rows have each.
        longest: characters of the longest.
    """
    return 1 < len(answers) <= sum(answers.values()) / LABEL_ROWS and longest <= LABEL_LENGTH
