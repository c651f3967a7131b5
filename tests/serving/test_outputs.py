"""Whole distributions and embeddings from the engine: against transformers, and the same whatever went before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import ServingError
from appliance.evaluation.auditing.outputs import MOST_PLACES, distributions, embeddings
from appliance.serving.engine import outputs
from appliance.serving.engine_client import Engine, Sampling
from tests.serving.test_likelihood import PROMPT, peer  # noqa: F401 - a fixture

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny_engine(tiny_gguf: Path) -> Iterator[Engine]:
    with Engine(tiny_gguf, slots=3, context=1024, threads=1) as running:
        yield running


def test_logits_are_those_of_transformers(tiny_engine: Engine, peer: Any) -> None:  # noqa: F811
    import torch

    tokens = tiny_engine.tokenize("the pump on deck was dead " * 120)[:600]  # longer than a batch
    for start in (600 - MOST_PLACES, 500 + 12):  # and places on both sides of its edge
        places = tokens[: start + MOST_PLACES]
        found = distributions(tiny_engine, places, start)
        with torch.inference_mode():
            logits = peer(torch.tensor([places])).logits[0, start - 1 : len(places) - 1].float().numpy()
        assert found.shape == logits.shape == (len(places) - start, tiny_engine.info.vocabulary)
        assert np.abs(found - logits).max() < 0.05 < np.abs(found[:-1] - logits[1:]).max()


def test_they_agree_with_the_likelihoods(tiny_engine: Engine) -> None:
    tokens = tiny_engine.tokenize(PROMPT)
    logits = distributions(tiny_engine, tokens, 4).astype(np.float64)
    logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))
    found = float(sum(row[token] for row, token in zip(logits, tokens[4:], strict=True)))
    assert found == pytest.approx(tiny_engine.score([tokens], [4])[0].logprob, abs=1e-4)


def test_embeddings_are_the_mean_of_the_last_hidden_states(tiny_engine: Engine, peer: Any) -> None:  # noqa: F811
    import torch

    texts = ["the pump is dead", "", "a word " * 700, "the valve on deck 3 was fine"]
    found = embeddings(tiny_engine, texts)
    assert not found[1].any() and found[1].shape == found[0].shape
    for text, vector in zip(texts, found, strict=True):
        tokens = ([1, *tiny_engine.tokenize(text)])[: tiny_engine.info.context]
        with torch.inference_mode():
            states = peer.model(torch.tensor([tokens])).last_hidden_state[0, 1:].float().numpy()
        if text:
            assert np.abs(vector - states.mean(axis=0)).max() < 0.05 * np.abs(states).max()


def test_the_same_question_has_the_same_bits_and_answers_go_on(tiny_engine: Engine) -> None:
    tokens = tiny_engine.tokenize(PROMPT)
    prompt = tiny_engine.render([{"role": "user", "content": "unit P5 on deck 2 was fine"}])
    said = tiny_engine.complete(prompt, Sampling(max_tokens=24)).text
    first, vector = distributions(tiny_engine, tokens, 3), embeddings(tiny_engine, [PROMPT])[0]
    assert tiny_engine.complete(prompt, Sampling(max_tokens=24)).text == said
    assert (embeddings(tiny_engine, [PROMPT])[0] == vector).all()
    assert (distributions(tiny_engine, tokens, 3) == first).all()


@pytest.mark.parametrize(
    ("operation", "values", "words"),
    [
        ("distributions", {"tokens": [1] * (MOST_PLACES + 2), "start": 1}, "at most 64 tokens"),
        ("distributions", {"tokens": [1, 2], "start": 0}, "one at least"),
        ("distributions", {"tokens": [1] * 2000, "start": 1990}, "has room for"),
        ("distributions", {"tokens": [1, 10**6], "start": 1}, "token ids go from"),
        ("embed", {"sequences": [[1]], "starts": [1]}, "one at least"),
        ("embed", {"sequences": [[1] * 1025], "starts": [1]}, "has room for"),
        ("embed", {"sequences": [[1, 2]] * 300, "starts": [1] * 300}, "one to 256"),
    ],
)
def test_what_can_not_be_asked_is_refused(
    tiny_engine: Engine, operation: str, values: dict[str, Any], words: str
) -> None:
    with pytest.raises(ServingError, match=words):
        tiny_engine.ask(operation, **values)
    assert tiny_engine.alive and outputs.MOST_PLACES == MOST_PLACES
