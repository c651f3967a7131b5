"""Measuring a project from its files to its report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from appliance import storage
from appliance.dataset import AnswerSchema, Row, counter, load_card, read_rows
from appliance.errors import EvaluationError
from appliance.evaluation import golden, report
from appliance.evaluation.answers import Answer, AnswerStore
from appliance.evaluation.asking import ask, slots_for
from appliance.evaluation.certainty import compare
from appliance.evaluation.results import (
    EvaluationResult,
    expected_values,
    field_scores,
    score_answers,
    summarise,
)
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


def _context(system: System, rows: Sequence[Row], checkpoint: Path, max_tokens: int) -> int:
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


def evaluate(
    project: Project, emit: Emit, *, checkpoint: Path | None = None, threads: int = 0
) -> EvaluationResult:
    """Measure the shipped file and what it is compared with on the test split.

    Answers are kept as they come; a run that was stopped goes on where it was, and what hasn't changed isn't
    asked again. Writes answers.jsonl, speed.json, golden.json, report.html and, last, results.json to
    build/evaluation.

    Args:
        project: with its dataset and its converted files in place.
        emit: gets a progress event an answer, and one every few seconds while none comes.
        checkpoint: the base's folder; resolved from the configuration when not given.
        threads: CPU threads of the engine; 0: all that this process may use.

    Raises:
        EvaluationError: a file is missing, or the test rows don't suit the scorer.
        ServingError: the engine can't load a file or has died.
    """
    settings = project.config.evaluation
    card = load_card(project.dataset)
    rows, train = _test_rows(project), read_rows(project.dataset / "train.jsonl")
    expected = expected_values(rows, settings.scorer)
    schema_path = project.config.dataset.schema_path
    schema = AnswerSchema.load(project.root / schema_path) if schema_path else None
    if checkpoint is None:
        from appliance.base_model import resolve

        checkpoint = resolve(project.config.base.path, project.root, emit)
    systems = plan_systems(project, checkpoint, train, schema.value if schema else None, emit)
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=0.0)
    project.evaluation.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(project.evaluation)
    (project.evaluation / "results.json").unlink(missing_ok=True)
    emit(Event(STAGE, "started", f"asking {len(systems)} systems {len(rows)} test rows"))
    began = time.monotonic()
    progress = _Progress(emit, len(systems) * len(rows))
    answers: dict[str, list[Answer]] = {}
    scores = {}
    asked_golden = []
    fault = schema.fault if schema else None
    with AnswerStore(project.evaluation / "answers.jsonl") as store:
        for system in systems:
            progress.title = system.title
            progress.tell()
            context = _context(system, rows, checkpoint, settings.max_tokens)
            with ExitStack() as stack:
                engine = stack.enter_context(
                    Engine(
                        system.file.path,
                        slots=slots_for(context, len(rows)),
                        context=context,
                        threads=threads,
                        log=project.evaluation / "engine.log",
                    )
                )
                given = ask(engine, system, rows, sampling, store, progress.answered, progress.tell)
                answers[system.key] = given
                scores[system.key] = score_answers(expected, given, settings.scorer, fault)
                if system.key == SHIPPED:
                    chosen = golden.candidates(rows, given, scores[system.key])
                    asked_golden = golden.record(engine, chosen, project.config.release.golden, sampling)
        store.keep_only([answer for given in answers.values() for answer in given])
    fields, confusions = field_scores(expected, answers[SHIPPED]) if settings.scorer == "json" else ([], [])
    ours = [score.exact for score in scores[SHIPPED]]
    result = EvaluationResult(
        project=project.config.project.name,
        version=project.config.project.version,
        dataset=card.digest,
        rows=len(rows),
        scorer=settings.scorer,
        systems=[
            summarise(system, scores[system.key], answers[system.key], settings.scorer) for system in systems
        ],
        comparisons=[
            compare(ours, [score.exact for score in scores[system.key]], system.key)
            for system in systems
            if system.key != SHIPPED
        ],
        fields=fields,
        confusions=confusions,
        shipped=SHIPPED,
    )
    if len(asked_golden) < project.config.release.golden:
        emit(
            Event(
                STAGE,
                "warning",
                f"only {len(asked_golden)} answers ended by themselves and were clear enough to come out the "
                "same on another CPU; golden prompts are few",
            )
        )
    curve = project.training / "curve.svg"
    page = report.render(
        result,
        report.cases(rows, answers, scores),
        curve.read_text(encoding="utf-8") if curve.is_file() else "",
        project.config.project.description,
    )
    storage.write_json(project.evaluation / "speed.json", _speeds(answers))
    storage.write_json(project.evaluation / "golden.json", asked_golden)
    storage.write_text(project.evaluation / "report.html", page)
    storage.write_json(project.evaluation / "results.json", result.to_json())
    shipped = result.systems[-1]
    text = f"{shipped.title}: {shipped.exact.share:.1%} exact on {result.rows} rows"
    emit(Event(STAGE, "finished", text, data={"seconds": time.monotonic() - began, **result.to_json()}))
    return result
