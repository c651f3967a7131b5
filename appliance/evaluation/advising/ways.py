"""The ways to ask: base with a prompt, with examples, with what was looked up; tuned, with and without."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.conversion import ships
from appliance.dataset import BadRow, Row, document_passages, is_canary
from appliance.dataset.lengths import CountTokens
from appliance.evaluation.systems import (
    Messages,
    System,
    base_file,
    choose_examples,
    few_shot_prompt,
    plain_prompt,
    tuned_file,
)
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.retrieval import Passage, PassageIndex, with_examples, with_passages

STAGE = "advise"
PROMPT, FEW_SHOT, RETRIEVAL, TUNED, TUNED_RETRIEVAL = (
    "prompt",
    "few_shot",
    "retrieval",
    "tuned",
    "tuned_retrieval",
)
_BASE_TYPE = "Q8_0"  # what one would ship of a base: it scores as F16 does and is half as large


@dataclass(frozen=True)
class Looked:
    """What is looked up: an index, whether it holds passages of documents or the training rows, and how many things."""

    index: PassageIndex
    documents: bool
    count: int


def _rows_as_passages(rows: Sequence[Row]) -> Iterator[Passage]:
    for number, row in enumerate(rows):
        asked = "\n".join(turn["content"] for turn in row.prompt if turn["role"] == "user")
        if not is_canary(row):
            yield Passage(str(number), "", asked)


def look_up(
    project: Project, patterns: Sequence[str], train: Sequence[Row], folder: Path, emit: Emit
) -> Looked | None:
    """An index of the project's documents; of its training rows where it has none; None where it has neither.

    Args:
        project: whose sources are read.
        patterns: documents to read in their place.
        train: the training rows.
        folder: gets the index.
        emit: gets a warning for each file that can't be read.

    Raises:
        DataError: a file that is named isn't there.
    """

    def skipped(bad: BadRow) -> None:
        if patterns:  # of the dataset's own sources it was told when the dataset was made
            emit(Event(STAGE, "warning", str(bad)))

    path = folder / "passages.sqlite"
    count = PassageIndex.build(path, document_passages(project, patterns, skipped))
    documents = count > 0
    if not documents:
        count = PassageIndex.build(path, _rows_as_passages(train))
    return Looked(PassageIndex(path), documents, count) if count else None


def _fitting(count: CountTokens, limit: int) -> Callable[[Messages], bool]:
    return lambda messages: count([messages])[0] <= limit


def ways_of(
    project: Project,
    checkpoint: Path,
    train: Sequence[Row],
    schema: dict[str, Any] | None,
    looked: Looked | None,
    count: CountTokens,
    *,
    shots: int,
    top: int,
    room: int,
    emit: Emit,
) -> list[System]:
    """The ways, from the cheapest to make to the dearest.

    Args:
        project: with its converted file.
        checkpoint: the base's folder.
        train: where examples come from.
        schema: of the answers; the untuned ways are shown it.
        looked: what retrieval looks in; None: no such way.
        count: tokens of conversations.
        shots: examples of the few-shot way.
        top: passages or rows that are looked up for a question.
        room: tokens that a prompt may have.
        emit: gets the base's conversion.

    Raises:
        EvaluationError: the tuned file is missing.
    """
    base = base_file(checkpoint, emit, _BASE_TYPE)
    shipped = ships(project).type
    tuned = tuned_file(project, shipped)
    fits = _fitting(count, room)
    chosen = choose_examples(train, shots)

    def few_shot(row: Row) -> Messages:
        for most in range(len(chosen), 0, -1):
            if fits(made := few_shot_prompt(row, chosen[:most], schema)):
                return made
        return few_shot_prompt(row, [], schema)

    ways = [System(PROMPT, "Base, prompt alone", base, lambda row: few_shot_prompt(row, [], schema))]
    if chosen:
        ways.append(System(FEW_SHOT, f"Base, {len(chosen)} examples", base, few_shot))
    if looked is not None:
        title = f"Base, {top} nearest {'passages' if looked.documents else 'training rows'}"
        ways.append(System(RETRIEVAL, title, base, _retrieving(looked, train, top, fits, schema)))
    ways.append(System(TUNED, f"Tuned, {shipped}", tuned, plain_prompt))
    if looked is not None and looked.documents:
        asked = _retrieving(looked, train, top, fits, None)
        ways.append(System(TUNED_RETRIEVAL, f"Tuned, {shipped}, {top} nearest passages", tuned, asked))
    return ways


def _retrieving(
    looked: Looked,
    train: Sequence[Row],
    top: int,
    fits: Callable[[Messages], bool],
    schema: dict[str, Any] | None,
) -> Callable[[Row], Messages]:
    def prompt(row: Row) -> Messages:
        own = few_shot_prompt(row, [], schema)
        question = "\n".join(turn["content"] for turn in row.prompt if turn["role"] == "user")
        found = looked.index.search(question, top)
        if looked.documents:
            return with_passages(own, found, fits)[0]
        examples = [train[int(each.passage.source)].messages for each in found]
        return with_examples(own, examples, fits)

    return prompt
