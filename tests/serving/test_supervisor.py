"""Changing the engine under running requests, with real engines."""

from __future__ import annotations

import os
import queue
import select
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import ModelError, ServingError
from appliance.serving.engine_client import Chunk, Engine, Sampling
from appliance.serving.supervisor import Supervisor, Target

pytestmark = pytest.mark.slow


def start(target: Target) -> Engine:
    return Engine(target.model, slots=1, context=256, threads=1)


def wait_until(supervisor: Supervisor, condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    while not condition():
        supervisor.reload()
        pause.wait(0.05)


def has_ended(pid: int, pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(60_000))


def test_requests_go_on_while_the_engine_is_changed(gguf: Path) -> None:
    targets = {"now": Target("notes", "1.0.0", "a" * 64, gguf)}
    supervisor = Supervisor(lambda: targets["now"], start)
    supervisor.begin()
    try:
        chunks: queue.Queue[Chunk] = queue.Queue()
        with supervisor.use() as old:
            watched = os.pidfd_open(old.engine.pid)
            tokens = old.engine.tokenize("A long story: ")
            old.engine.submit(tokens, Sampling(max_tokens=150, temperature=1.0, seed=1), chunks.put)
            chunks.get()
            targets["now"] = Target("notes", "1.1.0", "b" * 64, gguf)
            wait_until(supervisor, lambda: supervisor.current is not old)
            with supervisor.use() as new:
                assert new.target.version == "1.1.0"
                assert new.engine.pid != old.engine.pid
                assert new.engine.complete(tokens, Sampling(max_tokens=2)).completion_tokens == 2
            last = chunks.get()
            while last.finish is None:
                last = chunks.get()
            assert last.finish in {"stop", "length"}
            assert old.engine.alive  # somebody uses it still
        assert has_ended(old.engine.pid, watched)
        os.close(watched)
        assert supervisor.restarts == 0
    finally:
        supervisor.close()


def test_a_release_that_cannot_be_loaded_leaves_the_old_one_serving(gguf: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(gguf.read_bytes()[:1_000_000])
    good = Target("notes", "1.0.0", "a" * 64, gguf)
    targets = {"now": good}
    supervisor = Supervisor(lambda: targets["now"], start)
    supervisor.begin()
    try:
        first = supervisor.current
        targets["now"] = Target("notes", "2.0.0", "c" * 64, broken)
        wait_until(supervisor, lambda: bool(supervisor.state()["problem"]))
        assert "notes-2.0.0 can't be served" in supervisor.state()["problem"]
        assert supervisor.current is first
        with supervisor.use() as serving:
            assert serving.target == good
            # Even if the old one dies meanwhile, it is the old one that comes back.
            os.kill(serving.engine.pid, 9)
        wait_until(supervisor, lambda: supervisor.current is not first)
        with supervisor.use() as serving:
            assert serving.target == good
            assert serving.engine.alive
    finally:
        supervisor.close()


def test_nothing_to_serve_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="no release is installed"):
        Supervisor(lambda: None, start).begin()
    missing = Target("notes", "1.0.0", "a" * 64, tmp_path / "none.gguf")
    with pytest.raises(ModelError, match="no such file"):
        Supervisor(lambda: missing, start).begin()
