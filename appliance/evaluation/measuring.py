"""Measuring a project from its files to its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.dataset import AnswerSchema, Row, counter, load_card, read_rows
from appliance.errors import EvaluationError
from appliance.evaluation import golden, report
from appliance.evaluation.answers import Answer, AnswerStore
from appliance.evaluation.asking import ask, slots_for
from appliance.evaluation.auditing.gates import Verdict
from appliance.evaluation.auditing.standing import canary_verdicts, write_gates
from appliance.evaluation.certainty import compare
from appliance.evaluation.holding import Held, held_to, schema_of
from appliance.evaluation.results import (
    EvaluationResult,
    expected_values,
    field_scores,
    score_answers,
    summarise,
)
from appliance.evaluation.scorers import RowScore
from appliance.evaluation.systems import SHIPPED, System, plan_systems
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.serving.engine_client import Engine, Sampling

STAGE = "evaluate"
_CONTEXT_STEP = 256  # tokens


class _Progress:
    """Tells how far the whole measuring is."""

    def __init__(self, emit: Emit, total: int) -> None:
        self._emit, self._total, self._done = emit, total, 0
        self.title = ""

    def tell(self) -> None:
        self._emit(Event(STAGE, "progress", self.title, done=self._done, total=self._total, unit="answers"))

    def answered(self, _answer: Answer, _known: bool) -> None:
        self._done += 1
        self.tell()


def context_for(system: System, rows: Sequence[Row], checkpoint: Path, max_tokens: int) -> int:
    """Tokens that the longest prompt and its answer need, rounded up."""
    count = counter(checkpoint)
    # Counted without the opening of the answer's turn, which is a few tokens.
    longest = max(count([system.prompt(row) for row in rows])) + 16 + max_tokens
    return -(-longest // _CONTEXT_STEP) * _CONTEXT_STEP


def _speeds(answers: dict[str, list[Answer]]) -> dict[str, dict[str, float]]:
    """Kept apart from the results: a speed differs from run to run, and a release's digest must not."""
    speeds = {}
    for key, given in answers.items():
        seconds = sum(answer.wall for answer in given)
        tokens = sum(answer.completion_tokens for answer in given)
        prompt = sum(answer.prompt_tokens for answer in given)
        speeds[key] = {
            "seconds": round(seconds, 2),
            "tokens_per_second": round(tokens / seconds, 1) if seconds else 0.0,
            "prompt_tokens": prompt,
            "completion_tokens": tokens,
        }
    return speeds


def _test_rows(project: Project) -> list[Row]:
    rows = sorted(read_rows(project.dataset / "test.jsonl"), key=lambda row: row.id)
    if not rows:
        raise EvaluationError(
            f"{project.dataset / 'test.jsonl'}: no rows", "give more examples; a tenth is kept to test"
        )
    limit = project.config.evaluation.max_rows
    return rows[:limit] if limit else rows


@dataclass(frozen=True)
class _Asked:
    """What the systems answered: by system, in the order of the rows; what becomes golden; the canaries' gate."""

    answers: dict[str, list[Answer]]
    scores: dict[str, list[RowScore]]
    golden: list[dict[str, Any]]
    verdicts: list[Verdict]


def _ask_all(
    project: Project,
    systems: Sequence[System],
    rows: Sequence[Row],
    expected: Sequence[Any],
    schema: AnswerSchema | None,
    held: Held,
    checkpoint: Path,
    threads: int,
    emit: Emit,
) -> _Asked:
    """Ask every system every row, in an engine of its own; what was answered before isn't asked again."""
    settings = project.config.evaluation
    progress = _Progress(emit, len(systems) * len(rows))
    asked = _Asked({}, {}, [], [])
    with AnswerStore(project.evaluation / "answers.jsonl") as store:
        for system in systems:
            progress.title = system.title
            progress.tell()
            grammar = "" if system.free else held.grammar
            sampling = Sampling(max_tokens=settings.max_tokens, temperature=0.0, grammar=grammar)
            context = context_for(system, rows, checkpoint, settings.max_tokens)
            with Engine(
                system.file.path,
                slots=slots_for(context, len(rows)),
                context=context,
                threads=threads,
                log=project.evaluation / "engine.log",
            ) as engine:
                given = ask(engine, system, rows, sampling, store, progress.answered, progress.tell)
                scores = score_answers(expected, given, settings.scorer, schema.fault if schema else None)
                asked.answers[system.key], asked.scores[system.key] = given, scores
                if system.key == SHIPPED:
                    chosen = golden.candidates(rows, given, scores)
                    asked.golden.extend(
                        golden.record(engine, chosen, project.config.release.golden, sampling)
                    )
                    asked.verdicts.extend(canary_verdicts(project, engine, system, store))
        store.keep_only([answer for given in asked.answers.values() for answer in given])
    return asked


def _result(
    project: Project,
    systems: Sequence[System],
    rows: Sequence[Row],
    expected: Sequence[Any],
    held: Held,
    asked: _Asked,
) -> EvaluationResult:
    """Scores to what results.json holds."""
    scorer, answers, scores = project.config.evaluation.scorer, asked.answers, asked.scores
    fields, confusions = field_scores(expected, answers[SHIPPED]) if scorer == "json" else ([], [])
    ours = [score.exact for score in scores[SHIPPED]]
    return EvaluationResult(
        project=project.config.project.name,
        version=project.config.project.version,
        dataset=load_card(project.dataset).digest,
        rows=len(rows),
        scorer=scorer,
        systems=[summarise(system, scores[system.key], answers[system.key], scorer) for system in systems],
        comparisons=[
            compare(ours, [score.exact for score in scores[system.key]], system.key)
            for system in systems
            if system.key != SHIPPED
        ],
        fields=fields,
        confusions=confusions,
        shipped=SHIPPED,
        held_to=held.schema,
    )


def _write(project: Project, result: EvaluationResult, rows: Sequence[Row], asked: _Asked) -> None:
    """The report and the data behind it; results.json last, since it says that the rest is there."""
    curve = project.training / "curve.svg"
    page = report.render(
        result,
        report.cases(rows, asked.answers, asked.scores),
        curve.read_text(encoding="utf-8") if curve.is_file() else "",
        project.config.project.description,
    )
    storage.write_json(project.evaluation / "speed.json", _speeds(asked.answers))
    storage.write_json(project.evaluation / "golden.json", asked.golden)
    storage.write_text(project.evaluation / "report.html", page)
    write_gates(project, result, asked.verdicts)
    storage.write_json(project.evaluation / "results.json", result.to_json())


def evaluate(
    project: Project, emit: Emit, *, checkpoint: Path | None = None, threads: int = 0
) -> EvaluationResult:
    """Measure the shipped file and what it is compared with on the test split.

    Answers are kept as they come; a run that was stopped goes on where it was, and what hasn't changed isn't
    asked again. Writes answers.jsonl, speed.json, golden.json, report.html, gates.json and, last, results.json
    to build/evaluation.

    Args:
        project: with its dataset and its converted files in place.
        emit: gets a progress event an answer, and one every few seconds while none comes.
        checkpoint: the base's folder; resolved from the configuration when not given.
        threads: CPU threads of the engine; 0: all that this process may use.

    Raises:
        EvaluationError: a file is missing, or the test rows don't suit the scorer.
        ServingError: the engine can't load a file or has died.
    """
    rows, train = _test_rows(project), read_rows(project.dataset / "train.jsonl")
    expected = expected_values(rows, project.config.evaluation.scorer)
    schema = schema_of(project)
    if checkpoint is None:
        from appliance.base_model import resolve

        checkpoint = resolve(project.config.base.path, project.root, emit)
    systems = plan_systems(project, checkpoint, train, schema.value if schema else None, emit)
    project.evaluation.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(project.evaluation)
    (project.evaluation / "results.json").unlink(missing_ok=True)
    emit(Event(STAGE, "started", f"asking {len(systems)} systems {len(rows)} test rows"))
    began = time.monotonic()
    held = held_to(project, schema, train, emit)
    asked = _ask_all(project, systems, rows, expected, schema, held, checkpoint, threads, emit)
    result = _result(project, systems, rows, expected, held, asked)
    if len(asked.golden) < project.config.release.golden:
        text = (
            f"only {len(asked.golden)} answers ended by themselves and were clear enough to come out the same on "
            "another CPU; golden prompts are few"
        )
        emit(Event(STAGE, "warning", text))
    _write(project, result, rows, asked)
    shipped = result.systems[-1]
    text = f"{shipped.title}: {shipped.exact.share:.1%} exact on {result.rows} rows"
    emit(Event(STAGE, "finished", text, data={"seconds": time.monotonic() - began, **result.to_json()}))
    return result
