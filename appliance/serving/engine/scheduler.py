"""Continuous batching: each step, every answering sequence gives one token; the rest reads prompts.

A slot keeps what it has read after its answer is done, so that the next prompt with the same beginning
need not be read again; another slot's beginning is shared instead where that is longer.
"""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.errors import ServingError
from appliance.serving.engine.constraint import Constraint, Grammars
from appliance.serving.engine.library import BATCH, Batch, Model
from appliance.serving.engine.text import AnswerText
from appliance.serving.sampling import Sampling

Send = Callable[[dict[str, Any]], None]
PREFILL_BESIDE_ANSWERS = 256  # prompt tokens a step may read while others wait for their next token
_LARGE_MARGIN = 1e6  # logits
_MEASURE_EACH = 4  # tokens; the confidence of an answer is the mean of every fourth one's
_WORTH_SHARING = 16  # tokens; a shorter common beginning is read faster than it is arranged


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two lists have in common at their beginning."""
    low, high = 0, min(len(first), len(second))
    while low < high:  # bisection, because comparing slices runs in C
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


@dataclass
class Request:
    """One prompt that waits for an answer or gets one."""

    number: int
    tokens: list[int]
    sampling: Sampling
    stream: bool
    arrived: float = field(default_factory=time.monotonic)


class Alone(Protocol):
    """A request that is computed when no answer is being given, from an empty memory."""

    @property
    def number(self) -> int:
        """The request's."""

    def fault(self, context: int, vocabulary: int) -> tuple[str, str] | None:
        """(code, message) of what makes it impossible; None if nothing does."""

    def result(self, model: Model, batch: Batch) -> dict[str, Any]:
        """The reply, but for its id; ServingError where it can't be computed."""


class Slot:
    """One sequence of the context: what it holds, and whom it answers."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.held: list[int] = []  # tokens whose cells are in memory
        self.used = 0.0
        self.request: Request | None = None
        self.chain: int | None = None
        self.constraint: Constraint | None = None
        self.next: int | None = None  # sampled, not yet decoded
        self.output = -1  # index of our logits in the batch

    def begin(
        self, request: Request, chain: int, constraint: Constraint | None, cached: int, limit: int
    ) -> None:
        """Take a request whose first `cached` tokens are held already."""
        self.request = request
        self.constraint = constraint
        self.chain = chain
        self.cached = cached
        self.limit = limit
        self.next = None
        self.completion = 0
        self.text = AnswerText(request.sampling.stop)
        self.parts: list[str] = []
        self.started = time.monotonic()
        self.answering = 0.0
        self.margin = float("inf")
        self.log_probability = 0.0
        self.measured = 0  # tokens in it

    @property
    def reading(self) -> bool:
        """Whether a part of the prompt is still to be read."""
        return self.request is not None and self.next is None


class Scheduler:
    """Decides what goes into each batch, and carries answers out.

    Args:
        model: the loaded model.
        send: takes a message for the other side of the pipe; called from `step` only.
    """

    def __init__(self, model: Model, send: Send) -> None:
        self._model = model
        self._send = send
        self._batch = Batch(BATCH, model.slots)
        self._slots = [Slot(number) for number in range(model.slots)]
        self._waiting: collections.deque[Request] = collections.deque()
        self._keeps_prefix = model.can_keep_prefix()
        self._grammars = Grammars(model)
        self._rate: collections.deque[tuple[float, int]] = collections.deque(maxlen=256)
        self.totals = {
            "requests": 0,
            "prompt_tokens": 0,
            "cached_tokens": 0,
            "completion_tokens": 0,
            "cancelled": 0,
        }

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do."""
        return not self._waiting and all(slot.request is None for slot in self._slots)

    def stats(self) -> dict[str, Any]:
        """Counters and the speed of the last ten seconds."""
        now = time.monotonic()
        recent = [(when, count) for when, count in self._rate if when > now - 10]
        span = now - recent[0][0] if recent else 0.0
        return {
            **self.totals,
            "slots": len(self._slots),
            "busy": sum(slot.request is not None for slot in self._slots),
            "waiting": len(self._waiting),
            "held_tokens": sum(len(slot.held) for slot in self._slots),
            "tokens_per_second": round(sum(count for _, count in recent) / span, 1) if span > 0 else 0.0,
        }

    def submit(self, request: Request) -> None:
        """Queue a request; one that can never fit is refused at once."""
        count = len(request.tokens)
        if count == 0:
            self._refuse(request, "empty_prompt", "the prompt has no tokens")
        elif count >= self._model.context:
            self._refuse(
                request,
                "context_exceeded",
                f"the prompt has {count} tokens; the context has room for {self._model.context}",
            )
        elif any(not 0 <= token < self._model.vocabulary for token in request.tokens):
            self._refuse(request, "unknown_token", f"token ids go from 0 to {self._model.vocabulary - 1}")
        else:
            self._waiting.append(request)

    def cancel(self, number: int) -> None:
        """Stop a request, waiting or running; unknown numbers (already done) are fine."""
        for request in self._waiting:
            if request.number == number:
                self._waiting.remove(request)
                self.totals["cancelled"] += 1
                self._send({"type": "done", "id": number, "text": "", "finish": "cancelled"})
                return
        for slot in self._slots:
            if slot.request is not None and slot.request.number == number:
                self.totals["cancelled"] += 1
                self._end(slot, "cancelled")
                return

    def step(self) -> None:
        """Admit, fill one batch, decode it, sample."""
        self._admit()
        batch = self._fill()
        if not batch.size:
            return
        status = self._model.decode(batch)
        if status == 1 and self._drop_idle():
            status = self._model.decode(batch)
        if status != 0:
            self._fault(status)
            return
        sampled = 0
        for slot in self._slots:
            if slot.output >= 0:
                sampled += 1
                self._advance(slot)
        if sampled:
            self._rate.append((time.monotonic(), sampled))

    # Admission

    def _refuse(self, request: Request, code: str, message: str) -> None:
        self._send({"type": "error", "id": request.number, "code": code, "message": message})

    def _admit(self) -> None:
        for _ in range(len(self._waiting)):
            free = [slot for slot in self._slots if slot.request is None]
            if not free:
                return
            request = self._waiting.popleft()
            if self._better_wait(request):
                self._waiting.append(request)
                continue
            self._place(request, free)

    def _held_in_common(self, slot: Slot, tokens: list[int]) -> int:
        # The last token is always read, because its logits are needed.
        return min(common_prefix(slot.held, tokens), len(tokens) - 1) if self._keeps_prefix else 0

    def _better_wait(self, request: Request) -> bool:
        """Whether a slot is just reading the same beginning, so that it pays to let it finish and share."""
        if not self._keeps_prefix:
            return False
        held = max(self._held_in_common(slot, request.tokens) for slot in self._slots)
        for slot in self._slots:
            if slot.reading and slot.request is not None:
                coming = min(common_prefix(slot.request.tokens, request.tokens), len(request.tokens) - 1)
                if coming > held + _WORTH_SHARING:
                    return True
        return False

    def _place(self, request: Request, free: list[Slot]) -> None:
        tokens, constraint = request.tokens, None
        if request.sampling.grammar:
            try:
                constraint = self._grammars.begin(request.sampling.grammar)
            except ServingError as error:
                self._refuse(request, "grammar", error.message)
                return
        own = max(free, key=lambda slot: (self._held_in_common(slot, tokens), -slot.used))
        cached = self._held_in_common(own, tokens)
        best = max(self._slots, key=lambda slot: self._held_in_common(slot, tokens))
        shared = self._held_in_common(best, tokens)
        if shared > cached + _WORTH_SHARING:
            slot = min(free, key=lambda each: each.used)
            self._model.forget(slot.number)
            self._model.share_prefix(best.number, slot.number, shared)
            cached = shared
        elif cached >= _WORTH_SHARING:
            slot = own
            self._model.forget(slot.number, cached)
        else:
            slot = min(free, key=lambda each: each.used)
            self._model.forget(slot.number)
            cached = 0
        slot.held = tokens[:cached]
        sampling = request.sampling
        seed = (
            int.from_bytes(os.urandom(4), "little") if sampling.seed is None else sampling.seed & 0xFFFFFFFF
        )
        limit = max(1, min(sampling.max_tokens, self._model.context - len(tokens)))
        slot.begin(request, self._model.sampler(sampling, seed), constraint, cached, limit)
        self.totals["requests"] += 1
        self.totals["prompt_tokens"] += len(tokens)
        self.totals["cached_tokens"] += cached

    # One batch

    def _fill(self) -> Batch:
        batch = self._batch
        batch.clear()
        for slot in self._slots:
            slot.output = -1
            if slot.next is not None:
                slot.output = batch.add(slot.next, len(slot.held), slot.number, True)
                slot.held.append(slot.next)
        room = batch.capacity - batch.size
        if batch.size:
            room = min(room, PREFILL_BESIDE_ANSWERS)
        reading = sorted((slot for slot in self._slots if slot.reading), key=lambda slot: slot.started)
        for slot in reading:
            assert slot.request is not None
            tokens, begin = slot.request.tokens, len(slot.held)
            end = min(len(tokens), begin + room)
            for position in range(begin, end):
                last = position == len(tokens) - 1
                index = batch.add(tokens[position], position, slot.number, last)
                if last:
                    slot.output = index
            slot.held.extend(tokens[begin:end])
            room -= end - begin
            if room <= 0:
                break
        return batch

    def _advance(self, slot: Slot) -> None:
        request = slot.request
        assert request is not None and slot.chain is not None
        if slot.next is None:
            slot.answering = time.monotonic()
            if not self._model.logits_are_numbers(slot.output):
                self._refuse(
                    request, "not_a_number", "the model's output is not a number: its weights are damaged"
                )
                self._free(slot)
                return
        try:
            token = self._chosen(slot, request, slot.chain)
        except ServingError as error:
            self._refuse(request, "grammar", error.message)
            self._free(slot)
            return
        piece = self._model.piece(token)
        if piece is None:
            self._end(slot, "stop")
            return
        slot.next = token
        slot.completion += 1
        text = slot.text.add(piece)
        if text:
            self._show(slot, text)
        if slot.text.stopped or (slot.constraint is not None and slot.constraint.finished):
            self._end(slot, "stop")
        elif slot.completion >= slot.limit:
            self._end(slot, "length")

    def _chosen(self, slot: Slot, request: Request, chain: int) -> int:
        """The next token of an answer.

        Raises:
            ServingError: its grammar can't go on.
        """
        measure = request.sampling.confidence and slot.completion % _MEASURE_EACH == 0
        # Before the grammar: what the model itself would have said.
        total = self._model.log_total(slot.output) if measure else 0.0
        if slot.constraint is not None:
            slot.constraint.forbid(self._model.logits(slot.output))
        if request.sampling.margin:
            slot.margin = min(slot.margin, self._model.margin(slot.output))
        token = self._model.sample(chain, slot.output)
        if measure:
            slot.log_probability += float(self._model.logits(slot.output)[token]) - total
            slot.measured += 1
        if slot.constraint is not None:
            slot.constraint.take(token)
        return token

    def _show(self, slot: Slot, text: str) -> None:
        assert slot.request is not None
        if slot.request.stream:
            self._send({"type": "chunk", "id": slot.request.number, "text": text})
        else:
            slot.parts.append(text)

    def _end(self, slot: Slot, finish: str) -> None:
        request = slot.request
        assert request is not None
        slot.parts.append(slot.text.finish())
        now = time.monotonic()
        self.totals["completion_tokens"] += slot.completion
        # JSON knows no infinity: where each token was the only one allowed, the margin is just large.
        margin = min(slot.margin, _LARGE_MARGIN)
        measured = {"margin": margin} if request.sampling.margin and slot.answering else {}
        if slot.measured:
            measured["confidence"] = round(slot.log_probability / slot.measured, 5)
        self._send(
            {
                "type": "done",
                "id": request.number,
                **measured,
                "text": "".join(slot.parts),
                "finish": finish,
                "prompt_tokens": len(request.tokens),
                "cached_tokens": slot.cached,
                "completion_tokens": slot.completion,
                "queue_seconds": round(slot.started - request.arrived, 6),
                "prompt_seconds": round((slot.answering or now) - slot.started, 6),
                "seconds": round(now - request.arrived, 6),
            }
        )
        self._free(slot)

    def _free(self, slot: Slot) -> None:
        if slot.chain is not None:
            self._model.free_sampler(slot.chain)
        slot.chain = slot.request = slot.next = slot.constraint = None
        slot.output = -1
        slot.used = time.monotonic()

    def compute_alone(self, request: Alone) -> None:
        """Answer a request. What the slots hold is given up; nothing may be running (`idle`)."""
        fault = request.fault(self._model.context, self._model.vocabulary)
        if fault is None:
            for slot in self._slots:
                slot.held = []
            self._model.forget_all()
            try:
                self._send({"id": request.number, **request.result(self._model, self._batch)})
            except ServingError as error:
                fault = ("decode_failed", error.message)
            finally:
                self._batch.clear()
                self._model.forget_all()
        if fault is not None:
            self._send({"type": "error", "id": request.number, "code": fault[0], "message": fault[1]})

    # When it does not fit

    def _drop_idle(self) -> bool:
        """Give up what idle slots still hold; whether that freed anything."""
        dropped = False
        for slot in self._slots:
            if slot.request is None and slot.held:
                self._model.forget(slot.number)
                slot.held = []
                dropped = True
        return dropped

    def _fault(self, status: int) -> None:
        """A batch could not be computed: its requests fail, the engine goes on with an empty memory."""
        for slot in self._slots:
            if slot.request is not None:
                self._refuse(slot.request, "decode_failed", f"llama_decode gave {status}")
                self._free(slot)
            slot.held = []
        self._model.forget_all()
