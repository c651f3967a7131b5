"""Likelihoods asked of the engine, and kept: texts to tokens as lm-evaluation-harness does, long texts in windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from appliance import chat_template, storage
from appliance.errors import ModelError
from appliance.evaluation.scoring import Continuation
from appliance.kept_lines import KeptLines
from appliance.serving.engine_client import Engine, Likelihood

Sequence1 = tuple[list[int], int]
"""Token ids, and where the scored ones begin."""


def _parsed(value: Any) -> tuple[str, list[Likelihood]]:
    return str(value["key"]), [Likelihood(*score) for score in value["scores"]]


def _line(key: str, scores: list[Likelihood]) -> dict[str, Any]:
    return {"key": key, "scores": [[each.logprob, each.tokens, each.greedy] for each in scores]}


class LikelihoodStore(KeptLines[list[Likelihood]]):
    """likelihoods.jsonl: a line a request."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parsed, _line)


class TooLong(Exception):  # noqa: N818 - a reason for one case, not a fault of the program
    """A text that the engine's context has no room for."""


def encode(engine: Engine, continuation: Continuation) -> Sequence1:
    """The tokens of a context and its continuation, and where the latter begins.

    Both are tokenized as one text, and blanks at the context's end go with the continuation; without a context the
    model's begin token (or, without one, its end token) stands before the text.
    """
    context, text = continuation.context, continuation.text
    if not isinstance(context, str):
        if not engine.info.chat_template:
            raise ModelError(f"{engine.model.name}: the file has no chat template", "convert it again")
        context = chat_template.render(
            engine.info.chat_template,
            context,
            add_generation_prompt=True,
            bos=engine.info.bos,
            eos=engine.info.eos,
        )
    elif not context.strip():
        tokens = engine.tokenize(context + text)
        if not engine.info.adds_bos:
            tokens = engine.tokenize(engine.info.bos or engine.info.eos)[:1] + tokens
        return tokens, 1
    else:
        bare = context.rstrip(" ")
        context, text = bare, context[len(bare) :] + text
    whole = engine.tokenize(context + text)
    return whole, min(len(engine.tokenize(context)), len(whole) - 1)


def windows(tokens: Sequence[int], room: int) -> Iterator[Sequence1]:
    """A long text cut so that each token but the first is scored once, with as much before it as fits.

    Args:
        tokens: with the begin token before them.
        room: tokens that are read at a time.
    """
    scored, total = 0, len(tokens) - 1
    while scored < total:
        count = min(room, total - scored)
        end = scored + count + 1
        begin = max(0, end - room - 1)
        yield list(tokens[begin:end]), end - begin - count
        scored += count


class Asker:
    """Asks one engine, from the store where it was asked before.

    Args:
        engine: with the system's file loaded.
        file_sha256: of that file.
        store: where what was found is kept.
    """

    def __init__(self, engine: Engine, file_sha256: str, store: LikelihoodStore) -> None:
        self._engine, self._file, self._store = engine, file_sha256, store

    def _ask(self, sequences: list[Sequence1]) -> list[Likelihood]:
        tokens, starts = [entry[0] for entry in sequences], [entry[1] for entry in sequences]
        info = self._engine.info
        what: dict[str, Any] = {"tokens": tokens, "starts": starts}
        key = storage.sha256_json({"file": self._file, "engine": info.build, "slots": info.slots, **what})
        known = self._store.get(key)
        if known is None:
            known = self._engine.score(tokens, starts)
            self._store.put(key, known)
        return known

    def likelihoods(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
        """One for each; all of a case are one request.

        Raises:
            TooLong: one doesn't fit, and isn't a whole text that can be cut.
            ServingError: the engine has ended.
        """
        sequences = [encode(self._engine, each) for each in continuations]
        room = self._engine.info.context
        longest = max(len(tokens) for tokens, _ in sequences)
        if longest - 1 <= room:
            return self._ask(sequences)
        if len(sequences) > 1 or sequences[0][1] != 1:
            raise TooLong(f"{longest} tokens; the audit's context has room for {room}")
        parts = [self._ask([window])[0] for window in windows(sequences[0][0], room)]
        return [
            Likelihood(
                sum(part.logprob for part in parts),
                sum(part.tokens for part in parts),
                all(part.greedy for part in parts),
            )
        ]
