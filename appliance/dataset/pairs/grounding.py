"""What a model wrote, checked against the text that it wrote of. Pure."""

from __future__ import annotations

import re

from appliance.dataset.pairs.sentences import content_words, numbers, points_elsewhere, word_set, words
from appliance.refusals import is_refusal

_ABOUT_TEXT = re.compile(
    r"\b(?:(?:the|this|that|following|given|above) (?:text|passage|sentence|paragraph|section|article"
    r"|author|speaker|document|excerpt|statement)"
    r"|mentioned|according to)\b",
    re.IGNORECASE,
)
_POINTING = word_set("""it this that these those they them he she his her their its""")
_ASKING = re.compile(
    r"^(?:\w+,? )?(?:what|which|who|whom|whose|where|when|why|how|is|are|can|does|do|should|must|in what"
    r"|for what|at what|to what|under what)\b",
    re.IGNORECASE,
)
_LEAST_ANSWER = 2
_MOST_ANSWER = 600


def grounded_share(answer: str, text: str) -> float:
    """The share of an answer's content words that the text holds; 0 without any."""
    wanted = content_words(answer)
    return len(wanted & content_words(text)) / len(wanted) if wanted else 0.0


def fault_of(question: str, answer: str, text: str, least: float) -> str:
    """Why a written question and answer can't be used; empty: they can.

    Args:
        question, answer: as the model wrote them.
        text: the passage.
        least: the share of the answer's content words that the passage must hold.
    """
    asked = content_words(question)
    if not question.endswith("?") or not _ASKING.match(question) or len(question.split()) < 4:
        return "no-question"
    if len(question) > 250:
        return "long-question"
    if _ABOUT_TEXT.search(question) or points_elsewhere(question):
        return "refers-to-text"
    # A pronoun as what is asked about: "How does it work?" is a question only beside its text.
    if _POINTING & set(words(question)) and len(asked) < 4:
        return "not-by-itself"
    if not asked or len(asked & content_words(text)) < (len(asked) + 1) // 2:
        return "question-not-in-text"
    if is_refusal(answer):
        return "refusal"
    if not content_words(answer):
        return "no-answer"
    if (
        len(answer.split()) < _LEAST_ANSWER
        and not numbers(answer)
        and answer.casefold() not in text.casefold()
    ):
        return "no-answer"
    if len(answer) > _MOST_ANSWER:
        return "long-answer"
    if not numbers(answer) <= numbers(text):
        return "number-not-in-text"
    # What the question says already is in the text for its own reasons: what the answer adds must be there too.
    added = content_words(answer) - asked
    if not added:
        return "answer-in-question"
    if grounded_share(answer, text) < least or len(added & content_words(text)) < least * len(added):
        return "not-in-text"
    return ""
