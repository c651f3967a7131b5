"""`python -m appliance.serving.engine`: load a model, then answer the JSON lines on stdin until it ends."""

from __future__ import annotations

import argparse
import collections
import json
import os
import queue
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from appliance import offline
from appliance.errors import AnchorholdError, ServingError
from appliance.serving.sampling import EngineInfo, Sampling

if TYPE_CHECKING:
    from appliance.serving.engine.library import Model
    from appliance.serving.engine.scheduler import Alone, Scheduler

_LEAVE = object()


class _Wire:
    """Our end of the pipe. Lines gathered during a step leave in one write."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._gathered: list[bytes] = []

    def gather(self, message: dict[str, Any]) -> None:
        self._gathered.append(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def flush(self) -> None:
        if self._gathered:
            data = b"".join(self._gathered)
            self._gathered.clear()
            self._write(data)

    def send(self, message: dict[str, Any]) -> None:
        """Send at once; may be called from any thread."""
        self._write(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace") + b"\n")

    def _write(self, data: bytes) -> None:
        with self._lock:
            try:
                self._stream.write(data)
                self._stream.flush()
            except BrokenPipeError:
                os._exit(0)  # nobody listens any more


def _own_stdout() -> IO[bytes]:
    """The pipe to our parent; whatever a library prints to stdout goes to stderr from now on."""
    wire = os.dup(1)
    os.set_inheritable(wire, False)
    os.dup2(2, 1)
    return os.fdopen(wire, "wb", buffering=0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m appliance.serving.engine", description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--confined", action="store_true")
    return parser.parse_args()


def _memory_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _loaded(wire: _Wire, given: argparse.Namespace, threads: int) -> Model:
    """The model; where it can't be loaded that is told, and the process ends."""
    try:
        from appliance import confinement
        from appliance.serving.engine import library

        # The library is in memory, and the model isn't yet.
        if given.confined and not confinement.confine() and confinement.possible():
            raise ServingError("the process can't be confined", "see the kernel's log; it refused the filter")
        return library.Model(given.model, given.slots, given.context, threads)
    except AnchorholdError as error:
        wire.send(
            {"type": "failed", "kind": type(error).__name__, "message": error.message, "hint": error.hint}
        )
        raise SystemExit(int(error.exit_code)) from None
    except (ImportError, OSError) as error:
        message = f"llama.cpp can't be loaded: {error}"
        wire.send({"type": "failed", "kind": "ServingError", "message": message, "hint": ""})
        raise SystemExit(1) from None


def _info(model: Model, threads: int) -> EngineInfo:
    return EngineInfo(
        chat_template=model.chat_template,
        bos=model.bos,
        eos=model.eos,
        adds_bos=model.adds_bos,
        context=model.context,
        slots=model.slots,
        parameters=model.parameters,
        description=model.description,
        vocabulary=model.vocabulary,
        build=model.build,
        threads=threads,
    )


def _take(message: Any, scheduler: Scheduler, alone: collections.deque[Alone], wire: _Wire) -> None:
    """Begin what a message asks for."""
    from appliance.serving.engine.likelihood import Scoring
    from appliance.serving.engine.outputs import Distributions, Embeddings
    from appliance.serving.engine.scheduler import Request

    operation = message["op"]
    if operation == "generate":
        sampling = Sampling.from_json(message["sampling"])
        streamed = bool(message.get("stream", True))
        scheduler.submit(Request(message["id"], message["tokens"], sampling, streamed))
    elif operation == "cancel":
        scheduler.cancel(message["id"])
    elif operation == "score":
        alone.append(Scoring(message["id"], message["sequences"], message["starts"]))
    elif operation == "distributions":
        alone.append(Distributions(message["id"], message["tokens"], message["start"]))
    elif operation == "embed":
        alone.append(Embeddings(message["id"], message["sequences"], message["starts"]))
    elif operation == "stats":
        stats = {**scheduler.stats(), "memory_bytes": _memory_bytes()}
        wire.gather({"type": "stats", "id": message["id"], "stats": stats})


def main() -> NoReturn:
    """Run the engine; ends when stdin does."""
    wire = _Wire(_own_stdout())
    # A terminal or a service manager signals the whole group; our parent decides when we end, by our stdin.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    offline.seal()
    given = _arguments()
    threads = given.threads or len(os.sched_getaffinity(0))
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            if message["op"] == "tokenize":  # needs the vocabulary only, so it need not wait for a step
                try:
                    wire.send(
                        {"type": "tokens", "id": message["id"], "tokens": model.tokenize(message["text"])}
                    )
                except AnchorholdError as error:
                    wire.send(
                        {"type": "error", "id": message["id"], "code": "tokenize", "message": error.message}
                    )
            else:
                inbox.put(message)
        # Our parent has closed the pipe or died: leave now, even from the middle of loading or a decode.
        os._exit(0)

    # Begins before the model is there; nothing is asked until we say that we are ready.
    threading.Thread(target=read, name="reader", daemon=True).start()
    model = _loaded(wire, given, threads)
    wire.send({"type": "ready", "info": asdict(_info(model, threads))})
    from appliance.serving.engine import scheduler as scheduling

    scheduler = scheduling.Scheduler(model, wire.gather)
    alone: collections.deque[Alone] = collections.deque()
    while True:
        wait = scheduler.idle and not alone
        while wait or not inbox.empty():
            _take(inbox.get(), scheduler, alone, wire)
            wait = False
        if alone and scheduler.idle:  # answers go first, and nothing else is computed beside it
            scheduler.compute_alone(alone.popleft())
        else:
            scheduler.step()
        wire.flush()


if __name__ == "__main__":
    main()
