"""Whole distributions and embeddings of one engine: the arrays that cross its pipe as base64."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.serving.engine_client import Engine

Floats = NDArray[np.float32]
MOST_PLACES = 64  # tokens whose distributions the engine gives at a time
_MOST_TEXTS = 64  # embedded in one request


def distributions(engine: Engine, tokens: Sequence[int], start: int) -> Floats:
    """(tokens from `start` on, vocabulary): the logits that stood before each of them.

    Args:
        engine: with the model loaded.
        tokens: ids.
        start: of the first token that is predicted; at least 1, and at most `MOST_PLACES` before the end.

    Raises:
        ServingError: the sequence doesn't fit, or the engine has ended.
    """
    found = engine.ask("distributions", tokens=list(tokens), start=start)["logits"]
    return np.frombuffer(base64.b64decode(found), "<f4").reshape(len(tokens) - start, -1)


def embeddings(engine: Engine, texts: Sequence[str]) -> list[Floats]:
    """(width,) each: the mean of the last layer's hidden states over a text's tokens, behind a begin token.

    A text that the context has no room for is read as far as it fits; an empty one is all zeros.

    Raises:
        ServingError: the engine has ended.
    """
    begin = engine.tokenize(engine.info.bos or engine.info.eos)[:1]
    room = engine.info.context - 1
    read = [(begin + engine.tokenize(text)[:room] if text else []) for text in texts]
    kept = [tokens for tokens in read if len(tokens) > 1]
    vectors: list[Floats] = []
    for at in range(0, len(kept), _MOST_TEXTS):
        part = kept[at : at + _MOST_TEXTS]
        found = engine.ask("embed", sequences=part, starts=[1] * len(part))["vectors"]
        vectors += [np.frombuffer(base64.b64decode(vector), "<f4") for vector in found]
    width = len(vectors[0]) if vectors else 1
    given = iter(vectors)
    return [next(given) if len(tokens) > 1 else np.zeros(width, np.float32) for tokens in read]
