"""Answers and references embedded by the file that ships, whoever gave the answers: one yardstick for all systems."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from appliance import storage
from appliance.evaluation.auditing.outputs import Floats, embeddings
from appliance.evaluation.auditing.running import Outcome, words_of_error
from appliance.evaluation.scoring import SCORERS, EmbeddingScorer, Likeness, Said
from appliance.evaluation.suite import Case, Suite
from appliance.kept_lines import KeptLines
from appliance.serving.engine_client import Engine

_AT_ONCE = 32  # texts


def by_meaning(suite: Suite) -> bool:
    """Whether a suite's answers are scored by their embeddings, after all systems have answered."""
    return isinstance(SCORERS[suite.scorer], EmbeddingScorer)


def _parsed(value: Any) -> tuple[str, Floats]:
    return str(value["key"]), np.frombuffer(base64.b64decode(value["vector"]), "<f4")


def _line(key: str, vector: Floats) -> dict[str, Any]:
    return {"key": key, "vector": base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")}


class EmbeddingStore(KeptLines[Floats]):
    """embeddings.jsonl: a line a text."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parsed, _line)


class Meaning:
    """Embeds texts, from the store where that was done before.

    Args:
        engine: of the file that ships.
        file_sha256: of that file.
        store: where what was found is kept.
    """

    def __init__(self, engine: Engine, file_sha256: str, store: EmbeddingStore) -> None:
        self._engine, self._file, self._store = engine, file_sha256, store

    def _directions(self, texts: Sequence[str]) -> dict[str, Floats]:
        """By text: its embedding as a vector of length 1; of length 0 where the text is empty."""
        wanted = list(dict.fromkeys(texts))
        keys = {
            text: storage.sha256_json({"file": self._file, "engine": self._engine.info.build, "text": text})
            for text in wanted
        }
        missing = [text for text in wanted if self._store.get(keys[text]) is None]
        for at in range(0, len(missing), _AT_ONCE):
            part = missing[at : at + _AT_ONCE]
            for text, made in zip(part, embeddings(self._engine, part), strict=True):
                self._store.put(keys[text], made)
        found: dict[str, Floats] = {}
        for text in wanted:
            vector = self._store.get(keys[text])
            assert vector is not None
            length = float(np.linalg.norm(vector))
            found[text] = vector / np.float32(length) if length else vector
        return found

    def score(self, suite: Suite, outcomes: Mapping[str, Outcome]) -> None:
        """Put the scores of a suite into every system's outcome; cases that can't be scored are named.

        Args:
            suite: with all its cases: their references are what a pairing is shuffled with.
            outcomes: by system's key, with the answers in `said`.

        Raises:
            ServingError: the engine has ended; run again to go on.
        """
        scorer = SCORERS[suite.scorer]
        assert isinstance(scorer, EmbeddingScorer)
        references = [text for case in suite.cases for text in case.texts("reference")]
        answers = [said[0] for outcome in outcomes.values() for said in outcome.said.values()]
        directions = self._directions([*references, *answers])
        for outcome in outcomes.values():
            for case in outcome.suite.cases:
                if case.id in outcome.said:
                    self._one(case, suite, scorer, outcome, directions)

    def _one(
        self,
        case: Case,
        suite: Suite,
        scorer: EmbeddingScorer,
        outcome: Outcome,
        directions: Mapping[str, Floats],
    ) -> None:
        text = outcome.said[case.id][0]
        own = set(case.texts("reference"))
        shuffled = {ref for other in suite.cases for ref in other.texts("reference")} - own
        if not shuffled:
            outcome.fault(case, "no case has another reference: likeness can't be calibrated")
            return
        try:
            found = Likeness(
                max(_cosine(directions, text, ref) for ref in own),
                tuple(_cosine(directions, text, ref) for ref in sorted(shuffled)),
            )
            outcome.scores[case.id] = scorer.score(case, suite, [Said(text)], found)
        except Exception as error:  # named, and the rest runs
            outcome.fault(case, f"the scorer {suite.scorer} failed: {words_of_error(error)}")


def _cosine(directions: Mapping[str, Floats], one: str, other: str) -> float:
    first, second = directions[one], directions[other]
    return float(first @ second) if first.shape == second.shape else 0.0
