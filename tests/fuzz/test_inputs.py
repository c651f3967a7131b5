"""Each fuzz target for a moment, with the same choices every time, and with the inputs that fuzzing has kept."""

from __future__ import annotations

import collections
import random

import pytest

from tests.fuzz import gguf_headers
from tests.fuzz.choices import Given, kept
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


@pytest.mark.parametrize("name", TARGETS)
def test_kept_inputs_still_are(name: str) -> None:
    inputs = kept(name)
    with target(name) as tried:
        answers = [tried(Given(data)) for data in inputs]
    assert len(answers) == len(inputs) > 0


def test_headers_are_read_as_ggml_reads_them_or_refused() -> None:
    chance, ggml = random.Random(1), gguf_headers.Ggml()
    try:
        answers = [
            gguf_headers.answer(gguf_headers.mutated(chance, list(gguf_headers.SEEDS)), ggml)
            for _ in range(INPUTS)
        ]
    finally:
        ggml.file.unlink()
    assert len({answer for answer in answers if not answer.startswith("read")}) > 10
    assert any(answer.startswith("read") for answer in answers)
