"""What answers are held to while they are measured, which is what they are held to on the device."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.dataset import AnswerSchema, Row
from appliance.errors import ServingError
from appliance.events import Emit, Event, ignore
from appliance.paths import Project
from appliance.serving.schema_grammar import grammar_of, left_aside, ordered_like

STAGE = "evaluate"


@dataclass(frozen=True)
class Held:
    """The schema that goes into the release, and its grammar; both empty where answers are free.

    The schema is a text, since the order of its properties counts and files are written with sorted keys.
    """

    schema: str = ""
    grammar: str = ""


def held_to(
    project: Project, schema: AnswerSchema | None, learnt: Sequence[Row], emit: Emit = ignore
) -> Held:
    """The project's schema, its properties in the order in which the model learnt them.

    Args:
        project: says whether answers are held to it.
        schema: of the answers.
        learnt: training rows; the first one's answer has the order.
        emit: gets a warning where an answer can't be held to (all of) the schema.
    """
    if schema is None or not project.config.evaluation.hold_to_schema:
        return Held()
    try:
        answer = json.loads(learnt[0].answer) if learnt else None
    except ValueError:
        answer = None
    ordered = ordered_like(schema.value, answer)
    try:
        aside = left_aside(ordered)
        held = Held(json.dumps(ordered, ensure_ascii=False, separators=(",", ":")), grammar_of(ordered))
    except ServingError as error:
        emit(Event(STAGE, "warning", f"{error.message}; answers are free"))
        return Held()
    if aside:
        emit(Event(STAGE, "warning", f"answers are held to the schema but for: {'; '.join(aside)}"))
    return held
