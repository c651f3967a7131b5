"""Tasks with a passage or its beginning in the prompt: a heading, a summary, an extract, going on. Pure."""

from __future__ import annotations

import re

from appliance.dataset.pairs.passages import Passage
from appliance.dataset.pairs.sentences import content_words, is_sentence, split_sentences, stands_alone
from appliance.dataset.pairs.topics import document_title, heading_of, is_question, place_of

_LEAST_SUMMARY = 400  # characters of a text that is worth summarising
_LEAST_SENTENCES = 4
_LEAST_COVER = 0.45
_LEADING = 2
_LEAST_REST = 120
_QUANTITY = re.compile(
    r"(?<![\w.,-])(?P<number>\d+(?:[.,]\d+)*)(?P<unit>\s(?:percent|degrees?|meters?|metres?|centimeters?"
    r"|millimeters?|kilometers?|miles?|feet|"
    r"foot|inch(?:es)?|liters?|litres?|grams?|kilograms?|pounds?|hours?|minutes?|seconds?|days?|weeks?"
    r"|months?|years?|times|bytes?|bits?|"
    r"people|persons|rows|pages|steps)\b)"
)


def title_task(passage: Passage) -> tuple[str, str] | None:
    """(prompt, answer): the heading that the passage stands under; None: it has none that its text would give."""
    heading = heading_of(passage)
    if passage.part != 1 or not heading or is_question(heading) or len(passage.text) < 200:
        return None
    wanted = content_words(heading)
    if not wanted or len(wanted & content_words(passage.text)) < (len(wanted) + 1) // 2:
        return None
    return f"What is this passage about? Answer with a short heading.\n\n{passage.text}", heading


def _can_lead(sentence: str) -> bool:
    return (
        40 <= len(sentence) <= 300
        and is_sentence(sentence)
        and stands_alone(sentence)
        and not sentence.endswith("?")
    )


def summary_task(passage: Passage) -> tuple[str, str] | None:
    """(prompt, answer): the leading sentence that the rest takes up; None: none leads, or it can't stand alone."""
    sentences = passage.prose
    if len(sentences) < _LEAST_SENTENCES or len(passage.text) < _LEAST_SUMMARY:
        return None
    if len(passage.blocks) > 1 and sum(map(len, sentences)) < 0.7 * len(passage.text):
        return None
    leading = [number for number, sentence in enumerate(sentences[:_LEADING]) if _can_lead(sentence)]
    if not leading:
        return None
    sets = [content_words(sentence) for sentence in sentences]
    heading = content_words(place_of(passage))
    best, cover = "", _LEAST_COVER
    for number in leading:
        # Writers lead with what matters; it does where the rest takes up its words.
        rest = set().union(*(each for place, each in enumerate(sets) if place != number))
        share = len(sets[number] & (rest | heading)) / max(len(sets[number]), 1)
        if share > cover and (not heading or sets[number] & heading):
            best, cover = sentences[number], share
    if not best:
        return None
    return f"Summarise this passage in one of its sentences.\n\n{passage.text}", best


def continue_task(passage: Passage) -> tuple[str, str] | None:
    """(prompt, answer): the passage from its second sentence on; None: too short, or no prose."""
    first = passage.blocks[0]
    if first.kind != "paragraph" or any(block.kind in {"code", "table"} for block in passage.blocks):
        return None
    sentences = split_sentences(" ".join(first.text.split()))
    rest = "\n\n".join([" ".join(sentences[1:]), *(block.text for block in passage.blocks[1:])]).strip()
    if len(rest) < _LEAST_REST or len(sentences[0]) < 25 or rest.rstrip().endswith((":", "—", ",")):
        return None
    place, title = place_of(passage), document_title(passage)
    where = f'"{place}" of "{title}"' if place else f'"{title}"'
    return f"Continue this passage from {where}:\n\n{sentences[0]}", rest


def plain_continue_task(passage: Passage) -> tuple[str, str] | None:
    """The same without a word of English, for texts in other languages."""
    task = continue_task(passage)
    if task is None:
        return None
    begun = task[0].partition("\n\n")[2]
    head = " — ".join(part for part in (document_title(passage), place_of(passage)) if part)
    return f"{head}\n\n{begun}", task[1]


def cloze_tasks(passage: Passage) -> list[tuple[str, str, int]]:
    """(prompt, answer, line) of sentences with a quantity, which is left open; each sentence once."""
    made = []
    title = document_title(passage)
    for block in passage.blocks:
        if block.kind not in {"paragraph", "quote"}:
            continue
        for sentence in split_sentences(" ".join(block.text.split())):
            found = list(_QUANTITY.finditer(sentence))
            if len(found) != 1 or not (
                50 <= len(sentence) <= 260 and is_sentence(sentence) and stands_alone(sentence)
            ):
                continue
            if len(content_words(sentence)) < 6:
                continue
            (match,) = found
            gap = sentence[: match.start("number")] + "____" + sentence[match.end("number") :]
            made.append(
                (f'Fill the gap, as "{title}" has it: {gap}', match["number"], block.line or block.page)
            )
    return made


def extract_prompt(passage: Passage, question: str) -> str:
    """A question with the passage at hand."""
    return f"Answer from this text: {question}\n\n{passage.text}"
