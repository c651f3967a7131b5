"""Suites run on one engine: answers side by side, likelihoods one case at a time, each scored; what fails is named."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.errors import AnchorholdError, ServingError
from appliance.evaluation.answers import Answer, AnswerStore, answer_key
from appliance.evaluation.auditing.likelihoods import Asker, LikelihoodStore, TooLong
from appliance.evaluation.scoring import (
    SCORERS,
    AnswerScorer,
    CaseScore,
    EmbeddingScorer,
    LikelihoodScorer,
    Said,
)
from appliance.evaluation.suite import Case, Fault, Messages, Suite
from appliance.serving.engine_client import Chunk, Engine, Sampling

HEARTBEAT = 3.0  # seconds without an answer after which we say that we are alive


@dataclass
class Outcome:
    """What running one suite came to.

    Attributes:
        suite: which.
        scores: by case id, in the order of the suite; cases with a fault are missing.
        faults: cases that couldn't be asked or scored, and why.
        said: the texts of its answers, by case id; empty for likelihoods.
    """

    suite: Suite
    scores: dict[str, CaseScore] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    said: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, case: Case, text: str) -> None:
        """Name a case that is left out."""
        self.faults.append(Fault(case.where, text, self.suite.name, case.id))


@dataclass(frozen=True)
class _Question:
    key: str
    tokens: list[int]
    sampling: Sampling
    suite: str
    case: str


class Runner:
    """Runs suites on one system.

    Args:
        engine: with the system's file loaded.
        system: the system's key.
        file_sha256: of the file.
        answers, likelihoods: where what was found is kept.
        tell: called with a suite's name and the number of cases done since the last call.
        frame: what makes the system's prompt of a conversation that is to be answered; None: it is asked as it is.
    """

    def __init__(
        self,
        engine: Engine,
        system: str,
        file_sha256: str,
        answers: AnswerStore,
        likelihoods: LikelihoodStore,
        tell: Callable[[str, int], None],
        frame: Callable[[Messages], Messages] | None = None,
    ) -> None:
        self._frame = frame
        self._engine, self._system, self._file = engine, system, file_sha256
        self._answers, self._tell = answers, tell
        self._asker = Asker(engine, file_sha256, likelihoods)
        self._failed: dict[str, str] = {}

    def run(self, suites: Sequence[Suite]) -> list[Outcome]:
        """Run them all: first what is answered, then what is weighed.

        Raises:
            ServingError: the engine has ended; run again to go on.
        """
        outcomes = {suite.name: Outcome(suite) for suite in suites}
        self._answered([outcomes[suite.name] for suite in suites])
        for suite in suites:
            if isinstance(SCORERS[suite.scorer], LikelihoodScorer):
                self._weighed(outcomes[suite.name])
        return list(outcomes.values())

    # What is answered

    def _answered(self, outcomes: Sequence[Outcome]) -> None:
        asked: list[tuple[Outcome, Case, list[_Question]]] = []
        for outcome in outcomes:
            scorer = SCORERS[outcome.suite.scorer]
            if isinstance(scorer, (AnswerScorer, EmbeddingScorer)):
                for case in outcome.suite.cases:
                    questions = self._questions(outcome, case, scorer)
                    if questions:
                        asked.append((outcome, case, questions))
                    else:
                        self._tell(outcome.suite.name, 1)
        waiting: dict[str, int] = {}
        open_questions: dict[str, _Question] = {}
        for _, _, questions in asked:
            for question in questions:
                if self._answers.get(question.key) is None:
                    open_questions[question.key] = question
                waiting[question.suite] = waiting.get(question.suite, 0) + 1
        told = {(question.suite, question.case) for question in open_questions.values()}
        self._ask(list(open_questions.values()))
        for outcome, case, questions in asked:
            found = [self._answers.get(question.key) for question in questions]
            said = [Said(answer.text, answer.ended) for answer in found if answer is not None]
            if len(said) < len(questions):
                reason = next(self._failed[q.key] for q in questions if q.key in self._failed)
                outcome.fault(case, reason)
            else:
                outcome.said[case.id] = [answer.text for answer in said]
                scorer = SCORERS[outcome.suite.scorer]
                if isinstance(
                    scorer, AnswerScorer
                ):  # by embeddings it is scored when all systems have answered
                    self._score(outcome, case, scorer.score, said)
            if (outcome.suite.name, case.id) not in told:  # two suites may ask the same
                self._tell(outcome.suite.name, 1)

    def _questions(
        self, outcome: Outcome, case: Case, scorer: AnswerScorer | EmbeddingScorer
    ) -> list[_Question]:
        suite, found = outcome.suite, []
        sampling = Sampling(max_tokens=suite.max_tokens, temperature=0.0)
        try:
            for messages in scorer.ask(case, suite):
                tokens = self._engine.render(self._frame(messages) if self._frame else messages)
                room = self._engine.info.context - suite.max_tokens
                if len(tokens) > room:
                    raise TooLong(f"{len(tokens)} tokens of prompt; the audit's context has room for {room}")
                key = answer_key(
                    self._file, tokens, {**sampling.to_json(), "engine": self._engine.info.build}
                )
                found.append(_Question(key, tokens, sampling, suite.name, case.id))
        except TooLong as error:
            outcome.fault(case, str(error))
            return []
        except Exception as error:
            self._check_alive(error)
            outcome.fault(case, f"can't be asked: {words_of_error(error)}")
            return []
        return found

    def _ask(self, questions: Sequence[_Question]) -> None:
        done: queue.SimpleQueue[tuple[_Question, Chunk]] = queue.SimpleQueue()
        left = {question.key: question for question in questions}
        last_of_case: dict[tuple[str, str], int] = {}
        for question in questions:
            last_of_case[question.suite, question.case] = (
                last_of_case.get((question.suite, question.case), 0) + 1
            )
        following = iter(questions)
        running: dict[str, int] = {}

        def submit() -> None:
            question = next(following, None)
            if question is not None:
                running[question.key] = self._engine.submit(
                    question.tokens,
                    question.sampling,
                    lambda chunk, question=question: done.put((question, chunk)),  # type: ignore[misc]
                    stream=False,
                )

        try:
            for _ in range(self._engine.info.slots * 2):
                submit()
            before = time.monotonic()
            while left:
                try:
                    question, chunk = done.get(timeout=HEARTBEAT)
                except queue.Empty:
                    self._tell(next(iter(left.values())).suite, 0)
                    continue
                del left[question.key]
                running.pop(question.key, None)
                if chunk.finish == "error":
                    if not self._engine.alive:
                        raise ServingError(
                            chunk.error, "run the same command again: what was answered is kept"
                        )
                    self._failed[question.key] = f"the engine gave no answer: {chunk.error}"
                else:
                    now = time.monotonic()
                    self._answers.add(self._kept(question, chunk, now - before))
                    before = now
                number = (question.suite, question.case)
                last_of_case[number] -= 1
                if not last_of_case[number]:
                    self._tell(question.suite, 1)
                submit()
        except BaseException:
            for request in running.values():
                self._engine.cancel(request)
            raise

    def _kept(self, question: _Question, chunk: Chunk, seconds: float) -> Answer:
        return Answer(
            question.key,
            self._system,
            f"{question.suite}/{question.case}",
            chunk.text,
            chunk.finish or "",
            chunk.prompt_tokens,
            chunk.completion_tokens,
            round(seconds, 4),
        )

    # What is weighed

    def _weighed(self, outcome: Outcome) -> None:
        suite = outcome.suite
        scorer = SCORERS[suite.scorer]
        assert isinstance(scorer, LikelihoodScorer)
        for case in suite.cases:
            try:
                found = self._asker.likelihoods(scorer.texts(case, suite))
            except TooLong as error:
                outcome.fault(case, str(error))
            except Exception as error:
                self._check_alive(error)
                outcome.fault(case, f"can't be asked: {words_of_error(error)}")
            else:
                score = scorer.score
                self._score(outcome, case, score, found)
            self._tell(suite.name, 1)

    # Both

    def _check_alive(self, error: Exception) -> None:
        if not self._engine.alive:
            raise error

    def _score(self, outcome: Outcome, case: Case, score: Callable[..., CaseScore], given: Any) -> None:
        try:
            outcome.scores[case.id] = score(case, outcome.suite, given)
        except Exception as error:  # named, and the rest runs
            outcome.fault(case, f"the scorer {outcome.suite.scorer} failed: {words_of_error(error)}")


def words_of_error(error: Exception) -> str:
    """What went wrong, in one line."""
    if isinstance(error, AnchorholdError):
        return error.message
    return f"{type(error).__name__}: {error}"
