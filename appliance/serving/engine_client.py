"""Starts an engine process and talks to it; for the gateway, evaluation and install's golden check."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from appliance import chat_template
from appliance.errors import AnchorholdError, ModelError, ServingError
from appliance.serving.sampling import Chunk, Completion, EngineInfo, Likelihood, Sampling

__all__ = ["Chunk", "Completion", "Engine", "EngineInfo", "Likelihood", "Sampling"]

OnChunk = Callable[[Chunk], None]
_USAGE = (
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "queue_seconds",
    "prompt_seconds",
    "seconds",
    "margin",
    "confidence",
)


class _Answer:
    """Gathers the chunks of one request until it is done."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._done = threading.Event()
        self._last: Chunk | None = None

    def take(self, chunk: Chunk) -> None:
        self._parts.append(chunk.text)
        if chunk.finish is not None:
            self._last = chunk
            self._done.set()

    def wait(self) -> Completion:
        self._done.wait()
        assert self._last is not None
        return completion("".join(self._parts), self._last)


def completion(text: str, last: Chunk) -> Completion:
    """The whole answer, from its text and its last chunk.

    Raises:
        ServingError: the engine gave an error instead.
    """
    if last.finish == "error":
        raise ServingError(last.error, "see the engine's log, or ask again with a shorter prompt")
    return Completion(
        text=text,
        finish=last.finish or "",
        prompt_tokens=last.prompt_tokens,
        completion_tokens=last.completion_tokens,
        seconds=last.seconds,
        cached_tokens=last.cached_tokens,
        queue_seconds=last.queue_seconds,
        prompt_seconds=last.prompt_seconds,
        margin=last.margin,
        confidence=last.confidence,
    )


class Engine:
    """A running engine process; thread-safe; a context manager.

    Args:
        model: a GGUF.
        slots: answers given side by side.
        context: tokens of one request, prompt and answer together.
        threads: CPU threads; 0 takes all cores that this process may use.
        log: where llama.cpp's messages are appended; None keeps them only for the reason of a crash.
        give_up: set from another thread, it ends the waiting for a model that is still being loaded.
        confined: the process can open nothing to write and no socket, where the machine can do that.

    Raises:
        ModelError: the file isn't a model that llama.cpp can load.
        ServingError: the engine can't start.
    """

    def __init__(
        self,
        model: Path,
        *,
        slots: int = 8,
        context: int = 2048,
        threads: int = 0,
        log: Path | None = None,
        give_up: threading.Event | None = None,
        confined: bool = False,
    ) -> None:
        self.model = model
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._requests: dict[int, OnChunk] = {}
        self._replies: dict[int, tuple[threading.Event, dict[str, Any]]] = {}
        self._closing = False
        self._dead = ""
        if not model.is_file():
            raise ModelError(f"{model}: no such file", "give the path of a GGUF")
        self._log: IO[bytes] = self._open_log(log)
        command = [sys.executable, "-m", "appliance.serving.engine", "--model", str(model.resolve())]
        command += ["--slots", str(slots), "--context", str(context), "--threads", str(threads)]
        command += ["--confined"] if confined else []
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ}
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._out: IO[bytes] = self._process.stdin
        self._in: IO[bytes] = self._process.stdout
        try:
            self.info = self._wait_until_ready(give_up)
        except BaseException:
            self.close()
            raise
        self._reader = threading.Thread(target=self._read, name=f"engine-{self._process.pid}", daemon=True)
        self._reader.start()

    @staticmethod
    def _open_log(log: Path | None) -> IO[bytes]:
        if log is None:
            return tempfile.TemporaryFile()
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab+")

    def _log_tail(self) -> str:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 2000))
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def _wait_until_ready(self, give_up: threading.Event | None) -> EngineInfo:
        while give_up is not None and not select.select([self._in], [], [], 0.1)[0]:
            if give_up.is_set():
                raise ServingError(f"stopped while loading {self.model}", "start it again")
        line = self._in.readline()
        if not line:
            code = self._process.wait()
            raise ServingError(
                f"the engine ended while loading {self.model} (status {code}): {self._log_tail()}",
                "check that there is enough memory for the model and that the file is complete",
            )
        message = json.loads(line)
        if message["type"] == "failed":
            self._process.wait()
            kind: type[AnchorholdError] = ModelError if message["kind"] == "ModelError" else ServingError
            raise kind(message["message"], message["hint"])
        return EngineInfo(**message["info"])

    # The pipe

    def _write(self, message: Mapping[str, Any]) -> None:
        data = json.dumps(message, ensure_ascii=True).encode() + b"\n"
        with self._lock:
            if self._dead or self._closing:
                raise ServingError(self._dead or "the engine is closed", "start it again")
            try:
                self._out.write(data)
                self._out.flush()
            except (BrokenPipeError, ValueError) as error:
                raise ServingError("the engine has ended", "ask again in a moment") from error

    def _read(self) -> None:
        try:
            for line in self._in:
                if not line.endswith(b"\n"):
                    break  # it died in the middle of a line
                self._dispatch(json.loads(line))
        except BaseException:
            self._process.kill()  # a caller's `on_chunk` failed: nobody would read the other answers
            raise
        finally:
            self._fail_all(self._reason_of_end())

    def _reason_of_end(self) -> str:
        code = self._process.wait()
        if self._closing:
            return "the engine was closed"
        killed = code in {-signal.SIGKILL, -signal.SIGTERM}
        # Whoever was killed from outside had no time to say why; the log's last line is about something else.
        why = "killed, perhaps for want of memory" if killed else self._log_tail()
        return f"the engine ended (status {code}): {why}"

    def _fail_all(self, reason: str) -> None:
        with self._lock:
            self._dead = reason
            requests, self._requests = self._requests, {}
            replies, self._replies = self._replies, {}
        for on_chunk in requests.values():
            on_chunk(Chunk("", "error", error=reason))
        for event, box in replies.values():
            box["error"] = reason
            event.set()

    def _dispatch(self, message: dict[str, Any]) -> None:
        number = message["id"]
        kind = message["type"]
        if kind == "chunk":
            on_chunk = self._requests.get(number)
            if on_chunk is not None:
                on_chunk(Chunk(message["text"]))
            return
        with self._lock:
            on_chunk = self._requests.pop(number, None)
            reply = self._replies.pop(number, None)
        if reply is not None:
            event, box = reply
            box.update(message)
            if kind == "error":
                box["error"] = message["message"]
            event.set()
        elif on_chunk is not None and kind == "done":
            usage = {name: message[name] for name in _USAGE if name in message}
            on_chunk(Chunk(message["text"], message["finish"], **usage))
        elif on_chunk is not None:
            on_chunk(Chunk("", "error", error=message["message"]))

    def ask(self, operation: str, **values: Any) -> dict[str, Any]:
        """Ask for anything that has one reply, and wait for it (docs/formats/api.md, "The engine").

        Raises:
            ServingError: it can't be answered, or the engine has ended.
        """
        number = next(self._numbers)
        event = threading.Event()
        box: dict[str, Any] = {}
        with self._lock:
            self._replies[number] = (event, box)
        try:
            self._write({"op": operation, "id": number, **values})
        except ServingError:
            with self._lock:
                self._replies.pop(number, None)
            raise
        event.wait()
        if "error" in box:
            raise ServingError(box["error"])
        return box

    # What it offers

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return not self._dead and not self._closing and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the engine."""
        return self._process.pid

    def tokenize(self, text: str) -> list[int]:
        """Token ids of `text`, special tokens recognised; a begin token is added only if the model asks."""
        tokens: list[int] = self.ask("tokenize", text=text)["tokens"]
        return tokens

    def render(self, messages: Sequence[Mapping[str, Any]]) -> list[int]:
        """Token ids of a conversation in the model's own template, ready for the assistant's answer.

        Raises:
            ModelError: the model has no template, or it refuses the conversation.
        """
        if not self.info.chat_template:
            raise ModelError(
                f"{self.model.name}: the file has no chat template",
                "convert it again from a checkpoint whose tokenizer has one",
            )
        text = chat_template.render(
            self.info.chat_template,
            messages,
            add_generation_prompt=True,
            bos=self.info.bos,
            eos=self.info.eos,
        )
        return self.tokenize(text)

    def submit(
        self, tokens: Sequence[int], sampling: Sampling, on_chunk: OnChunk, *, stream: bool = True
    ) -> int:
        """Ask for an answer; returns the request's number.

        Args:
            tokens: the prompt.
            sampling: how to answer.
            on_chunk: called from the client's reader thread for every piece, the last one with `finish`; must
                not block.
            stream: False sends one chunk with everything.

        Raises:
            ServingError: the engine has ended.
        """
        number = next(self._numbers)
        with self._lock:
            self._requests[number] = on_chunk
        try:
            self._write(
                {
                    "op": "generate",
                    "id": number,
                    "tokens": list(tokens),
                    "sampling": sampling.to_json(),
                    "stream": stream,
                }
            )
        except ServingError:
            with self._lock:
                self._requests.pop(number, None)
            raise
        return number

    def cancel(self, request_id: int) -> None:
        """Stop a request; its last chunk has finish "cancelled". One that is done already is left alone."""
        with self._lock:
            known = request_id in self._requests
        if known and self.alive:
            self._write({"op": "cancel", "id": request_id})

    def complete(self, tokens: Sequence[int], sampling: Sampling) -> Completion:
        """Answer one prompt and wait for it.

        Raises:
            ServingError: the prompt doesn't fit, or the engine has ended.
        """
        answer = _Answer()
        number = self.submit(tokens, sampling, answer.take, stream=False)
        try:
            return answer.wait()
        except KeyboardInterrupt:
            self.cancel(number)
            raise

    def complete_many(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        on_done: Callable[[int, Completion], None] | None = None,
    ) -> list[Completion]:
        """Answer many prompts side by side.

        Args:
            prompts: token ids, one list a prompt.
            sampling: how to answer all of them.
            on_done: called in this thread as each is done, with its index.

        Returns:
            The answers, in the order of the prompts.

        Raises:
            ServingError: as soon as one fails; the others are cancelled.
        """
        done: queue.SimpleQueue[tuple[int, Chunk]] = queue.SimpleQueue()
        answers: dict[int, Completion] = {}
        running: dict[int, int] = {}  # index -> request number
        waiting = iter(enumerate(prompts))
        try:
            for index, tokens in itertools.islice(waiting, self.info.slots * 2):
                running[index] = self._submit_whole(index, tokens, sampling, done.put)
            while running:
                index, last = done.get()
                del running[index]
                answers[index] = completion(last.text, last)
                if on_done is not None:
                    on_done(index, answers[index])
                for following, tokens in itertools.islice(waiting, 1):
                    running[following] = self._submit_whole(following, tokens, sampling, done.put)
        except BaseException:
            for number in running.values():
                self.cancel(number)
            raise
        return [answers[index] for index in range(len(prompts))]

    def _submit_whole(
        self,
        index: int,
        tokens: Sequence[int],
        sampling: Sampling,
        put: Callable[[tuple[int, Chunk]], None],
    ) -> int:
        return self.submit(tokens, sampling, lambda chunk: put((index, chunk)), stream=False)

    def score(self, sequences: Sequence[Sequence[int]], starts: Sequence[int]) -> list[Likelihood]:
        """How likely the model finds the tokens of each sequence from its start on, after those before it.

        The engine computes it when it gives no answer, from an empty memory: the same sequences have the same
        likelihoods to the last bit, whatever was asked before.

        Args:
            sequences: token ids; a common beginning is read once.
            starts: where the scored tokens of each begin; at least 1.

        Raises:
            ServingError: a sequence doesn't fit, or the engine has ended.
        """
        scores = self.ask("score", sequences=[list(tokens) for tokens in sequences], starts=list(starts))
        return [Likelihood(**entry) for entry in scores["scores"]]

    def stats(self) -> dict[str, Any]:
        """The engine's counters (docs/formats/api.md, "stats")."""
        stats: dict[str, Any] = self.ask("stats")["stats"]
        return stats

    def close(self) -> None:
        """End the process; open requests fail. May be called again."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        with contextlib.suppress(BrokenPipeError):  # it may have ended already
            self._out.close()  # the engine ends when its input does
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        reader = getattr(self, "_reader", None)
        if reader is not None and reader is not threading.current_thread():
            reader.join()
        self._in.close()
        self._log.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
