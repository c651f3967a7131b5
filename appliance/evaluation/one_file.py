"""One file asked some rows: what choosing among files, and measuring on other rows, are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.conversion import ships
from appliance.dataset import Row, counter, iterate_rows, read_rows
from appliance.errors import DataError
from appliance.evaluation.answers import AnswerStore
from appliance.evaluation.asking import ask, slots_for
from appliance.evaluation.holding import held_to, schema_of
from appliance.evaluation.measuring import context_for
from appliance.evaluation.results import SystemScore, expected_values, score_answers, summarise
from appliance.evaluation.systems import SHIPPED, System, plain_prompt, tuned_file
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.serving.engine_client import Engine, Sampling

STAGE = "evaluate"


def measure_file(
    project: Project,
    checkpoint: Path,
    system: System,
    rows: Sequence[Row],
    folder: Path,
    tell: Callable[[int], None],
    threads: int = 0,
) -> SystemScore:
    """Ask one file every row, greedily, in an engine of its own, and score what it answers.

    Args:
        project: says how to score and how long an answer may be.
        checkpoint: the base's folder, for its tokenizer.
        system: the file and how it is asked.
        rows: with their expected answers.
        folder: gets answers.jsonl, from which nothing is asked twice, and engine.log.
        threads: CPU threads of the engine; 0: all.
        tell: called with 1 at each answer, and with 0 every few seconds while none comes.
    """
    settings, schema = project.config.evaluation, schema_of(project)
    expected = expected_values(rows, settings.scorer)
    context = context_for(system, rows, checkpoint, settings.max_tokens)
    held = held_to(project, schema, iterate_rows(project.dataset / "train.jsonl"))
    sampling = Sampling(max_tokens=settings.max_tokens, temperature=0.0, grammar=held.grammar)
    slots = slots_for(context, len(rows))
    folder.mkdir(parents=True, exist_ok=True)
    with (
        AnswerStore(folder / "answers.jsonl") as store,
        Engine(
            system.file.path, slots=slots, context=context, threads=threads, log=folder / "engine.log"
        ) as engine,
    ):
        given = ask(engine, system, rows, sampling, store, lambda *_: tell(1), lambda: tell(0))
    scores = score_answers(expected, given, settings.scorer, schema.fault if schema else None)
    return summarise(system, scores, given, settings.scorer)


def _question(row: Row) -> tuple[str, ...]:
    return tuple(message["content"] for message in row.prompt)


def check_other(project: Project, checkpoint: Path, rows: Sequence[Row]) -> None:
    """Refuse rows from outside that say nothing: trained on, or too long to be asked.

    Raises:
        DataError: naming the first of them.
    """
    learnt = [row for name in ("train", "valid") for row in read_rows(project.dataset / f"{name}.jsonl")]
    seen = {_question(row) for row in learnt}
    known = [row.source for row in rows if _question(row) in seen]
    if known:
        raise DataError(
            f"{known[0]}: the model was trained or chosen by this question ({len(known)} such rows)",
            "measure on rows whose questions are in neither the training nor the validation split",
        )
    limit = project.config.dataset.max_tokens
    for row, tokens in zip(rows, counter(checkpoint)([row.messages for row in rows]), strict=True):
        if tokens > limit:
            raise DataError(
                f"{row.source}: {tokens} tokens, more than dataset.max_tokens = {limit}",
                "shorten the row, or raise the limit: the engine makes room for the longest",
            )


def measure_other(
    project: Project, checkpoint: Path, rows: Sequence[Row], emit: Emit, *, threads: int = 0
) -> SystemScore:
    """Measure the shipped file on rows from outside the dataset; nothing of the project's own results changes.

    Raises:
        DataError: a row's question was trained on.
        EvaluationError: the shipped file is missing, or the rows don't suit the scorer.
    """
    kind = ships(project).type
    system = System(SHIPPED, f"Tuned, {kind} (ships)", tuned_file(project, kind), plain_prompt)
    check_other(project, checkpoint, rows)
    emit(Event(STAGE, "started", f"asking {system.title} {len(rows)} rows"))
    done = 0

    def answered(more: int) -> None:
        nonlocal done
        done += more
        emit(Event(STAGE, "progress", system.title, done=done, total=len(rows), unit="answers"))

    return measure_file(project, checkpoint, system, rows, project.build / "other_rows", answered, threads)
