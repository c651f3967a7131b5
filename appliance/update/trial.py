"""Trying a release before the device switches: header, chat template, loading, golden prompts.

Template and model are tried in child processes without network or write access, each within a time.
"""

from __future__ import annotations

import contextlib
import difflib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import confinement, storage
from appliance.errors import AnchorholdError, ModelError, UpdateError
from appliance.events import Emit, Event
from appliance.registry import manifest as manifests
from appliance.trust import limits
from appliance.update import template_trial
from appliance.visible import visible

if TYPE_CHECKING:
    from appliance.serving.engine_client import Engine

GOLDEN_TOKENS = 1024  # an answer that is longer isn't the recorded one
LOAD_SECONDS = 120.0  # and one more for each SLOWEST bytes of the model
SLOWEST = 8 * limits.MIB
ANSWER_SECONDS = 120.0  # and one more for each token that an answer may have
_DIFFERENCE_LINES = 40
_HINT = "the old release goes on serving; report this to whoever made the stick"


class WrongAnswerError(UpdateError):
    """A golden prompt was answered otherwise than signed: trying again won't help."""


class Deadline(threading.Event):
    """An event that is also set once its time has come.

    Args:
        seconds: until then.
        other: set earlier, it counts too.
    """

    def __init__(self, seconds: float, other: threading.Event | None = None) -> None:
        super().__init__()
        self._end = time.monotonic() + seconds
        self._other = other

    @property
    def passed(self) -> bool:
        """Whether the time has come."""
        return time.monotonic() >= self._end

    def is_set(self) -> bool:
        """Whether to stop waiting."""
        return super().is_set() or self.passed or (self._other is not None and self._other.is_set())


def load_seconds(model: Path) -> float:
    """How long loading `model` may take, even from a slow disk."""
    return LOAD_SECONDS + model.stat().st_size / SLOWEST


def check_header(model: Path, manifest: manifests.Manifest) -> None:
    """Read the model's header within our own limits, before anything else opens the file; try its chat template.

    Raises:
        UpdateError: damaged, hostile, or not what llama.cpp can serve; or a template that isn't the signed one,
            isn't valid, or doesn't keep within its limits.
    """
    from appliance import model_file

    try:
        header = model_file.check(model)
    except ModelError as error:
        raise UpdateError(f"the release's model is refused: {error.message}", _HINT) from error
    template = header.get("tokenizer.chat_template")
    signed = manifest.raw.get("chat_template_sha256")
    text = template if isinstance(template, str) else ""
    if signed is not None and storage.sha256_bytes(text.encode()) != signed:
        raise UpdateError("the model's chat template isn't the signed one", "ask for the release again")
    if text:
        tokens = header.get("tokenizer.ggml.tokens", [])

        def token(which: str) -> str:
            number = header.get(f"tokenizer.ggml.{which}_token_id", -1)
            return str(tokens[number]) if 0 <= number < len(tokens) else ""

        golden = [item["messages"] for item in manifest.raw.get("golden", [])]
        template_trial.check(text, golden, token("bos"), token("eos"))


def template_difference(old: Path, new: Path) -> list[str]:
    """How the chat template of the model `new` differs from that of `old`; empty where it doesn't.

    Raises:
        ModelError: a header can't be read.
    """
    from appliance import model_file

    before, after = (
        str(model_file.read_header(path).get("tokenizer.chat_template", "")).splitlines()
        for path in (old, new)
    )
    lines = list(difflib.unified_diff(before, after, "active", "new", lineterm="", n=1))
    if len(lines) > _DIFFERENCE_LINES:
        lines = [*lines[:_DIFFERENCE_LINES], f"({len(lines) - _DIFFERENCE_LINES} more lines)"]
    return [visible(line, 200) for line in lines]


@contextlib.contextmanager
def _ended_after(engine: Engine, seconds: float) -> Iterator[threading.Event]:
    """Ends `engine` when the time is over; the event that comes tells whether it did."""
    over = threading.Event()

    def end() -> None:
        over.set()
        engine.close()

    timer = threading.Timer(seconds, end)
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()
        if over.is_set():
            timer.join()


def ask_golden(engine: Engine, raw: dict[str, Any], emit: Emit) -> None:
    """Ask a running engine the golden prompts of a parsed release.json; the recorded answers must come.

    Raises:
        WrongAnswerError: an answer differs.
        AnchorholdError: it ends, or doesn't answer in time (it is ended then).
    """
    from appliance.serving.sampling import Sampling
    from appliance.serving.schema_grammar import grammar_of

    golden, schema = raw.get("golden", []), manifests.schema_of(raw)
    grammar = "" if schema is None else grammar_of(schema)
    for index, item in enumerate(golden):
        asked = f"golden prompt {index + 1} of {len(golden)}"
        emit(Event("install", "message", asked))
        limit = item.get("max_tokens", GOLDEN_TOKENS)
        with _ended_after(engine, ANSWER_SECONDS + limit) as over:
            try:
                tokens = engine.render(item["messages"])
                said = engine.complete(tokens, Sampling(max_tokens=limit, grammar=grammar))
            except AnchorholdError as error:
                if over.is_set():
                    raise UpdateError(
                        f"{asked}: no answer in {ANSWER_SECONDS + limit:.0f} s", _HINT
                    ) from error
                raise
        if said.text != item["answer"]:
            raise WrongAnswerError(f"{asked}: not the answer that was signed: {said.text[:80]!r}", _HINT)
        emit(Event("trial", "progress", asked, done=index + 1, total=len(golden), unit="prompts"))


def golden_check(model: Path, manifest: manifests.Manifest, emit: Emit) -> None:
    """Load `model` once in a confined child process and ask the golden prompts; the recorded answers must come.

    Raises:
        UpdateError: it doesn't load or answer in time, its chat template isn't the signed one, or an answer differs.
    """
    from appliance.serving.engine_client import Engine

    template = manifest.raw.get("chat_template_sha256")
    context = manifests.context_of(manifest.raw)
    deadline = Deadline(load_seconds(model))
    if not confinement.possible():
        text = "this machine can't confine the trial: the new model is loaded with limits of time alone"
        emit(Event("trial", "warning", text))
    try:
        with Engine(model, slots=1, context=context, give_up=deadline, confined=True) as engine:
            if template is not None and storage.sha256_bytes(engine.info.chat_template.encode()) != template:
                raise UpdateError(
                    "the model's chat template isn't the signed one", "ask for the release again"
                )
            ask_golden(engine, manifest.raw, emit)
    except UpdateError:
        raise
    except AnchorholdError as error:
        if deadline.passed and "stopped while loading" in error.message:
            raise UpdateError(f"the release isn't loaded after {load_seconds(model):.0f} s", _HINT) from error
        raise UpdateError(f"the release can't be loaded: {error.message}", error.hint) from error
