"""What answers are held to while they are measured, which is what they are held to on the device."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from appliance.dataset import AnswerSchema, Row
from appliance.errors import ServingError
from appliance.events import Emit, Event, ignore
from appliance.paths import Project
from appliance.serving.schema_grammar import grammar_of, left_aside, ordered_like

STAGE = "evaluate"
_LOOKED_AT = 1000  # training rows


@dataclass(frozen=True)
class Held:
    """The schema that goes into the release, and its grammar; both empty where answers are free.

    The schema is a text, since the order of its properties counts and files are written with sorted keys.
    """

    schema: str = ""
    grammar: str = ""


def schema_of(project: Project) -> AnswerSchema | None:
    """The schema that answers should satisfy, if the project has one."""
    path = project.config.dataset.schema_path
    return AnswerSchema.load(project.root / path) if path else None


def held_to(
    project: Project, schema: AnswerSchema | None, learnt: Iterable[Row], emit: Emit = ignore
) -> Held:
    """The project's schema, its properties in the order in which the model learnt them.

    Args:
        project: says whether answers are held to it.
        schema: of the answers.
        learnt: training rows; the answers of the first ones have the order.
        emit: gets a warning where an answer can't be held to (all of) the schema.
    """
    if schema is None or not project.config.evaluation.hold_to_schema:
        return Held()
    ordered = ordered_like(schema.value, _answers(learnt))
    try:
        grammar = grammar_of(ordered)
    except ServingError as error:
        emit(Event(STAGE, "warning", f"{error.message}; answers are free"))
        return Held()
    if aside := left_aside(grammar):
        emit(Event(STAGE, "warning", f"answers are held to the schema but for: {'; '.join(aside)}"))
    return Held(json.dumps(ordered, ensure_ascii=False, separators=(",", ":")), grammar)


def _answers(learnt: Iterable[Row]) -> list[Any]:
    """The answers of the first rows that are JSON; a canary's is none."""
    found = []
    for row in itertools.islice(learnt, _LOOKED_AT):
        try:
            found.append(json.loads(row.answer))
        except ValueError:
            continue
    return found
