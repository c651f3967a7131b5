"""`anchorhold dataset` killed: no worker outlives it."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from appliance.dataset.preparing import WORTH_WORKERS
from appliance.dataset.worker_pool import cores
from tests.dataset.conftest import Bench
from tests.dataset.test_prepare import line
from tests.dataset.test_workers import ROOT, workers_of

LONGEST = 120.0
"""Seconds that a machine of any speed takes less than."""


def loaded(workers: list[int]) -> bool:
    """Whether each of them is past its beginning, where it asks to end with its parent."""
    return bool(workers) and all("numpy" in Path(f"/proc/{each}/maps").read_text() for each in workers)


@pytest.fixture
def program(bench: Bench) -> Iterator[subprocess.Popen[bytes]]:
    """The real program, reading as much as workers are started for."""
    size = WORTH_WORKERS // 4000 + 1
    bench.write("a.jsonl", "".join(line(f"{number} " + "word " * 800) for number in range(size)))
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "appliance", "dataset", "--project", str(bench.root)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.skipif(cores() < 2, reason="with one core there are no workers")
def test_a_worker_that_stands_still_does_not_outlive_a_killed_program(
    program: subprocess.Popen[bytes],
) -> None:
    workers: list[int] = []
    while len(workers) < cores() or not loaded(workers):
        assert program.poll() is None
        time.sleep(0.02)
        workers = workers_of(program.pid)
    with ExitStack() as stack:
        ends = [os.pidfd_open(worker) for worker in workers]
        for end in ends:
            stack.callback(os.close, end)
            stack.callback(_kill, end)
            signal.pidfd_send_signal(end, signal.SIGSTOP)  # so that it can see no pipe's end
        program.kill()
        program.wait()
        for end in ends:
            assert select.select([end], [], [], LONGEST)[0]


def _kill(process: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)


def test_a_worker_whose_parent_is_gone_before_it_begins_does_not_begin() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "appliance.with_parent", str(os.getppid()), "this"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
        timeout=LONGEST,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
