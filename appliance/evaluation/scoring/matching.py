"""Answers that equal a text, match an expression, or keep rules of what must and must not stand in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from appliance.evaluation.scoring.scorer import (
    ASKED,
    AnswerScorer,
    CaseScore,
    Key,
    Metric,
    Said,
    Values,
    blank,
    listed,
)
from appliance.evaluation.suite import Case, Suite

_PUNCTUATION = re.compile(r"[^\w\s]")


def normal(text: str, *, strict: bool = False) -> str:
    """Text for comparing: NFC and trimmed; unless strict also without case, punctuation and repeated white space."""
    text = unicodedata.normalize("NFC", text).strip()
    return text if strict else " ".join(_PUNCTUATION.sub(" ", text.casefold()).split())


def _exact(case: Case, suite: Suite, said: Sequence[Said]) -> CaseScore:
    strict = bool(suite.options.get("strict", True))
    wanted = case.texts("reference")
    ok = normal(said[0].text, strict=strict) in {normal(text, strict=strict) for text in wanted}
    return CaseScore({"exact": float(ok)}, ok, said[0].text, " | ".join(wanted))


def _exact_faults(values: Values, options: Values) -> list[str]:
    strict = bool(options.get("strict", True))
    return blank(values, "reference", normal=lambda text: normal(text, strict=strict))


EXACT = AnswerScorer(
    "exact",
    "the answer is the reference, or one of several",
    {**ASKED, "reference": Key("texts", True, "the right answer, or a list of them")},
    (Metric("exact", "answers that equal the reference"),),
    {"strict": Key("flag", about="false: case, punctuation and white space are free")},
    score=_exact,
    check=_exact_faults,
)


def broken_rules(text: str, rules: Case) -> list[str]:
    """Which of a case's `must`, `must_not` (texts, whatever their case) and `pattern` (an expression) it breaks."""
    folded = text.casefold()
    broken = [f"lacks “{part}”" for part in rules.texts("must") if part.casefold() not in folded]
    broken += [f"says “{part}”" for part in rules.texts("must_not") if part.casefold() in folded]
    return broken


def _contains(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    broken = broken_rules(said[0].text, case)
    expected = "; ".join(
        [f"says “{part}”" for part in case.texts("must")]
        + [f"doesn't say “{part}”" for part in case.texts("must_not")]
    )
    return CaseScore({"kept": float(not broken)}, not broken, said[0].text, expected, "; ".join(broken))


def _contains_faults(values: Values, _options: Values) -> list[str]:
    must, must_not = listed(values.get("must")), listed(values.get("must_not"))
    if not must and not must_not:
        return ["neither `must` nor `must_not`: every answer would be right"]
    wrong = blank(values, "must", "must_not")
    return wrong or [
        f"`must` has {part!r}, which `must_not` forbids by {other!r}: every answer would be wrong"
        for part in must
        for other in must_not
        if other.casefold() in part.casefold()
    ]


CONTAINS = AnswerScorer(
    "contains",
    "the answer says all that it must and nothing that it must not",
    {
        **ASKED,
        "must": Key("texts", about="texts that must occur"),
        "must_not": Key("texts", about="and must not"),
    },
    (Metric("kept", "answers that keep the rules"),),
    score=_contains,
    check=_contains_faults,
)


def _regex(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    pattern = re.compile(case.text("pattern"), re.DOTALL)
    ok = pattern.search(said[0].text) is not None
    return CaseScore({"matched": float(ok)}, ok, said[0].text, f"matches {pattern.pattern}")


_LOOKS_AROUND = re.compile(r"\(\?<?[=!]")
_BLOCK = 4096  # characters


def _any_text() -> Iterator[str]:
    """Texts that have nothing in common: every character there is, in its order, and a long answer."""
    for begin in range(0, 0x110000, _BLOCK):
        if not 0xD800 <= begin < 0xE000:  # halves of surrogate pairs
            yield "".join(map(chr, range(begin, begin + _BLOCK)))
    yield "x " * 20_000


def _matches_all(pattern: re.Pattern[str]) -> bool:
    """Whether an expression matches whatever is said; one that looks around may forbid something, and is believed."""
    if _LOOKS_AROUND.search(pattern.pattern) or pattern.search("") is None:
        return False
    return all(pattern.search(text) is not None for text in _any_text())


def _regex_faults(values: Values, _options: Values) -> list[str]:
    try:
        pattern = re.compile(values["pattern"], re.DOTALL)
    except (re.error, RecursionError, OverflowError) as error:
        return [f"`pattern` is no regular expression: {error}"]
    if _matches_all(pattern):
        return [f"`pattern` {values['pattern'][:60]!r} matches every text: every answer would be right"]
    return []


REGEX = AnswerScorer(
    "regex",
    "the answer matches a regular expression somewhere",
    {**ASKED, "pattern": Key("text", True, "the expression")},
    (Metric("matched", "answers that match"),),
    score=_regex,
    check=_regex_faults,
)
