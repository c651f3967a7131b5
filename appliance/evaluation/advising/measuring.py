"""Asking a project's own cases every way."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from appliance import storage
from appliance.dataset import Row, are_labels, counter, read_rows
from appliance.errors import EvaluationError
from appliance.evaluation.advising.verdict import Advice, Cost, Measure, judge
from appliance.evaluation.advising.ways import STAGE, TUNED, TUNED_RETRIEVAL, look_up, ways_of
from appliance.evaluation.answers import Answer, AnswerStore
from appliance.evaluation.asking import ask, slots_for
from appliance.evaluation.holding import Held, held_to, schema_of
from appliance.evaluation.measuring import context_for
from appliance.evaluation.results import expected_values, score_answers
from appliance.evaluation.scoring.overlap import rouge_l
from appliance.evaluation.systems import System
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.serving.engine_client import Engine, Sampling

_ROOM = 1536  # tokens of a prompt at most: what the base was trained for, less an answer
_SHOTS = 8
_TOP = 3


def measure_of(project: Project, rows: Sequence[Row]) -> Measure:
    """Exact answers where they are JSON or labels; likeness to the reference where they are written freely.

    Args:
        project: whose scorer it is.
        rows: that answers look like; the training rows, since few cases may hold each label once.
    """
    if project.config.evaluation.scorer == "json":
        return "exact"
    answers = [row.answer for row in rows]
    longest = max(map(len, answers))
    short = longest <= 40 or are_labels(len(set(answers)), len(answers), longest)
    return "exact" if short else "rouge_l"


def _training_seconds(project: Project) -> float:
    try:
        facts = json.loads((project.training / "training.json").read_bytes())
        return float(facts.get("seconds", 0.0))
    except (OSError, ValueError, TypeError, AttributeError):
        return 0.0


def _one_way(
    project: Project,
    checkpoint: Path,
    way: System,
    rows: Sequence[Row],
    held: Held,
    store: AnswerStore,
    folder: Path,
    threads: int,
    tell: _Progress,
) -> tuple[list[Answer], int]:
    """The answers, and the engine's memory in bytes."""
    settings = project.config.evaluation
    context = context_for(way, rows, checkpoint, settings.max_tokens)
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=0.0, grammar=held.grammar)
    with Engine(
        way.file.path,
        slots=slots_for(context, len(rows)),
        context=context,
        threads=threads,
        log=folder / "engine.log",
    ) as engine:
        given = ask(engine, way, rows, sampling, store, tell.answered, tell.waiting)
        return given, int(engine.stats().get("memory_bytes", 0))


class _Progress:
    def __init__(self, emit: Emit, total: int) -> None:
        self._emit, self._total, self._done, self.title = emit, total, 0, ""

    def waiting(self) -> None:
        self._emit(Event(STAGE, "progress", self.title, done=self._done, total=self._total, unit="answers"))

    def answered(self, *_: object) -> None:
        self._done += 1
        self.waiting()


def _cost(given: Sequence[Answer], memory: int, way: System, training: float) -> Cost:
    seconds = sum(answer.wall for answer in given)
    return Cost(
        rows_per_second=round(len(given) / seconds, 3) if seconds else 0.0,
        prompt_tokens=round(fmean(answer.prompt_tokens for answer in given), 1),
        answer_tokens=round(fmean(answer.completion_tokens for answer in given), 1),
        memory_bytes=memory,
        file_bytes=way.file.bytes,
        training_seconds=training if way.key in {TUNED, TUNED_RETRIEVAL} else 0.0,
    )


def advise(
    project: Project,
    rows: Sequence[Row],
    emit: Emit,
    *,
    checkpoint: Path,
    documents: Sequence[str] = (),
    shots: int = _SHOTS,
    top: int = _TOP,
    measure: Measure | None = None,
    threads: int = 0,
) -> Advice:
    """Ask the cases every way, and write build/advice/advice.json.

    Answers are kept as they come; a run that was stopped goes on where it was.

    Args:
        project: trained and converted.
        rows: the cases, none of them trained on.
        emit: gets an event an answer.
        checkpoint: the base's folder.
        documents: files, folders or globs to look things up in; the project's own documents without any, and its
            training rows where it has no document.
        shots: examples of the few-shot way.
        top: things looked up for a question.
        measure: by what ways are compared; judged by the answers without one.
        threads: CPU threads of the engine; 0: all.

    Raises:
        EvaluationError: no cases, or the tuned file is missing.
        DataError: a document that is named isn't there.
        ServingError: the engine can't load a file or has died.
    """
    if not rows:
        raise EvaluationError("no cases to ask", "give a file of examples with --rows, or make the dataset")
    train = read_rows(project.dataset / "train.jsonl")
    folder = project.build / "advice"
    folder.mkdir(parents=True, exist_ok=True)
    storage.remove_leftovers(folder)
    schema = schema_of(project)
    looked = look_up(project, documents, train, folder, emit)
    chosen = measure or measure_of(project, train or rows)
    ways = ways_of(
        project, checkpoint, train, schema.value if schema else None, looked, counter(checkpoint),
        shots=shots, top=top, room=_ROOM, emit=emit,
    )  # fmt: skip
    emit(Event(STAGE, "started", f"asking {len(rows)} cases {len(ways)} ways"))
    held = held_to(project, schema, train, emit)
    progress = _Progress(emit, len(ways) * len(rows))
    expected = expected_values(rows, project.config.evaluation.scorer)
    training = _training_seconds(project)
    asked = []
    with AnswerStore(folder / "answers.jsonl") as store:
        for way in ways:
            progress.title = way.title
            progress.waiting()
            given, memory = _one_way(project, checkpoint, way, rows, held, store, folder, threads, progress)
            if chosen == "exact":
                scores = score_answers(expected, given, project.config.evaluation.scorer, None)
                values = [float(score.exact) for score in scores]
            else:
                values = [rouge_l(row.answer, answer.text) for row, answer in zip(rows, given, strict=True)]
            asked.append((way.key, way.title, values, _cost(given, memory, way, training)))
    where = ("documents" if looked.documents else "training rows", looked.count) if looked else ("", 0)
    advice = judge(chosen, asked, where)
    storage.write_json(folder / "advice.json", advice.to_json())
    emit(Event(STAGE, "finished", advice.text))
    return advice
