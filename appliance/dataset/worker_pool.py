"""Worker processes that make batches, as many as there are cores; answers come in the order of the portions.

Processes of our own rather than `multiprocessing`'s: they load neither the caller's main module (which may be a script
from standard input) nor inherit its threads, and end with who started them, whatever becomes of that.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import IO

from appliance.dataset.row_batches import Batch, Portion, Setup
from appliance.errors import StorageError

MOST_WORKERS = 16
"""One process accepts what all of them make, and could not keep up with more."""
_END_SECONDS = 10.0
_ONE_THREAD = {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def cores() -> int:
    """How many workers this process may keep busy."""
    return min(len(os.sched_getaffinity(0)), MOST_WORKERS)


class _Worker:
    """One process, fed by a thread of its own."""

    def __init__(self, setup: Setup, portions: queue.SimpleQueue[_Ticket]) -> None:
        # Modules come from where this process has them, never from the folder that it happens to run in (-P).
        places = os.pathsep.join(place or str(Path.cwd()) for place in sys.path)
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": places}
        row_worker = ["appliance.with_parent", str(os.getpid()), "appliance.dataset.row_worker"]
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", *row_worker],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._to: IO[bytes] = self.process.stdin
        self._from: IO[bytes] = self.process.stdout
        self._setup: Setup | None = setup
        self._portions = portions
        self.thread = threading.Thread(target=self._run, name=f"rows-{self.process.pid}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (ticket := self._portions.get()) is not None:
            portion, future = ticket
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = self._ask(portion)
            except (OSError, EOFError, pickle.UnpicklingError):
                future.set_exception(self._ended(portion))
            except BaseException as error:
                future.set_exception(error)
            else:
                if isinstance(answer, Exception):
                    future.set_exception(answer)
                else:
                    future.set_result(answer)

    def _ask(self, portion: Portion) -> Batch | Exception:
        if self._setup is not None:
            pickle.dump(self._setup, self._to, protocol=pickle.HIGHEST_PROTOCOL)
            self._setup = None
        pickle.dump(portion, self._to, protocol=pickle.HIGHEST_PROTOCOL)
        self._to.flush()
        answer: Batch | Exception = pickle.load(self._from)  # noqa: S301 - from a process of our own
        return answer

    def _ended(self, portion: Portion) -> StorageError:
        try:
            code = self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return StorageError(
            f"a worker process {how} while it read {portion.name}",
            "if memory ran out, close other programs or allow fewer cores (taskset -c 0 anchorhold ...), and run again",
        )

    def end(self) -> None:
        """Stop the process at once."""
        self.process.kill()
        self.process.wait()
        self.thread.join()
        for pipe in (self._to, self._from):
            try:
                pipe.close()
            except OSError:  # what was still to be written to a process that is gone
                continue


_Ticket = tuple[Portion, "Future[Batch]"] | None


class WorkerPool:
    """A context manager; leaving it ends the processes.

    Args:
        setup: for the workers.
        workers: how many.
    """

    def __init__(self, setup: Setup, workers: int) -> None:
        self._portions: queue.SimpleQueue[_Ticket] = queue.SimpleQueue()
        self._waiting: list[Future[Batch]] = []
        self._workers: list[_Worker] = []
        try:
            for _ in range(workers):
                self._workers.append(_Worker(setup, self._portions))
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._workers)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, portion: Portion) -> Callable[[], Batch]:
        """Have a portion worked on; what is returned waits for its batch.

        Raises (when called):
            StorageError: the worker died.
            AnchorholdError: what the worker raised.
        """
        future: Future[Batch] = Future()
        self._waiting = [each for each in self._waiting if not each.done()] + [future]
        self._portions.put((portion, future))
        return future.result

    def close(self) -> None:
        """End the processes; what they were at is lost."""
        for future in self._waiting:
            future.cancel()
        for _ in self._workers:
            self._portions.put(None)
        for worker in self._workers:
            worker.end()
        self._workers = []
