"""The file that ships beside its 16-bit file: whole distributions from two engines, compared and kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.conversion import as_data, file_settings, inputs_digest, ships, write_gguf
from appliance.errors import EvaluationError
from appliance.evaluation.auditing.likelihoods import encode
from appliance.evaluation.auditing.outputs import MOST_PLACES, distributions
from appliance.evaluation.auditing.running import Outcome, words_of_error
from appliance.evaluation.scoring import SCORERS, Compared, FidelityScorer, compared
from appliance.evaluation.suite import Case, Suite
from appliance.evaluation.systems import ModelFile, converted, tuned_file
from appliance.events import Emit
from appliance.kept_lines import KeptLines
from appliance.paths import Project
from appliance.serving.engine_client import Engine


@contextlib.contextmanager
def full_file(project: Project, checkpoint: Path, emit: Emit) -> Iterator[ModelFile]:
    """The tuned model in 16 bits: the project's own file, else one that is made here and goes again.

    Raises:
        EvaluationError: the adapter isn't the one that the converted files were made of.
        ConversionError: there is no adapter to make it of.
    """
    if project.gguf("F16").is_file():
        yield tuned_file(project, "F16")
        return
    settings = file_settings(project)
    if converted(project).get("inputs") != inputs_digest(project, checkpoint):
        raise EvaluationError(
            f"{project.adapter}: not what {ships(project).type} was made of; base, adapter or settings changed since",
            "convert again with `anchorhold convert`",
        )
    # A name that the next audit removes, should this one be killed.
    path = project.audit / ".full-f16.gguf.part"
    try:
        written = write_gguf(checkpoint, path, **settings, quantization="F16", emit=emit)
        bits = float(as_data(written)["bits_per_weight"])
        yield ModelFile(path, written.sha256, written.bytes, bits, project.gguf("F16").name)
    finally:
        path.unlink(missing_ok=True)


def _parsed(value: Any) -> tuple[str, Compared]:
    return str(value["key"]), Compared(float(value["kl"]), int(value["same"]), int(value["places"]))


class FidelityStore(KeptLines[Compared]):
    """fidelity.jsonl: a line a case."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, _parsed, lambda key, found: {"key": key, **asdict(found)})


class Comparer:
    """Compares two engines of one model, from the store where that was done before.

    Args:
        ours, full: engines of the file that ships and of its 16-bit file.
        files: their digests, in that order.
        store: where what was found is kept.
        tell: called with a suite's name and the number of cases done since the last call.
    """

    def __init__(
        self,
        ours: Engine,
        full: Engine,
        files: tuple[str, str],
        store: FidelityStore,
        tell: Callable[[str, int], None],
    ) -> None:
        self._ours, self._full, self._files, self._store, self._tell = ours, full, files, store, tell

    def run(self, suites: Sequence[Suite]) -> dict[str, Outcome]:
        """By suite's name; a case that can't be compared is named, and the rest runs.

        Raises:
            ServingError: an engine has ended; run again to go on.
        """
        outcomes = {suite.name: Outcome(suite) for suite in suites}
        for outcome in outcomes.values():
            scorer = SCORERS[outcome.suite.scorer]
            assert isinstance(scorer, FidelityScorer)
            for case in outcome.suite.cases:
                try:
                    found = self._compared(case, outcome.suite, scorer)
                    outcome.scores[case.id] = scorer.score(case, outcome.suite, found)
                except Exception as error:  # named, and the rest runs
                    if not (self._ours.alive and self._full.alive):
                        raise
                    outcome.fault(case, f"can't be compared: {words_of_error(error)}")
                self._tell(outcome.suite.name, 1)
        return outcomes

    def _compared(self, case: Case, suite: Suite, scorer: FidelityScorer) -> Compared:
        tokens, start = encode(self._ours, scorer.text(case, suite))
        tokens = tokens[: start + MOST_PLACES]
        what = {"files": self._files, "engine": self._ours.info.build, "tokens": tokens, "start": start}
        key = storage.sha256_json(what)
        known = self._store.get(key)
        if known is None:
            known = compared(
                distributions(self._full, tokens, start), distributions(self._ours, tokens, start)
            )
            self._store.put(key, known)
        return known
