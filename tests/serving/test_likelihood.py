"""Likelihoods from the engine: against transformers, and the same whatever went before."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ServingError
from appliance.serving.engine_client import Engine, Sampling

pytestmark = pytest.mark.slow

PROMPT = "unit P3 on deck 4 was dead and the watch wrote"
CHOICES = [" it down", " nothing at all about it", " {}", " P3 is down, and so is the pump beside it"]


@pytest.fixture(scope="module")
def tiny_engine(tiny_gguf: Path) -> Iterator[Engine]:
    with Engine(tiny_gguf, slots=3, context=1024, threads=1) as running:
        yield running


@pytest.fixture(scope="module")
def peer(tiny_checkpoint: Path) -> Any:
    """The same weights in transformers, rounded to the F16 that the GGUF holds."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(tiny_checkpoint), dtype=torch.float32)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data = parameter.data.half().float()
    return model.eval()


def peer_score(peer: Any, tokens: list[int], start: int) -> tuple[float, bool]:
    import torch

    with torch.inference_mode():
        logits = peer(torch.tensor([tokens])).logits[0].double()
    logprobs = torch.log_softmax(logits, -1)
    places = range(start, len(tokens))
    return (
        float(sum(logprobs[place - 1, tokens[place]] for place in places)),
        all(int(logits[place - 1].argmax()) == tokens[place] for place in places),
    )


def sequences_of(engine: Engine, prompt: str, choices: list[str]) -> tuple[list[list[int]], list[int]]:
    start = len(engine.tokenize(prompt))
    return [engine.tokenize(prompt + choice) for choice in choices], [start] * len(choices)


def test_likelihoods_are_those_of_transformers(tiny_engine: Engine, peer: Any) -> None:
    """More choices than slots, so that the common beginning is also used again; and starts before its end."""
    sequences, starts = sequences_of(tiny_engine, PROMPT, CHOICES)
    starts[1], starts[2] = 1, 5
    scores = tiny_engine.score(sequences, starts)
    assert len(scores) == len(CHOICES) > tiny_engine.info.slots
    for tokens, start, found in zip(sequences, starts, scores, strict=True):
        expected, greedy = peer_score(peer, tokens, start)
        assert found.tokens == len(tokens) - start
        # The engine multiplies F16 weights by activations that it rounds to F16 too.
        assert found.logprob == pytest.approx(expected, abs=0.02 * found.tokens)
        assert found.greedy == greedy


def test_what_the_model_says_by_itself_is_greedy_and_likelier(tiny_engine: Engine) -> None:
    prompt = tiny_engine.render([{"role": "user", "content": "unit P1 on deck 8 was dead"}])
    answer = tiny_engine.complete(prompt, Sampling(max_tokens=24))
    said = tiny_engine.tokenize(answer.text)
    own, other = tiny_engine.score([prompt + said, prompt + said[::-1]], [len(prompt)] * 2)
    assert own.greedy and not other.greedy
    assert own.logprob > other.logprob


def test_a_text_longer_than_a_batch_is_read_in_parts(tiny_engine: Engine, peer: Any) -> None:
    tokens = tiny_engine.tokenize("the pump on deck was dead " * 120)[:700]
    found = tiny_engine.score([tokens], [1])[0]
    expected, _ = peer_score(peer, tokens, 1)
    assert found.tokens == 699
    assert found.logprob == pytest.approx(expected, rel=2e-3)


def test_the_same_question_has_the_same_bits_whatever_went_before(tiny_engine: Engine) -> None:
    sequences, starts = sequences_of(tiny_engine, PROMPT, CHOICES[:3])
    first = tiny_engine.score(sequences, starts)
    tiny_engine.score([tiny_engine.tokenize("something else entirely")], [2])
    tiny_engine.complete(sequences[0], Sampling(max_tokens=5))
    assert tiny_engine.score(sequences, starts) == first
    # Read once or each alone: the sums are taken in another order, so the last bits may differ, and no more.
    alone = [tiny_engine.score([tokens], [start])[0] for tokens, start in zip(sequences, starts, strict=True)]
    for one, other in zip(alone, first, strict=True):
        assert math.isclose(one.logprob, other.logprob, abs_tol=1e-3)


def test_answers_are_the_same_after_a_scoring(tiny_engine: Engine) -> None:
    prompt = tiny_engine.render([{"role": "user", "content": "unit P5 on deck 2 was fine"}])
    before = tiny_engine.complete(prompt, Sampling(max_tokens=24)).text
    tiny_engine.score([prompt, prompt[:-3]], [3, 3])
    assert tiny_engine.complete(prompt, Sampling(max_tokens=24)).text == before


@pytest.mark.parametrize(
    ("sequences", "starts", "words"),
    [
        ([], [], "sequences can be scored"),
        ([[1, 2]], [0], "one at least, behind one at least"),
        ([[1, 2]], [2], "one at least"),
        ([[1] * 2000], [5], "has room for"),
        ([[1, 10**6]], [1], "token ids go from"),
        ([[1, 2]], [1, 1], "where its scored tokens begin"),
    ],
)
def test_what_can_not_be_scored_is_refused(
    tiny_engine: Engine, sequences: list[list[int]], starts: list[int], words: str
) -> None:
    with pytest.raises(ServingError, match=words):
        tiny_engine.score(sequences, starts)
    assert tiny_engine.alive
