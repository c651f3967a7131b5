"""Answers held to a grammar: which tokens may come next, by llguidance. Nothing here can abort the process.

llama.cpp's own grammar sampler aborts it when a token outside the grammar is accepted, and is slow on large
vocabularies.
"""

from __future__ import annotations

import ctypes
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from appliance.errors import ServingError
from appliance.visible import on_one_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from appliance.serving.engine.library import Model

_REMEMBERED = (
    16  # grammars; a program asks with one a thousand times, and a large one takes half a second to read
)


class Constraint:
    """One answer's way through its grammar."""

    def __init__(self, matcher: Any, vocabulary: int) -> None:
        self._matcher = matcher
        self._mask: NDArray[np.int32] = np.zeros((vocabulary + 31) // 32, dtype=np.int32)

    @property
    def finished(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._matcher.is_stopped())

    def forbid(self, logits: NDArray[np.float32]) -> None:
        """Set the logits of all tokens that may not come next to minus infinity.

        Args:
            logits: of the whole vocabulary; changed in place.

        Raises:
            ServingError: the grammar became too complex on the way.
        """
        self._matcher.unsafe_compute_mask_ptr(self._mask.ctypes.data, self._mask.nbytes)
        check(self._matcher)
        allowed = np.unpackbits(self._mask.view(np.uint8), bitorder="little")[: len(logits)]
        logits[allowed == 0] = -np.inf

    def take(self, token: int) -> None:
        """Note the token that was chosen.

        Raises:
            ServingError: the grammar doesn't allow it.
        """
        self._matcher.consume_token(token)
        check(self._matcher)


def check(matcher: Any) -> None:
    """Refuse a matcher that can't go on.

    Raises:
        ServingError: with llguidance's reason.
    """
    if matcher.is_error():
        raise ServingError(f"the grammar: {on_one_line(matcher.get_error())}")


class Grammars:
    """Begins constraints over one model's vocabulary.

    Args:
        model: the loaded model.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._tokenizer: Any = None
        self._read: OrderedDict[str, Any] = OrderedDict()  # grammar -> a matcher at its beginning

    def begin(self, grammar: str) -> Constraint:
        """A constraint at its beginning.

        Args:
            grammar: llguidance's form, as `schema_grammar.grammar_of` makes it.

        Raises:
            ServingError: not a grammar, or one too complex.
        """
        from llguidance import LLMatcher

        if self._tokenizer is None:
            self._tokenizer = self._read_vocabulary()
        if grammar not in self._read:
            matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
            check(matcher)
            self._read[grammar] = matcher
            if len(self._read) > _REMEMBERED:
                self._read.popitem(last=False)
        self._read.move_to_end(grammar)
        return Constraint(self._read[grammar].deep_copy(), self._model.vocabulary)

    def _read_vocabulary(self) -> Any:
        """llguidance's form of the vocabulary: the bytes of each token, and which of them end an answer."""
        import llama_cpp.llama_cpp as llama
        from llguidance import LLTokenizer

        vocab, size = self._model.vocab, 4096
        buffer = ctypes.create_string_buffer(size)
        pieces, ends = [], []
        for token in range(self._model.vocabulary):
            length = llama.llama_token_to_piece(vocab, token, buffer, size, 0, True)
            piece = buffer.raw[: max(0, length)]
            ending = bool(llama.llama_vocab_is_eog(vocab, token))
            if ending:
                ends.append(token)
            if ending or llama.llama_vocab_is_control(vocab, token):
                piece = b"\xff" + piece  # llguidance's mark: never a part of a text
            pieces.append(piece)
        tokenize = ctypes.cast(llama._lib.llama_tokenize, ctypes.c_void_p).value
        return LLTokenizer.from_llamacpp(  # type: ignore[attr-defined]
            tokens=pieces, vocab_ptr=vocab, tokenize_fptr=tokenize, eos_token=ends, slices=None
        )
