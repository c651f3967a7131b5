"""Questions and answers written by a local model with the passage at hand, in an engine process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from appliance import storage
from appliance.base_model import EMBEDDED, embedded_gguf
from appliance.dataset.pairs.passages import Passage
from appliance.dataset.pairs.sentences import content_words, is_sentence, stands_alone
from appliance.dataset.pairs.topics import document_title
from appliance.dataset.pairs.written import WrittenStore
from appliance.errors import ModelError
from appliance.paths import Project
from appliance.serving.engine_client import Completion, Engine, Sampling

BASE = "base"
_OPENING = "Question:"
_SAMPLING = Sampling(max_tokens=120, temperature=0.0, stop=("\n\n", "\nQuestion:", "\nText:", "\nSentence:"))
_SLOTS = 4
_LEAST_WORDS = 5  # of content in a sentence that is worth a question
# The example's own words must not be a subject that people's documents are likely to share.
_EXAMPLE = (
    "Sentence: The lamp room closes at 22:30 on weekdays, and the last visitor hands the key to the warden.\n\n"
    "Question: When does the lamp room close on weekdays?\nAnswer: It closes at 22:30."
)


@dataclass(frozen=True)
class WrittenPair:
    """What the model wrote of one sentence of a passage; unchecked."""

    passage: Passage
    question: str
    answer: str
    ended: bool


def writer_model(project: Project) -> Path:
    """The GGUF that `[dataset.pairs] writer` names.

    Raises:
        ModelError: no such file, or the base isn't a GGUF.
    """
    writer = project.config.dataset.pairs.writer
    path = project.config.base.path if writer == BASE else writer
    if writer == BASE and path == EMBEDDED:
        return embedded_gguf()
    found = (project.root / Path(path).expanduser()).resolve()
    if found.is_dir() or (found.is_file() and found.suffix.lower() != ".gguf"):
        raise ModelError(
            f"{found}: no GGUF, and that is what writes pairs", "set [dataset.pairs] writer to a .gguf file"
        )
    if not found.is_file():
        raise ModelError(
            f"{found}: no such model", "set [dataset.pairs] writer to a .gguf file, or to `base`"
        )
    return found


def sentences_to_ask(passage: Passage, count: int) -> list[str]:
    """The sentences of a passage that say most and can be read by themselves, in the order of the text."""
    found = [
        (len(content_words(sentence)), -place, sentence)
        for place, sentence in enumerate(passage.prose)
        if is_sentence(sentence)
        and stands_alone(sentence)
        and 30 <= len(sentence) <= 300
        and not sentence.endswith("?")
    ]
    best = sorted((each for each in found if each[0] >= _LEAST_WORDS), reverse=True)[:count]
    return [sentence for _, _, sentence in sorted(best, key=lambda each: -each[1])]


def prompt_for(passage: Passage, sentence: str) -> str:
    """What the model is asked: the passage, and the sentence that the question is to be about."""
    return (
        "Write one question that the sentence answers, and its answer in the sentence's own words. Name what it is "
        f"about, so that the question can be understood without the text.\n\nExample.\n{_EXAMPLE}\n\nNow yours.\n"
        f'Text, from "{document_title(passage)}":\n{passage.text}\n\nSentence: {sentence}'
    )


def parsed(text: str) -> tuple[str, str]:
    """(question, answer) of what was written after the opening; empty where it has not that form."""
    question, mark, answer = text.partition("\nAnswer:")
    if not mark:
        return " ".join(text.split()), ""
    return " ".join(question.split()), " ".join(answer.split("\n\n")[0].split())


class Writer:
    """The model, loaded when something is asked that it has not written before; a context manager.

    Args:
        model: a GGUF.
        store: where what was written is kept.
        context: tokens of a prompt and its answer.
        log: the engine's log.
    """

    def __init__(self, model: Path, store: Path, context: int, log: Path) -> None:
        self._model = model
        self._identity = storage.sha256_file(model)
        self._store = WrittenStore(store)
        self._context = context
        self._log = log
        self._engine: Engine | None = None

    def _key(self, prompt: str) -> str:
        asked = {
            "model": self._identity,
            "prompt": prompt,
            "opening": _OPENING,
            "sampling": _SAMPLING.to_json(),
        }
        return storage.sha256_json(asked)

    def _running(self) -> Engine:
        if self._engine is None:
            self._engine = Engine(self._model, slots=_SLOTS, context=self._context, log=self._log)
        return self._engine

    def _write(self, prompts: Sequence[str], tell: Callable[[int], None]) -> None:
        """Ask for what isn't there yet; each answer is kept as it comes."""
        waiting = list(
            dict.fromkeys(prompt for prompt in prompts if self._store.get(self._key(prompt)) is None)
        )
        tell(len(prompts) - len(waiting))
        if not waiting:
            return
        engine = self._running()
        tokens = []
        fitting = []
        opening = engine.tokenize(_OPENING)
        for prompt in waiting:
            asked = [*engine.render([{"role": "user", "content": prompt}]), *opening]
            if len(asked) + _SAMPLING.max_tokens > self._context:
                self._store.add(self._key(prompt), "", "too-long")
                tell(1)
                continue
            tokens.append(asked)
            fitting.append(prompt)

        def done(number: int, answer: Completion) -> None:
            self._store.add(self._key(fitting[number]), answer.text, answer.finish)
            tell(1)

        engine.complete_many(tokens, _SAMPLING, done)

    def write(
        self, found: Sequence[Passage], count: int, tell: Callable[[int], None]
    ) -> Iterator[WrittenPair]:
        """Up to `count` questions with answers a passage, in the order of the passages.

        Args:
            found: passages; asked side by side, so not too many at once.
            count: sentences of each that are asked about.
            tell: called with how many more are done.

        Raises:
            ModelError: the model can't be loaded or has no chat template.
            ServingError: the engine died; run again to go on.
        """
        asked = [
            (passage, prompt_for(passage, one))
            for passage in found
            for one in sentences_to_ask(passage, count)
        ]
        self._write([prompt for _, prompt in asked], tell)
        for passage, prompt in asked:
            text, finish = self._store.get(self._key(prompt)) or ("", "")
            yield WrittenPair(passage, *parsed(text), ended=finish == "stop")

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._store.__exit__(kind, error, traceback)
        if self._engine is not None:
            self._engine.close()
