"""Questions and answers written by a local model with the passage at hand, in an engine process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from appliance import model_file, storage
from appliance.base_model import EMBEDDED, embedded_gguf
from appliance.dataset.pairs.passages import Passage
from appliance.dataset.pairs.sentences import content_words, is_sentence, stands_alone
from appliance.dataset.pairs.topics import document_title, place_of
from appliance.dataset.pairs.written import WrittenStore
from appliance.errors import ModelError
from appliance.paths import Project
from appliance.serving.engine_client import Completion, Engine, Sampling

BASE = "base"
_OPENING = "Question:"
_SAMPLING = Sampling(max_tokens=96, temperature=0.0, stop=("\n\n", "\nQuestion:", "\nText:"))
_SLOTS = 4
_LEAST_WORDS = 5  # of content in a sentence that is worth a question
_MOST_TEXT = 500  # characters of the passage before the sentence: enough to know what it speaks of
# Turns of a chat: a small model copies an example that stands in its instruction, and goes on with a chat's form.
_EXAMPLES = (
    (
        'From "Museum handbook":\nText: The lamp room closes at 22:30 on weekdays, and the last visitor hands the '
        "key to the warden.",
        "Question: Who gets the key of the lamp room from the last visitor?\nAnswer: The warden gets the key.",
    ),
    (
        'From "Bread": "Rye":\nText: Rye dough is sticky because its pentosans hold water, so it is shaped wet.',
        "Question: Why is rye dough sticky?\nAnswer: Its pentosans hold water.",
    ),
    (
        'From "Tram line 4":\nText: A driver who passes a red signal must stop the tram at once and call the '
        "control centre.",
        "Question: What must a driver do after passing a red signal?\n"
        "Answer: Stop the tram at once and call the control centre.",
    ),
)
_TASK = "Write one question that the text answers, naming what it is about, and the answer in the text's own words."


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
    model_file.check(found)
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


def prompt_for(passage: Passage, sentence: str) -> list[dict[str, str]]:
    """What the model is asked, as a chat: examples, then a sentence with what stands before it in the passage."""
    before = " ".join(passage.text.split()).partition(sentence)[0].strip()
    cut = before[-_MOST_TEXT:]
    context = cut.partition(". ")[2] if len(before) > _MOST_TEXT else cut
    place = place_of(passage)
    where = f'"{document_title(passage)}"' + (f': "{place}"' if place else "")
    turns = [{"role": "system", "content": _TASK}]
    for asked, written in _EXAMPLES:
        turns += [{"role": "user", "content": asked}, {"role": "assistant", "content": written}]
    begin = f"Before it: {context}\n" if context else ""
    return [*turns, {"role": "user", "content": f"From {where}:\n{begin}Text: {sentence}"}]


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

    def _key(self, prompt: Sequence[dict[str, str]]) -> str:
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

    def _write(self, prompts: Sequence[list[dict[str, str]]], tell: Callable[[int], None]) -> None:
        """Ask for what isn't there yet; each answer is kept as it comes."""
        keyed = {self._key(prompt): prompt for prompt in prompts}
        waiting = {key: prompt for key, prompt in keyed.items() if self._store.get(key) is None}
        tell(len(prompts) - len(waiting))
        if not waiting:
            return
        engine = self._running()
        opening = engine.tokenize(_OPENING)
        tokens = {}
        for key, prompt in waiting.items():
            asked = [*engine.render(prompt), *opening]
            if len(asked) + _SAMPLING.max_tokens > self._context:
                self._store.put(key, ("", "too-long"))
                tell(1)
            else:
                tokens[key] = asked
        keys = list(tokens)

        def done(number: int, answer: Completion) -> None:
            self._store.put(keys[number], (answer.text, answer.finish))
            tell(1)

        engine.complete_many(list(tokens.values()), _SAMPLING, done)

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
            (passage, prompt_for(passage, sentence))
            for passage in found
            for sentence in sentences_to_ask(passage, count)
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
