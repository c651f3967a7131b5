"""Puts the test rows to one system through the engine, side by side, and keeps each answer as it comes."""

from __future__ import annotations

import itertools
import queue
import time
from collections.abc import Callable, Sequence

from appliance.dataset import Row
from appliance.evaluation.answers import Answer, AnswerStore, answer_key
from appliance.evaluation.systems import System
from appliance.serving.engine_client import Chunk, Engine, Sampling, completion

HEARTBEAT = 3.0  # seconds without an answer after which we say that we are alive
_CACHE_TOKENS = 16384  # tokens over all slots; bounds the memory of the KV cache


def slots_for(context: int, rows: int) -> int:
    """How many rows to ask side by side, so that all of them fit the memory meant for them."""
    return max(1, min(16, rows, _CACHE_TOKENS // context))


def ask(
    engine: Engine,
    system: System,
    rows: Sequence[Row],
    sampling: Sampling,
    store: AnswerStore,
    on_answer: Callable[[Answer, bool], None],
    on_wait: Callable[[], None],
) -> list[Answer]:
    """Answer every row, taking from the store what is there.

    Args:
        engine: with the system's file loaded.
        system: how to ask.
        rows: test rows.
        sampling: how to answer; deterministic.
        store: where answers are kept.
        on_answer: called with each answer, and whether it was known before.
        on_wait: called every few seconds while none comes.

    Returns:
        The answers, in the order of the rows.

    Raises:
        ServingError: a prompt doesn't fit, or the engine died; run again to go on.
    """
    answers: dict[int, Answer] = {}
    open_prompts: list[tuple[int, str, list[int]]] = []
    for index, row in enumerate(rows):
        tokens = engine.render(system.prompt(row))
        key = answer_key(system.file.sha256, tokens, sampling.to_json())
        if (known := store.get(key)) is not None:
            answers[index] = known
            on_answer(known, True)
        else:
            open_prompts.append((index, key, tokens))
    done: queue.SimpleQueue[tuple[int, str, Chunk]] = queue.SimpleQueue()
    running: set[int] = set()

    def submit(index: int, key: str, tokens: list[int]) -> None:
        running.add(
            engine.submit(tokens, sampling, lambda chunk: done.put((index, key, chunk)), stream=False)
        )

    waiting = iter(open_prompts)
    left = len(open_prompts)
    try:
        for prompt in itertools.islice(waiting, engine.info.slots):
            submit(*prompt)
        before = time.monotonic()
        while left:
            try:
                index, key, chunk = done.get(timeout=HEARTBEAT)
            except queue.Empty:
                on_wait()
                continue
            said = completion(chunk.text, chunk)
            now = time.monotonic()
            answer = Answer(
                key,
                system.key,
                rows[index].id,
                said.text,
                said.finish,
                said.prompt_tokens,
                said.completion_tokens,
                round(now - before, 4),
            )
            before, left = now, left - 1
            store.add(answer)
            answers[index] = answer
            on_answer(answer, False)
            if (following := next(waiting, None)) is not None:
                submit(*following)
    except BaseException:
        for number in running:
            engine.cancel(number)
        raise
    return [answers[index] for index in range(len(rows))]
