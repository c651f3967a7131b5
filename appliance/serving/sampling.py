"""What a request asks of the engine and what it gets back; shared by both sides of the pipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Sampling:
    """How to choose tokens, and when to end.

    Attributes:
        max_tokens: at most this many new tokens (and never more than the context has room for).
        temperature: 0 takes the likeliest token each time; the next four then don't matter.
        top_k, top_p, min_p: llama.cpp's filters, in this order, before the temperature; 0, 1 and 0 switch
            them off.
        seed: same seed, same draw; None draws one.
        stop: end before the first of these texts.
        margin: tell also how close the choice of a token came to falling on another one.
        grammar: what the answer is held to (`schema_grammar.grammar_of`); empty for nothing.
        confidence: tell also how likely the model found its tokens, as some of them show.
    """

    max_tokens: int = 256
    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    margin: bool = False
    grammar: str = ""
    confidence: bool = False

    @property
    def deterministic(self) -> bool:
        """Whether the same prompt is meant to give the same answer."""
        return self.temperature <= 0 or self.seed is not None

    def to_json(self) -> dict[str, Any]:
        """The form that crosses the pipe."""
        value = {**asdict(self), "stop": list(self.stop)}
        if not self.margin:
            del value["margin"]  # it changes no answer, so it is no part of what an answer is kept under
        if not self.confidence:
            del value["confidence"]
        if not self.grammar:
            del value["grammar"]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sampling:
        """The inverse of `to_json`."""
        return cls(**{**value, "stop": tuple(value.get("stop", ()))})


@dataclass(frozen=True)
class Chunk:
    """A piece of an answer.

    Attributes:
        text: valid Unicode, never half a character, never part of a stop text.
        finish: None until the last chunk.
        prompt_tokens, cached_tokens, completion_tokens: only on the last one; of the prompt's tokens,
            `cached_tokens` were already in memory.
        queue_seconds, prompt_seconds, seconds: only on the last one; waiting, reading the prompt, all of it.
        margin: only on the last one, and only if asked for: the smallest gap of any of the answer's tokens
            between the largest logit and the next.
        confidence: only on the last one, and only if asked for: mean natural log-probability of the answer's tokens,
            taken at every fourth of them, by the model's own distribution (temperature 1, before any grammar).
        error: only on the last one: why there is no answer (`finish` is "error" then).
    """

    text: str
    finish: str | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_seconds: float = 0.0
    prompt_seconds: float = 0.0
    seconds: float = 0.0
    margin: float | None = None
    confidence: float | None = None
    error: str = ""


@dataclass(frozen=True)
class Completion:
    """A whole answer; the fields are those of `Chunk`."""

    text: str
    finish: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cached_tokens: int = 0
    queue_seconds: float = 0.0
    prompt_seconds: float = 0.0
    margin: float | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Likelihood:
    """How likely given tokens are.

    Attributes:
        logprob: sum of the natural logarithms of their probabilities.
        tokens: how many they are.
        greedy: whether each was the likeliest.
    """

    logprob: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class EngineInfo:
    """What the loaded model is.

    Attributes:
        chat_template: Jinja source from the GGUF; empty if it has none.
        bos, eos: texts of the begin and end tokens; empty if it has none.
        adds_bos: the tokenizer is to put the begin token before a text.
        context: tokens that one request may use, prompt and answer together.
        slots: sequences answered at the same time.
        parameters: number of weights.
        description: llama.cpp's words for architecture, size and type.
        vocabulary: number of tokens.
        build: version of llama.cpp and the CPU features in use.
        threads: CPU threads.
    """

    chat_template: str
    bos: str
    eos: str
    adds_bos: bool
    context: int
    slots: int
    parameters: int
    description: str
    vocabulary: int
    build: str
    threads: int
