"""Streams of requests for benchmarks.drift: real prompts at random or in bursts, and drawn facts of their answers."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from appliance import base_model
from appliance.watch.embedding import DIMENSIONS, Cloud, mean_of, table_of
from appliance.watch.sketch import Sketch
from benchmarks.open_data import ROOT

Values = dict[str, NDArray[np.float64]]  # by signal; shape [streams, requests]


@dataclass
class Pool:
    """Rows that a stream is drawn from: their texts, and lengths of their answers in tokens, roughly."""

    prompts: list[str]
    answers: NDArray[np.float64]


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _asked(row: dict[str, Any]) -> str:
    return str([turn["content"] for turn in row["messages"] if turn["role"] == "user"][-1])


def pool_of(data: Path, name: str) -> Pool:
    """A set's dev rows."""
    rows = list(_rows(data / f"{name}.dev.jsonl"))
    answers = [len(row["messages"][-1]["content"]) / 4 for row in rows]
    return Pool([_asked(row) for row in rows], np.ceil(answers))


def training_prompts(data: Path, name: str) -> list[str]:
    """A set's training prompts, as they would be asked."""
    if name != "banking77":
        return [_asked(row) for row in _rows(data / f"{name}.train.jsonl")]
    first = next(_rows(data / f"{name}.dev.jsonl"))
    before = _asked(first).removesuffix(first["text"])
    with (data / f"{name}.train.csv").open(encoding="utf-8", newline="") as lines:
        return [before + row["text"] for row in csv.DictReader(lines)]


# Streams


def at_random(random: np.random.Generator, pool: Pool, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Which rows a stream has: any, each time anew."""
    return random.integers(len(pool.prompts), size=shape)


def in_bursts(random: np.random.Generator, pool: Pool, shape: tuple[int, int]) -> NDArray[np.int64]:
    """Which rows a stream has: like ones (by length) follow each other, with a correlation of 0.5 in rank."""
    order = np.argsort([len(prompt) for prompt in pool.prompts], kind="stable")
    rho, state = 0.5, random.standard_normal(shape[0])
    rank = np.empty(shape)
    for step in range(shape[1]):
        state = rho * state + math.sqrt(1 - rho * rho) * random.standard_normal(shape[0])
        rank[:, step] = state
    uniform = 0.5 * (1 + np.vectorize(math.erf)(rank / math.sqrt(2)))
    found: NDArray[np.int64] = order[np.minimum((uniform * len(order)).astype(int), len(order) - 1)]
    return found


def _yes(
    random: np.random.Generator, share: float, shape: tuple[int, int], bursts: bool
) -> NDArray[np.float64]:
    """Rare events with this share; in bursts, each is followed by another with probability a half."""
    if not bursts:
        return (random.random(shape) < share).astype(float)
    stay = 0.5
    start = share * (1 - stay) / (1 - share)
    found = np.zeros(shape)
    state = random.random(shape[0]) < share
    for step in range(shape[1]):
        drawn = random.random(shape[0])
        state = np.where(state, drawn < stay, drawn < start)
        found[:, step] = state
    return found


@dataclass
class World:
    """One set: what its prompts amount to under a sketch.

    Attributes:
        pool: its rows.
        numbers: length, unknown, surprise and embedding of each row.
    """

    pool: Pool
    numbers: dict[str, NDArray[np.float64]]


@cache
def _tokens() -> tuple[Tokenizer, NDArray[np.float32]]:
    """Tokenizer and projected token embeddings of the embedded base."""
    folder = base_model.resolve(base_model.EMBEDDED, ROOT)
    return Tokenizer.from_file(str(folder / "tokenizer.json")), table_of(base_model.embedded_gguf())


@cache
def place_of(prompt: str) -> NDArray[np.float64]:
    """Where a prompt lies, shape [DIMENSIONS]."""
    tokenizer, table = _tokens()
    place = mean_of(table, tokenizer.encode(prompt, add_special_tokens=False).ids)
    return np.zeros(DIMENSIONS) if place is None else place


def cloud_of(prompts: Sequence[str]) -> Cloud:
    """The places of usual prompts."""
    cloud = Cloud()
    for prompt in prompts:
        cloud.add(place_of(prompt))
    return cloud


def world_of(pool: Pool, sketch: Sketch, cloud: Cloud) -> World:
    """Judge each row once."""
    prompts = pool.prompts
    numbers = {
        "length": np.array([float(len(prompt)) for prompt in prompts]),
        "unknown": np.array([sketch.unknown(prompt) for prompt in prompts]),
        "surprise": np.array([sketch.surprise(prompt) or 0.0 for prompt in prompts]),
        "embedding": np.array([cloud.distance(place_of(prompt)) for prompt in prompts]),
    }
    return World(pool, numbers)


def stream(
    random: np.random.Generator,
    world: World,
    shape: tuple[int, int],
    *,
    bursts: bool = False,
    unfit: float = 0.02,
    refusal: float = 0.01,
    cut: float = 0.01,
    sureness: float = 0.0,
) -> Values:
    """Numbers of streams that are all alike, shape [streams, requests].

    Args:
        random: source.
        world: what is asked.
        shape: streams, requests.
        bursts: like follows like.
        unfit, refusal, cut: shares of answers.
        sureness: added to the logarithm of the (negative) confidence.
    """
    which = (in_bursts if bursts else at_random)(random, world.pool, shape)
    values = {name: numbers[which] for name, numbers in world.numbers.items()}
    values["answer"] = np.maximum(1.0, np.round(world.pool.answers[which] * random.lognormal(0, 0.2, shape)))
    values["confidence"] = -random.lognormal(-3 + sureness, 1.0, shape)
    for name, share in (("unfit", unfit), ("refusal", refusal), ("cut", cut)):
        values[name] = _yes(random, share, shape, bursts)
    return values


def mixed(random: np.random.Generator, usual: Values, other: Values, share: float) -> Values:
    """Inputs of another stream in this share of requests."""
    taken = random.random(usual["length"].shape) < share
    return {
        name: np.where(taken, other[name], usual[name])
        if name in {"length", "unknown", "surprise", "embedding"}
        else usual[name]
        for name in usual
    }


# Ours
