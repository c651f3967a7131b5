"""The engine process with the real model."""

from __future__ import annotations

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.errors import ModelError, ServingError
from appliance.serving.engine_client import Chunk, Completion, Engine, Sampling

pytestmark = pytest.mark.slow

QUESTIONS = [
    "What is 2+2?",
    "Name three colours.",
    "What is snow?",
    "Who repairs a pump?",
    "Say hello.",
    "What is a diesel generator?",
    "How do I boil water?",
    "What is the moon?",
    "List two animals.",
    "What is a bearing?",
    "Why is ice cold?",
    "Write one sentence about a ship.",
]


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def streamed(engine: Engine, tokens: list[int], sampling: Sampling) -> list[Chunk]:
    chunks: queue.Queue[Chunk] = queue.Queue()
    engine.submit(tokens, sampling, chunks.put)
    found = [chunks.get()]
    while found[-1].finish is None:
        found.append(chunks.get())
    return found


def common_beginning(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def test_batched_answers_agree_with_answers_given_one_at_a_time(engine: Engine, gguf: Path) -> None:
    """Greedy, twelve prompts over eight slots.

    Sums of several sequences are taken by other kernels than those of one, so that two nearly equal logits
    may change places, and from there on the texts part. So where they part, an independent reader of the
    same file must find both tokens nearly equally likely. A fault of the scheduler (a wrong position, a
    neighbour's cells) gives tokens that are not.
    """
    prompts = [engine.render(ask(question)) for question in QUESTIONS]
    sampling = Sampling(max_tokens=12)
    alone = [engine.complete(tokens, sampling) for tokens in prompts]
    together = engine.complete_many(prompts, sampling)
    same = [one.text == other.text for one, other in zip(alone, together, strict=True)]
    assert sum(same) >= 6, list(zip(alone, together, strict=True))
    end = engine.tokenize("<|im_end|>")
    for tokens, one, other in zip(prompts, alone, together, strict=True):
        if one.text != other.text:
            first, second = engine.tokenize(one.text) + end, engine.tokenize(other.text) + end
            parted = common_beginning(first, second)
            logits = next_logits(gguf, tokens + first[:parted])
            chosen = [logits[first[parted]], logits[second[parted]]]
            assert max(logits) - min(chosen) < 1.0, (one.text, other.text, chosen, max(logits))


def next_logits(gguf: Path, tokens: list[int]) -> list[float]:
    """Logits after `tokens`, by llama-cpp-python's own class in a process of its own."""
    script = (
        "import ctypes, json, pathlib, sys\n"
        "import llama_cpp\n"
        "package = pathlib.Path(llama_cpp.__file__).parent\n"
        "ggml = ctypes.CDLL(str(package / 'lib' / 'libggml.so.0'))\n"
        "ggml.ggml_backend_load_all_from_path(str(package.parent / 'bin').encode())\n"
        "model = llama_cpp.Llama(sys.argv[1], n_ctx=512, n_threads=1, n_threads_batch=1, verbose=False)\n"
        "model.eval(json.loads(sys.argv[2]))\n"
        "logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)\n"
        "print(json.dumps(logits[: model.n_vocab()]))\n"
    )
    command = [sys.executable, "-c", script, str(gguf), json.dumps(tokens)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    logits: list[float] = json.loads(done.stdout)
    return logits


def test_a_stream_is_the_whole_answer_in_pieces(engine: Engine) -> None:
    tokens = engine.render(ask("What is snow?"))
    chunks = streamed(engine, tokens, Sampling(max_tokens=24))
    whole = engine.complete(tokens, Sampling(max_tokens=24))
    assert len(chunks) > 5
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert (chunks[-1].finish, chunks[-1].completion_tokens) == (whole.finish, whole.completion_tokens)
    assert whole.prompt_tokens == len(tokens)


def test_an_answer_ends_by_itself_at_the_end_token(engine: Engine) -> None:
    answer = engine.complete(engine.render(ask("What is 2+2?")), Sampling(max_tokens=64))
    assert answer.finish == "stop"
    assert answer.completion_tokens < 64
    assert "<|im_end|>" not in answer.text


def test_the_margin_is_the_smallest_lead_of_any_token(engine: Engine) -> None:
    tokens = engine.render(ask("What is 2+2?"))
    answers = [engine.complete(tokens, Sampling(max_tokens=count, margin=True)) for count in (1, 4, 8)]
    margins = [answer.margin for answer in answers if answer.margin is not None]
    assert len(margins) == 3
    assert margins == sorted(margins, reverse=True)
    assert 0 < margins[-1] <= margins[0] < 50
    assert engine.complete(tokens, Sampling(max_tokens=1)).margin is None


def test_a_stop_text_ends_the_answer_before_it(engine: Engine) -> None:
    tokens = engine.render(ask("What is 2+2?"))
    free = engine.complete(tokens, Sampling(max_tokens=32)).text
    stop = free[len(free) // 2 - 3 : len(free) // 2 + 4]  # reaches over a token border wherever it lies
    chunks = streamed(engine, tokens, Sampling(max_tokens=32, stop=(stop,)))
    assert "".join(chunk.text for chunk in chunks) == free[: free.index(stop)]
    assert chunks[-1].finish == "stop"


def test_every_chunk_is_whole_characters(engine: Engine) -> None:
    tokens = engine.tokenize("Snow ❄❄❄ 東京 🛰🛰🛰 ❄❄❄ 東京 🛰🛰🛰 ❄❄❄ 東京 🛰🛰🛰 ❄❄❄")
    chunks = streamed(engine, tokens, Sampling(max_tokens=48))
    text = "".join(chunk.text for chunk in chunks)
    assert any(ord(character) > 0x2000 for character in text), text
    assert "\ufffd" not in text


def test_a_seed_repeats_a_draw_and_another_seed_does_not(engine: Engine) -> None:
    tokens = engine.render(ask("Write one sentence about a ship."))
    drawn = [
        engine.complete(tokens, Sampling(max_tokens=24, temperature=1.5, top_k=0, top_p=1.0, seed=seed)).text
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_a_common_beginning_is_not_read_twice(engine: Engine) -> None:
    system = {
        "role": "system",
        "content": "You answer about the pumps of a polar station, shortly and truly. " * 3,
    }
    first = engine.render([system, *ask("Which pump leaks?")])
    second = engine.render([system, *ask("What is a seal?")])
    engine.complete(first, Sampling(max_tokens=4))
    answer = engine.complete(second, Sampling(max_tokens=4))
    assert answer.cached_tokens >= 40
    assert answer.prompt_tokens == len(second)


def test_requests_that_come_together_share_what_one_of_them_reads(engine: Engine) -> None:
    system = {
        "role": "system",
        "content": "Turbine, valve, gasket, flange, rotor, stator, filter, belt. " * 4,
    }
    prompts = [engine.render([system, *ask(question)]) for question in QUESTIONS[:6]]
    answers = engine.complete_many(prompts, Sampling(max_tokens=2))
    assert sum(answer.cached_tokens >= 60 for answer in answers) >= 5


def test_cancel_frees_the_slot(gguf: Path) -> None:
    with Engine(gguf, slots=1, context=512, threads=1) as engine:
        tokens = engine.render(ask("Tell a long story about a cat."))
        chunks: queue.Queue[Chunk] = queue.Queue()
        number = engine.submit(tokens, Sampling(max_tokens=400, temperature=1.0, seed=1), chunks.put)
        chunks.get()
        waiting: queue.Queue[Chunk] = queue.Queue()
        queued = engine.submit(tokens, Sampling(max_tokens=400), waiting.put)
        engine.cancel(queued)
        assert waiting.get().finish == "cancelled"
        engine.cancel(number)
        last = chunks.get()
        while last.finish is None:
            last = chunks.get()
        assert last.finish == "cancelled"
        assert 0 < last.completion_tokens < 400
        assert engine.complete(engine.render(ask("What is 2+2?")), Sampling(max_tokens=16)).finish == "stop"
        assert engine.stats()["busy"] == 0


def test_a_prompt_that_does_not_fit_is_refused_with_counts(engine: Engine) -> None:
    with pytest.raises(ServingError, match=r"600 tokens.*512"):
        engine.complete([100] * 600, Sampling())


def test_the_answer_ends_where_the_context_does(engine: Engine) -> None:
    tokens = engine.tokenize("snow and ice and " * 200)[:500]
    answer = engine.complete(tokens, Sampling(max_tokens=100))
    assert answer.finish == "length"
    assert answer.prompt_tokens + answer.completion_tokens <= 512


@pytest.mark.parametrize("tokens", [[], [10**6], [-1]])
def test_impossible_tokens_are_refused_and_the_engine_lives(engine: Engine, tokens: list[int]) -> None:
    with pytest.raises(ServingError):
        engine.complete(tokens, Sampling())
    assert engine.alive


def test_complete_many_keeps_order_and_tells_of_each(engine: Engine) -> None:
    prompts = [engine.render(ask(question)) for question in QUESTIONS[:5]]
    told: dict[int, Completion] = {}
    answers = engine.complete_many(prompts, Sampling(max_tokens=4), told.__setitem__)
    assert [answer.prompt_tokens for answer in answers] == [len(tokens) for tokens in prompts]
    assert [told[index] for index in range(5)] == answers


def test_a_file_that_is_no_model_is_a_model_error(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF" + bytes(4096))
    with pytest.raises(ModelError, match=r"wrong\.gguf"):
        Engine(wrong)
    with pytest.raises(ModelError, match="no such file"):
        Engine(tmp_path / "missing.gguf")


def test_a_truncated_model_is_a_model_error(gguf: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf.read_bytes()[:20_000_000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        Engine(cut)


def test_open_requests_fail_when_the_engine_is_killed(gguf: Path) -> None:
    with Engine(gguf, slots=1, context=256, threads=1) as engine:
        chunks: queue.Queue[Chunk] = queue.Queue()
        engine.submit(engine.render(ask("Tell a long story.")), Sampling(max_tokens=200), chunks.put)
        chunks.get()
        os.kill(engine.pid, signal.SIGKILL)
        last = chunks.get()
        while last.finish is None:
            last = chunks.get()
        assert last.finish == "error"
        assert "status -9" in last.error
        assert not engine.alive
        with pytest.raises(ServingError):
            engine.tokenize("x")


def test_the_engine_ends_with_its_parent(gguf: Path) -> None:
    script = (
        "import os, pathlib, sys\n"
        "from appliance.serving.engine_client import Engine, Sampling\n"
        f"engine = Engine(pathlib.Path({str(gguf)!r}), slots=1, context=256, threads=1)\n"
        "engine.submit(engine.tokenize('A long story: '), Sampling(max_tokens=240), lambda chunk: None)\n"
        "print(engine.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None and parent.stdin is not None
    child = os.pidfd_open(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    ended = threading.Event()

    def wait() -> None:
        import select

        poll = select.poll()
        poll.register(child, select.POLLIN)
        if poll.poll(60_000):
            ended.set()

    wait()
    os.close(child)
    parent.stdin.close()
    parent.stdout.close()
    assert ended.is_set()
