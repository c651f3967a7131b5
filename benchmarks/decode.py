"""Decoding speed: our engine against `llama_cpp.Llama.create_chat_completion` on the same GGUF.

`python -m benchmarks.decode [--model FILE] [--tokens N] [--rounds N]` prints two JSON lines: one
sequence, and eight at the same time. The peer answers one after another, because it can't do otherwise.
Rounds of both alternate, so that a machine that slows down slows both; the median round counts.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

from appliance.base_model import embedded_gguf
from appliance.serving.engine_client import Engine, Sampling

QUESTIONS = (
    "Explain how a diesel generator works, in detail.",
    "Tell a long story about a cat on a ship.",
    "Describe the moon for a child, with many examples.",
    "Write a long letter from a polar station.",
    "Explain why ships float, step by step.",
    "Describe a day in the life of a mechanic.",
    "Tell the history of the steam engine.",
    "Explain photosynthesis in many sentences.",
)


def peer_model(model: Path, threads: int, *, context: int = 2048, **options: Any) -> Any:
    """llama-cpp-python's own class, with the CPU variant for this machine."""
    import llama_cpp

    package = Path(llama_cpp.__file__).parent
    variants = package.parent / "bin"
    if variants.is_dir():
        ggml = ctypes.CDLL(str(package / "lib" / "libggml.so.0"))
        ggml.ggml_backend_load_all_from_path(str(variants).encode())
    return llama_cpp.Llama(
        str(model), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False, **options
    )


def peer_speed(peer: Any, questions: tuple[str, ...], tokens: int) -> float:
    """Tokens a second, from the first question to the last answer."""
    begun = time.perf_counter()
    count = 0
    for question in questions:
        peer.reset()
        answer = peer.create_chat_completion(
            [{"role": "user", "content": question}], temperature=0.0, max_tokens=tokens
        )
        count += answer["usage"]["completion_tokens"]
    return count / (time.perf_counter() - begun)


def our_speed(engine: Engine, questions: tuple[str, ...], tokens: int) -> float:
    """The same, prompts rendered and read within the time as the peer's are."""
    begun = time.perf_counter()
    prompts = [engine.render([{"role": "user", "content": question}]) for question in questions]
    answers = engine.complete_many(prompts, Sampling(max_tokens=tokens))
    return sum(answer.completion_tokens for answer in answers) / (time.perf_counter() - begun)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=None)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    model = given.model or embedded_gguf()
    threads = len(os.sched_getaffinity(0))
    peer = peer_model(model, threads)
    with Engine(model, slots=8, context=1024, threads=threads) as engine:
        for name, questions in (
            ("decode, one sequence", QUESTIONS[:1]),
            ("decode, eight sequences", QUESTIONS),
        ):
            our_speed(engine, questions, 8)
            peer_speed(peer, questions[:1], 8)
            rounds = [
                (our_speed(engine, questions, given.tokens), peer_speed(peer, questions, given.tokens))
                for _ in range(given.rounds)
            ]
            ours = statistics.median(mine for mine, _ in rounds)
            theirs = statistics.median(other for _, other in rounds)
            how = (
                f"{model.name}, {threads} threads, greedy, {given.tokens} tokens, prompt included,"
                f" median of {given.rounds} rounds; peer: llama_cpp.Llama.create_chat_completion"
            )
            line = {"name": name, "ours": round(ours, 1), "peer": round(theirs, 1)}
            line |= {"ratio": round(ours / theirs, 2), "unit": "tokens/s", "how": how}
            print(json.dumps(line, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
