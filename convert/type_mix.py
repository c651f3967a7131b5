"""Which tensor of a file takes which quantization type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from convert.errors import ConvertError
from convert.libggml import TensorType, fitting, tensor_type

FLOATS = frozenset({"F32", "F16", "BF16"})
EMBEDDINGS = frozenset({"token_embd.weight", "output.weight"})


@dataclass(frozen=True)
class Mix:
    """Which type each matrix takes.

    Attributes:
        matrices: all of them, but for what follows.
        embeddings: the embeddings, and the output projection if it isn't tied to them.
        overrides: (regular expression, type): the first that is found in a tensor's GGUF name decides.
    """

    matrices: TensorType
    embeddings: TensorType
    overrides: tuple[tuple[str, TensorType], ...] = ()

    @classmethod
    def named(cls, matrices: str, embeddings: str, overrides: Mapping[str, str] | None = None) -> Mix:
        """From the types' names; floats take the embeddings with them.

        Raises:
            ConvertError: an unknown type, or an expression that is none.
        """
        kind, table = tensor_type(matrices), tensor_type(embeddings)
        found = []
        for pattern, name in (overrides or {}).items():
            try:
                re.compile(pattern)
            except re.error as error:
                hint = "a regular expression over names such as blk.0.ffn_down.weight"
                raise ConvertError(f"override {pattern!r}: {error}", hint) from error
            found.append((pattern, tensor_type(name)))
        return cls(kind, kind if kind.name in FLOATS else table, tuple(found))

    def of(self, name: str, columns: int) -> TensorType:
        """The type of the matrix with this GGUF name."""
        wanted = self.embeddings if name in EMBEDDINGS else self.matrices
        wanted = next((kind for pattern, kind in self.overrides if re.search(pattern, name)), wanted)
        return fitting(wanted, columns)
