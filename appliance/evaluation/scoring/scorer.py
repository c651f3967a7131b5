"""What a scorer is: the keys of its cases, what it asks the model, and what it makes of the outcome. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from appliance.evaluation.suite import Case, Messages, Suite
from appliance.serving.sampling import Likelihood

Better = Literal["higher", "lower", "neither"]
KeyKind = Literal["text", "texts", "number", "index", "count", "share", "flag", "messages", "object", "json"]
"""`index`: a whole number from 0; `count`: one from 1 to `MOST_COUNT`; `share`: above 0 and up to 1."""
MOST_COUNT = 10_000


@dataclass(frozen=True)
class Key:
    """A key that a case or an option may have."""

    kind: KeyKind
    required: bool = False
    about: str = ""


@dataclass(frozen=True)
class Said:
    """An answer: its text, and whether it ended by itself."""

    text: str
    ended: bool = True


@dataclass(frozen=True)
class Continuation:
    """A text whose likelihood is asked, after a context: plain text, or a conversation for the model's template."""

    context: str | Messages
    text: str


@dataclass(frozen=True)
class CaseScore:
    """What one case came to.

    Attributes:
        values: numbers that the metrics are summed from; a metric leaves out cases that lack its numbers.
        ok: whether the case is as it should be; None where that can't be said of one.
        given: what the model said or preferred, for people.
        expected: what it should have, for people.
        note: why it isn't ok.
        pair: (expected label, given label), for a confusion matrix.
    """

    values: Mapping[str, float]
    ok: bool | None = None
    given: str = ""
    expected: str = ""
    note: str = ""
    pair: tuple[str, str] | None = None


def _ratio(top: Any, bottom: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(bottom == 0, 0.0, top / np.where(bottom == 0, 1, bottom))


@dataclass(frozen=True)
class Metric:
    """A figure over cases.

    Attributes:
        name: in gates and results.
        about: what it is, in a few words.
        better: which way is better.
        sums: names of `CaseScore.values` that are summed over the cases; `#name` counts the cases that have `name`.
        combine: the figure from these sums; works on arrays too.
        shape: how it is written: a share as a percentage, a number as it is.
    """

    name: str
    about: str
    better: Better = "higher"
    sums: tuple[str, ...] = ()
    combine: Callable[..., Any] = _ratio
    shape: Literal["share", "number"] = "share"

    def terms(self) -> tuple[str, ...]:
        """The names of its sums; a mean of the values of its own name where none are given."""
        return self.sums or (self.name, f"#{self.name}")


def table_of(metric: Metric, scores: Sequence[CaseScore]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(cases, terms): what each case adds to each of a metric's sums."""

    def term(score: CaseScore, name: str) -> float:
        if name.startswith("#"):
            return float(name[1:] in score.values)
        return float(score.values.get(name, 0.0))

    return np.array([[term(score, name) for name in metric.terms()] for score in scores]).reshape(
        len(scores), len(metric.terms())
    )


Values = Mapping[str, Any]


def _nothing(*_: Any) -> list[Any]:
    return []


@dataclass(frozen=True)
class Scorer:
    """What all scorers have.

    Attributes:
        name, about: for heads of suites, and for people.
        keys, options: that its cases and its suites' heads may have.
        metrics: its figures; the first stands for the suite.
        check: (case, options) -> why a case, each of whose keys is of its kind, could never be wrong, or never right.
        check_options: options -> (option, what is wrong with it), of options that are each of their kind.
        check_all: cases -> what is wrong with all of a suite's together.
    """

    name: str
    about: str
    keys: Mapping[str, Key]
    metrics: tuple[Metric, ...]
    options: Mapping[str, Key] = field(default_factory=dict)
    check: Callable[[Values, Values], list[str]] = field(default=_nothing, kw_only=True)
    check_options: Callable[[Values], list[tuple[str, str]]] = field(default=_nothing, kw_only=True)
    check_all: Callable[[Sequence[Values]], list[str]] = field(default=_nothing, kw_only=True)


def listed(value: Any) -> list[str]:
    """The texts of a key that may hold one or several; none where it is missing."""
    return [] if value is None else [value] if isinstance(value, str) else list(value)


def blank(values: Values, *keys: str, normal: Callable[[str], str] = str.strip) -> list[str]:
    """What is wrong with keys that hold a text of which `normal` leaves nothing."""
    return [
        f"`{key}` holds {text[:20]!r}: nothing in it can be compared"
        for key in keys
        for text in listed(values.get(key))
        if not normal(text)
    ]


def blank_reference(values: Values, _options: Values) -> list[str]:
    """`check` of scorers with a `reference`."""
    return blank(values, "reference")


def one_prompt(case: Case, suite: Suite) -> list[Messages]:
    """The conversation of a case that asks once."""
    return [conversation(case, suite)]


def conversation(case: Case, suite: Suite, prompt: str | None = None) -> Messages:
    """`messages` of a case, or its `prompt` as the user's turn, behind the system prompt that counts for it."""
    given = case.values.get("messages")
    if given is not None and prompt is None:
        messages: Messages = [dict(message) for message in given]
    else:
        messages = [{"role": "user", "content": case.text("prompt") if prompt is None else prompt}]
    system = case.values.get("system", suite.system)
    if system and messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": str(system)})
    return messages


@dataclass(frozen=True)
class AnswerScorer(Scorer):
    """Scores what the model writes.

    Attributes:
        score: (case, suite, answers) -> score.
        ask: (case, suite) -> the conversations to answer.
    """

    score: Callable[[Case, Suite, Sequence[Said]], CaseScore] = field(kw_only=True)
    ask: Callable[[Case, Suite], list[Messages]] = one_prompt


@dataclass(frozen=True)
class LikelihoodScorer(Scorer):
    """Scores how likely the model finds texts; nothing is generated.

    Attributes:
        score: (case, suite, likelihoods) -> score.
        texts: (case, suite) -> what the likelihoods are asked of, in that order.
    """

    score: Callable[[Case, Suite, Sequence[Likelihood]], CaseScore] = field(kw_only=True)
    texts: Callable[[Case, Suite], list[Continuation]] = field(kw_only=True)


@dataclass(frozen=True)
class Likeness:
    """Cosines of an answer's embedding.

    Attributes:
        own: with the nearest of its case's own references.
        others: with the other cases' references, one at least.
    """

    own: float
    others: tuple[float, ...]


@dataclass(frozen=True)
class EmbeddingScorer(Scorer):
    """Scores what the model writes by embeddings of the file that ships.

    Attributes:
        score: (case, suite, answers, cosines) -> score.
        ask: (case, suite) -> the conversation to answer.
    """

    score: Callable[[Case, Suite, Sequence[Said], Likeness], CaseScore] = field(kw_only=True)
    ask: Callable[[Case, Suite], list[Messages]] = one_prompt


@dataclass(frozen=True)
class Compared:
    """What two files predict at the same places, one beside the other.

    Attributes:
        kl: sum over the places of KL(16-bit file || file that ships), in nats.
        same: places whose likeliest token is the same.
        places: how many.
    """

    kl: float
    same: int
    places: int


@dataclass(frozen=True)
class FidelityScorer(Scorer):
    """Scores how far the whole distributions of the file that ships are from those of the same model in 16 bits.

    Attributes:
        score: (case, suite, comparison) -> score.
        text: (case, suite) -> the text at whose tokens they are taken.
    """

    score: Callable[[Case, Suite, Compared], CaseScore] = field(kw_only=True)
    text: Callable[[Case, Suite], Continuation] = field(kw_only=True)


ASKED: dict[str, Key] = {
    "prompt": Key("text", about="the user's turn"),
    "messages": Key("messages", about="a conversation, in place of `prompt`"),
    "system": Key("text", about="system prompt of this case"),
    "category": Key("text", about="figures are also told by category"),
    "source": Key("text", about="where the case comes from"),
}
"""Keys of every case that is answered; one of the first two is needed."""
