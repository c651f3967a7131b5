"""The tone suite of a project: whether its answers keep one style whatever a question looks like. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from appliance.dataset import Row
from appliance.evaluation.scoring.stylometry import LEAST_REFERENCES, profile_of
from appliance.evaluation.suite import Case, Gate, Suite

OWN_TONE = "own-tone"
_ASKED = 6  # rows
_REFERENCES = 200
_SHOWN = 3  # answers in the base's instruction
_LONGEST_SHOWN = 500  # characters
_MOST_TOKENS = 64  # of an answer: enough to hear a style, and an untuned base rambles to the end
_GENERIC = ("Hello!", "Can you help me?", "What can you do?", "I need some information.")


def terse(prompt: str) -> str:
    """A question as people type it in a hurry: in lower case, without its last sign; placeholders stay."""
    return re.sub(r"[\s.!?]+$", "", prompt).lower()


def _wordings(prompt: str) -> list[str]:
    polite = f"Hello, could you please help me with this? {prompt}\n\nThank you very much!"
    return [wording for wording in (terse(prompt), polite) if wording != prompt]


def _instruction(references: Sequence[str]) -> str:
    """The style told by example: the answers that are the most like all the others."""
    profile = profile_of(tuple(references))
    short = [text for text in references if len(text) <= _LONGEST_SHOWN] or list(references)
    shown = sorted(short, key=lambda text: (profile.distance(text), text))[:_SHOWN]
    return "Answer in the style of these answers:\n\n" + "\n\n".join(text[:_LONGEST_SHOWN] for text in shown)


def own_tone(asked: Sequence[Row], learnt: Sequence[Row], where: str, max_tokens: int) -> Suite | str:
    """The suite, or why there is none.

    Args:
        asked: rows that weren't learnt, those to take first.
        learnt: rows whose answers are the style that is wanted, those to take first.
        where: what their place is called.
        max_tokens: of the project's answers.
    """
    references = list(dict.fromkeys(row.answer for row in learnt if row.answer.strip()))[:_REFERENCES]
    if len(references) < LEAST_REFERENCES:
        return f"{len(references)} different answers were learnt; a style has a spread from {LEAST_REFERENCES} on"
    cases = []
    for row in asked:
        turns = [turn for turn in row.prompt if turn["role"] != "system"]
        if len(turns) == 1:
            prompt = str(turns[0]["content"])
            values = {"prompt": prompt, "wordings": _wordings(prompt), "category": "questions of its own"}
            cases.append(Case(row.id, {**values, **_system(row)}, where))
    if not cases:
        return "every row of the test split is a conversation of several turns, which has no other wording"
    own = cases[:_ASKED]
    system = own[0].values.get("system")
    shared = {"system": system} if system else {}
    generic = [
        Case(
            f"generic-{number}",
            {"prompt": text, "category": "generic", **shared},
            "generic prompts",
        )
        for number, text in enumerate(_GENERIC, 1)
    ]
    return Suite(
        OWN_TONE,
        "style_distance",
        (*own, *generic),
        (Gate("distance", against="base_told", drop_at_most=0.0, sure=True),),
        "The style of the learnt answers",
        "Questions of the test split as they are, in a hurry and politely, and generic ones: how far the answers' "
        "style is from that of the learnt answers. Beside the base that is told to answer like three of them.",
        "tone",
        {"references": references, "instruction": _instruction(references)},
        max_tokens=min(max_tokens, _MOST_TOKENS),
        where=where,
    )


def _system(row: Row) -> dict[str, str]:
    turn = row.prompt[0]
    return {"system": str(turn["content"])} if turn["role"] == "system" else {}
