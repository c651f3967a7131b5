"""Each fuzz target for a moment, with the same choices every time; and that its well-made input is read."""

from __future__ import annotations

import collections
import random

import pytest

from tests.fuzz.inputs import TARGETS, target

INPUTS = 300


class Drawn:
    """Choices of a random generator."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def below(self, count: int) -> int:
        return self._chance.randrange(count)

    def blob(self) -> bytes:
        return self._chance.randbytes(self._chance.randrange(24))


@pytest.mark.parametrize("name", TARGETS)
def test_nonsense_is_refused_with_an_error_of_ours(name: str) -> None:
    answers: collections.Counter[str] = collections.Counter()
    with target(name) as tried:
        for seed in range(INPUTS):
            answers[tried(Drawn(seed))] += 1
    assert sum(answers.values()) == INPUTS
    assert answers.total() > answers["read"], "nothing was refused"
