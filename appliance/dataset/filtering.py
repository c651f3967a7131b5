"""Which rows are left out by language and length, and what is wrong with an answer that can still be read. Pure."""

from __future__ import annotations

from typing import Any

from appliance.config import FilterSide, FiltersSection
from appliance.dataset.breaking_off import is_truncated
from appliance.dataset.languages import language_of
from appliance.dataset.rows import Row
from appliance.refusals import is_refusal

Fault = tuple[str, str]
"""(kind, what is wrong in words)."""


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def flaws(messages: list[dict[str, Any]]) -> list[Fault]:
    """What is wrong with the last answer: `echo`, `refusal`, `truncated`; usually nothing."""
    answer, prompt = str(messages[-1]["content"]), str(messages[-2]["content"]) if len(messages) > 1 else ""
    echo = [("echo", "the answer is the prompt")] if _plain(answer) == _plain(prompt) else []
    return [*echo, *flaws_of(answer)]


def flaws_of(answer: str) -> list[Fault]:
    """What is wrong with an answer by itself: `refusal`, `truncated`."""
    found = []
    if is_refusal(answer):
        found.append(("refusal", "the answer refuses to answer"))
    if is_truncated(answer):
        found.append(("truncated", f"the answer breaks off: … {answer.rstrip()[-40:]}"))
    return found


class Filters:
    """`[dataset.filters]` applied to rows."""

    def __init__(self, section: FiltersSection) -> None:
        self._section = section

    def fault(self, row: Row) -> Fault | None:
        """Why a row is left out; None: it stays."""
        sides: dict[FilterSide, str] = {"prompt": str(row.messages[-2]["content"]), "answer": row.answer}
        for side, least in self._section.min_characters.items():
            if len(sides[side]) < least:
                return (
                    "too-short",
                    f"{len(sides[side])} characters of {side}, fewer than dataset.filters asks ({least})",
                )
        for side, most in self._section.max_characters.items():
            if len(sides[side]) > most:
                return (
                    "too-many-characters",
                    f"{len(sides[side])} characters of {side}, dataset.filters allows {most}",
                )
        if self._section.languages:
            for side, text in sides.items():
                code = language_of(text)
                if code and code not in self._section.languages:
                    return (
                        "language",
                        f"the {side} is in `{code}`, not in {', '.join(self._section.languages)}",
                    )
        return None

    def flaws(self, row: Row) -> tuple[Fault | None, list[Fault]]:
        """(the flaw that leaves the row out, the flaws that are merely listed)."""
        found = flaws(row.messages)
        for flaw in found:
            if flaw[0] in self._section.reject:
                return flaw, []
        return None, found
