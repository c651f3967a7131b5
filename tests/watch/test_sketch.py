"""Sketches: a prompt of the set is judged as if it were not in it; no text stands in one; a hostile one is refused."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pytest

from appliance.watch.sketch import MOST, TRIGRAMS, WORDS, Sketch, sketch_of, trigrams_of, words_of

PROMPTS = [
    "Pump 2 leaks at the seal",
    "pump 17 is dead",
    "",
    "ab",
    "Die Pumpe läuft nicht mehr",
    "水泵 漏水 了",
]


@pytest.mark.parametrize("number", range(len(PROMPTS)))
def test_one_of_the_set_is_judged_as_if_it_were_none(number: int) -> None:
    whole = sketch_of(PROMPTS)
    without = sketch_of([prompt for place, prompt in enumerate(PROMPTS) if place != number])
    prompt = PROMPTS[number]
    assert whole.unknown(prompt, own=True) == without.unknown(prompt)
    assert whole.surprise(prompt, own=True) == pytest.approx(without.surprise(prompt))


def test_case_spaces_and_which_number_do_not_matter() -> None:
    first, second = "PUMP  2\nleaks", "pump 31 leaks"
    np.testing.assert_array_equal(words_of(first), words_of(second))
    np.testing.assert_array_equal(trigrams_of(first), trigrams_of(second))


def test_strange_prompts_stand_out() -> None:
    sketch = sketch_of([f"unit P{n % 7} on deck {n} was dead" for n in range(200)])
    usual, strange = "unit P3 on deck 999 was dead", "bitte einen Flug nach Lissabon"
    assert (sketch.unknown(usual), sketch.unknown(strange)) == (0.0, 1.0)
    low, high = sketch.surprise(usual), sketch.surprise(strange)
    assert low is not None and high is not None and low + 3 < high
    assert sketch.surprise("x") is None


def test_a_huge_prompt_is_looked_at_in_its_beginning() -> None:
    assert len(trigrams_of("abc " * MOST)) < MOST


def test_it_survives_json_and_holds_no_text() -> None:
    sketch = sketch_of(PROMPTS)
    value = json.loads(json.dumps(sketch.to_json()))
    again = Sketch.from_json(value)
    np.testing.assert_array_equal(again.words, sketch.words)
    np.testing.assert_array_equal(again.trigrams, sketch.trigrams)
    for each in value.values():
        assert b"pump" not in zlib.decompress(base64.b64decode(each)).lower()


def _packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    "words",
    [
        None,
        7,
        "not base64!",
        base64.b64encode(b"not deflated").decode(),
        _packed(b"\0" * 4 * (WORDS - 1)),
        _packed(b"\0" * 400_000_000),  # a bomb
        _packed(b"\0" * 4 * WORDS)[:40],
    ],
)
def test_a_hostile_one_is_refused(words: object) -> None:
    trigrams = _packed(b"\0" * 4 * TRIGRAMS)
    with pytest.raises(ValueError, match="sketch"):
        Sketch.from_json({"words": words, "trigrams": trigrams})
    with pytest.raises(ValueError, match="sketch"):
        Sketch.from_json([trigrams])
