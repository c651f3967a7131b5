"""A document into pairs by templates: facts as questions, and tasks on its passages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

from appliance.config import PairKind, PairsSection
from appliance.dataset.languages import language_of
from appliance.dataset.near.join import likeness
from appliance.dataset.near.normal import normalise
from appliance.dataset.pairs.attributes import keyed_facts, recurring_keys, table_facts
from appliance.dataset.pairs.facts import MOST_ANSWER, Fact, facts
from appliance.dataset.pairs.pair import Pair, Tally, single_turn
from appliance.dataset.pairs.passage_tasks import (
    cloze_tasks,
    continue_task,
    extract_prompt,
    plain_continue_task,
    summary_task,
    title_task,
)
from appliance.dataset.pairs.passages import Passage, group_of, parting_level, passages
from appliance.dataset.pairs.topics import is_question
from appliance.dataset.reading.material import Document
from appliance.dataset.splitting import position

_LEAST_PASSAGE = 40  # characters; less is a caption or a link
_LONGEST = 3  # times the bound; what could not be cut so far is no prose: code, one endless line
_MOST_FACTS = 8  # of one passage, so that no list of parts fills the set
_LONGEST_GUESS = 4000  # characters of a document by which its language is told

_TASKS: tuple[tuple[PairKind, Callable[[Passage], tuple[str, str] | None]], ...] = (
    ("summary", title_task),
    ("summary", summary_task),
    ("continue", continue_task),
)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class DocumentPairs:
    """Makes pairs of one document after the other, each question once.

    Args:
        section: `[dataset.pairs]`.
        threshold: of likeness from which two wordings are the same question.
        tally: gets the counts.
    """

    def __init__(self, section: PairsSection, threshold: float, tally: Tally) -> None:
        self._section = section
        self._threshold = threshold
        self._tally = tally
        self._asked: set[int] = set()

    def passages_of(self, document: Document, characters: int, *, quiet: bool = False) -> list[Passage]:
        """The passages that are long enough to be asked about; `quiet` where they have been counted before."""
        found = []
        for passage in passages(document, characters):
            text = passage.text
            if len(text) < _LEAST_PASSAGE or sum(map(str.isalpha, text)) < len(text) / 2:
                if not quiet:
                    self._tally.drop("short-passage", passage.file, passage.line, text)
                continue
            if len(text) > _LONGEST * characters:
                if not quiet:
                    self._tally.drop("long-passage", passage.file, passage.line, text)
                continue
            found.append(passage)
        return found

    def make(
        self, document: Document, found: Sequence[Passage], documents: int, test: bool
    ) -> Iterator[Pair]:
        """The pairs of a document.

        Args:
            document: without boilerplate.
            found: its passages.
            documents: how many documents there are in all.
            test: whether it stands in a test file.
        """
        english = language_of("\n".join(passage.text for passage in found)[:_LONGEST_GUESS]) in {"", "en"}
        keys = recurring_keys(found) if english else set()
        level = parting_level(found)
        for passage in found:
            group = group_of(document, passage, documents, level)
            if english:
                yield from self._of_passage(passage, group, keys, test)
            else:
                yield from self._of_other_language(passage, group, test)

    def _pair(
        self, passage: Passage, group: str, kind: PairKind, prompt: str, answer: str, line: int, test: bool
    ) -> Iterator[Pair]:
        if kind in self._section.kinds and self._is_new(prompt, passage, line):
            self._tally.made[kind] += 1
            yield Pair(single_turn(passage.file, line, group, kind, prompt, answer), test)

    def _is_new(self, prompt: str, passage: Passage, line: int) -> bool:
        digest = _digest(normalise(prompt))
        if digest in self._asked:
            self._tally.drop("asked-before", passage.file, line, prompt)
            return False
        self._asked.add(digest)
        return True

    def _of_passage(self, passage: Passage, group: str, keys: set[str], test: bool) -> Iterator[Pair]:
        wanted = set(self._section.kinds)
        made = 0
        for fact in self._facts(passage, keys) if wanted & {"qa", "extract"} else ():
            if made >= _MOST_FACTS and fact.form not in {"attribute", "table"}:
                self._tally.drop("enough-of-passage", passage.file, fact.line, fact.questions[0])
                continue
            made += 1
            yield from self._of_fact(passage, group, fact, test)
        line = passage.line
        for kind, task_of in _TASKS:
            if kind in wanted and (task := task_of(passage)) is not None:
                yield from self._pair(passage, group, kind, *task, line, test)
        for prompt, answer, at in cloze_tasks(passage) if "cloze" in wanted else ():
            yield from self._pair(passage, group, "cloze", prompt, answer, at, test)

    @staticmethod
    def _facts(passage: Passage, keys: set[str]) -> Iterator[Fact]:
        yield from facts(passage)
        yield from keyed_facts(passage, keys)
        yield from table_facts(passage)

    def _of_other_language(self, passage: Passage, group: str, test: bool) -> Iterator[Pair]:
        """What needs no English words of ours: questions that the document asks itself, and going on."""
        heading = passage.headings[-1] if passage.headings else ""
        if is_question(heading) and passage.parts == 1 and len(passage.text) <= MOST_ANSWER:
            yield from self._pair(passage, group, "qa", heading, passage.text, passage.line, test)
        if (task := plain_continue_task(passage)) is not None:
            yield from self._pair(passage, group, "continue", *task, passage.line, test)

    def _of_fact(self, passage: Passage, group: str, fact: Fact, test: bool) -> Iterator[Pair]:
        learnt, further = fact.questions[: self._section.wordings], fact.questions[self._section.wordings :]
        for question in learnt:
            yield from self._pair(passage, group, "qa", question, fact.answer, fact.line, test)
        if fact.form not in {"section", "list", "table"} and fact.answer != passage.text:
            prompt = extract_prompt(passage, fact.questions[0])
            yield from self._pair(passage, group, "extract", prompt, fact.answer, fact.line, test)
        if (
            test
            or "qa" not in self._section.kinds
            or position(f"hold back {group} {fact.answer}") >= self._section.hold_back
        ):
            return
        held = min(further, key=lambda wording: self._likeness(wording, learnt), default="")
        if not held or self._likeness(held, learnt) >= self._threshold:
            return
        if self._is_new(held, passage, fact.line):
            yield Pair(single_turn(passage.file, fact.line, group, "qa", held, fact.answer), held=True)

    def of_written(
        self, passage: Passage, group: str, question: str, answer: str, test: bool
    ) -> Iterator[Pair]:
        """The pairs of a question and answer that a model wrote and that were checked."""
        yield from self._pair(passage, group, "qa", question, answer, passage.line, test)
        yield from self._pair(
            passage, group, "extract", extract_prompt(passage, question), answer, passage.line, test
        )

    @staticmethod
    def _likeness(wording: str, others: Sequence[str]) -> float:
        text = normalise(wording)
        return max(
            likeness(text, normalise(other), kind) for other in others for kind in ("characters", "words")
        )
