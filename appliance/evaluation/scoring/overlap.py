"""Overlap with a reference: ROUGE-L (Lin 2004) by words, chrF2 (Popović 2015) by characters. Shares from 0 to 1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from appliance.evaluation.scoring.matching import normal
from appliance.evaluation.scoring.scorer import (
    ASKED,
    AnswerScorer,
    CaseScore,
    Key,
    Metric,
    Said,
    Values,
    blank,
    blank_reference,
)
from appliance.evaluation.suite import Case, Suite

_MOST_WORDS = 2000  # the table below has the square of it
_ORDERS = range(1, 7)
_BETA = 2.0


def words_of(text: str) -> list[str]:
    """Words in lower case, without punctuation."""
    return re.findall(r"\w+", text.casefold())


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = 0
        for index, other in enumerate(second, 1):
            before, row[index] = row[index], before + 1 if word == other else max(row[index], row[index - 1])
    return row[-1]


def rouge_l(reference: str, answer: str) -> float:
    """F1 of the longest common subsequence of words."""
    wanted, given = words_of(reference)[:_MOST_WORDS], words_of(answer)[:_MOST_WORDS]
    return 2 * longest_common(wanted, given) / (len(wanted) + len(given)) if wanted or given else 1.0


def chrf(reference: str, answer: str) -> float:
    """chrF2: F-score, recall twice as weighty, of character n-grams of one to six, white space left out.

    As sacrebleu's sentence score with its effective order: orders that one side is too short for are left out.
    """
    wanted, given = "".join(reference.split()), "".join(answer.split())
    precisions, recalls = [], []
    for order in _ORDERS:
        right = Counter(wanted[at : at + order] for at in range(len(wanted) - order + 1))
        said = Counter(given[at : at + order] for at in range(len(given) - order + 1))
        if not right or not said:
            continue
        hits = (right & said).total()
        precisions.append(hits / said.total())
        recalls.append(hits / right.total())
    if not precisions:
        return float(wanted == given)
    precision, recall = sum(precisions) / len(precisions), sum(recalls) / len(recalls)
    if precision + recall == 0:
        return 0.0
    square = _BETA * _BETA
    return (1 + square) * precision * recall / (square * precision + recall)


def _best(case: Case, said: Said, name: str) -> CaseScore:
    measure = rouge_l if name == "rouge_l" else chrf
    value = max(measure(text, said.text) for text in case.texts("reference"))
    return CaseScore({name: value}, None, said.text, " | ".join(case.texts("reference")))


def _rouge(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    return _best(case, said[0], "rouge_l")


def _chrf(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    return _best(case, said[0], "chrf")


def _wordless(values: Values, _options: Values) -> list[str]:
    return blank(values, "reference", normal=lambda text: " ".join(words_of(text)))


_KEYS = {**ASKED, "reference": Key("texts", True, "a good answer, or several; the nearest counts")}
ROUGE_L = AnswerScorer(
    "rouge_l",
    "longest common word sequence with the reference",
    _KEYS,
    (Metric("rouge_l", "mean F1 of the longest common sequence of words"),),
    score=_rouge,
    check=_wordless,
)
CHRF = AnswerScorer(
    "chrf",
    "character n-grams in common with the reference",
    _KEYS,
    (Metric("chrf", "mean chrF2"),),
    score=_chrf,
    check=blank_reference,
)


def _free_text(case: Case, _suite: Suite, said: Sequence[Said]) -> CaseScore:
    references, text = case.texts("reference"), said[0].text
    exact = normal(text, strict=True) in {normal(reference, strict=True) for reference in references}
    values = {
        "rouge_l": max(rouge_l(reference, text) for reference in references),
        "chrf": max(chrf(reference, text) for reference in references),
        "exact": float(exact),
    }
    return CaseScore(values, None, text, " | ".join(references))


FREE_TEXT = AnswerScorer(
    "free_text",
    "how near a free answer is to the reference: by words, by characters, and whether it is the same",
    _KEYS,
    (*ROUGE_L.metrics, *CHRF.metrics, Metric("exact", "answers that equal the reference")),
    score=_free_text,
    check=blank_reference,
)
