"""Where a message lies among the usual ones, by the served model's own token embeddings; no forward pass.

Each token's embedding is projected to a few numbers once (random signs: Achlioptas, "Database-friendly random
projections", Journal of Computer and System Sciences 66, 2003); a message is the mean of its tokens'. How far it lies
from the messages that a device learnt from is Mahalanobis's distance (1936), which knows how these are spread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS = 16
"""Numbers of a projected embedding."""
_TENSOR = "token_embd.weight"
_ROWS = 4096  # of the table that are unpacked at a time
_RIDGE = 0.01  # of the mean variance, added to each: a few hundred alike messages don't span all directions


def _signs(columns: int) -> NDArray[np.float32]:
    """The projection, shape [columns, DIMENSIONS]; the same on every machine and for every version of numpy."""
    data = hashlib.shake_256(b"anchorhold embedding 1").digest(columns * DIMENSIONS // 8)
    bits = np.unpackbits(np.frombuffer(data, dtype=np.uint8)).reshape(columns, DIMENSIONS)
    return (bits.astype(np.float32) * 2 - 1) / np.float32(columns**0.5)


def table_of(model: Path) -> NDArray[np.float32]:
    """Every token's projected embedding, shape [vocabulary, DIMENSIONS]; a third of a second for 50,000 tokens.

    Args:
        model: a GGUF file.

    Raises:
        ConvertError: no such file, or of a type that can't be read.
        OSError: it can't be read.
    """
    from convert import gguf_file, libggml
    from convert.errors import ConvertError

    tensor = gguf_file.read(model).tensors.get(_TENSOR)
    if tensor is None:
        raise ConvertError(f"{model}: no tensor {_TENSOR}", "get the file again from its source")
    signs = _signs(tensor.shape[-1])
    parts = (tensor.data[begin : begin + _ROWS] for begin in range(0, len(tensor.data), _ROWS))
    return np.concatenate([libggml.dequantize(part, tensor.type.name) @ signs for part in parts])


def mean_of(table: NDArray[np.float32], tokens: Sequence[int]) -> NDArray[np.float64] | None:
    """A message's place, shape [DIMENSIONS]; None where it has no tokens, or one that the table hasn't."""
    found = np.asarray(tokens, dtype=np.int64)
    if not len(found) or found.min() < 0 or found.max() >= len(table):
        return None
    mean: NDArray[np.float64] = table[found].mean(axis=0, dtype=np.float64)
    return mean if np.isfinite(mean).all() else None


class Cloud:
    """The places of usual messages, as count, sums and sums of products.

    Attributes:
        count: messages.
        total: shape [DIMENSIONS].
        products: shape [DIMENSIONS, DIMENSIONS].
    """

    def __init__(self) -> None:
        self.count = 0
        self.total: NDArray[np.float64] = np.zeros(DIMENSIONS)
        self.products: NDArray[np.float64] = np.zeros((DIMENSIONS, DIMENSIONS))
        self._inverse: NDArray[np.float64] | None = None

    def add(self, place: NDArray[np.float64]) -> None:
        """Count one message in."""
        self.count += 1
        self.total = self.total + place
        self.products = self.products + np.outer(place, place)
        self._inverse = None

    def distance(self, place: NDArray[np.float64]) -> float:
        """How far a message lies from the middle of the usual ones, in standard deviations; needs one of them."""
        middle = self.total / self.count
        inverse = self._inverse
        if inverse is None:
            spread = self.products / self.count - np.outer(middle, middle)
            ridge = max(_RIDGE * float(np.trace(spread)) / DIMENSIONS, 1e-12)
            inverse = np.linalg.inv(spread + ridge * np.eye(DIMENSIONS)).astype(np.float64)
            self._inverse = inverse
        apart = place - middle
        return float(np.sqrt(max(0.0, float(apart @ inverse @ apart))))

    def to_json(self) -> dict[str, Any]:
        """As in the state file."""
        return {"count": self.count, "total": self.total.tolist(), "products": self.products.tolist()}

    @classmethod
    def from_json(cls, value: Any) -> Cloud:
        """The inverse of `to_json`.

        Raises:
            ValueError, TypeError, KeyError: not such a value.
        """
        found = cls()
        found.count = int(value["count"])
        found.total = np.asarray(value["total"], dtype=np.float64)
        found.products = np.asarray(value["products"], dtype=np.float64)
        shapes = (found.total.shape, found.products.shape)
        finite = np.isfinite(found.total).all() and np.isfinite(found.products).all()
        if found.count < 0 or shapes != ((DIMENSIONS,), (DIMENSIONS, DIMENSIONS)) or not finite:
            raise ValueError("the places of usual messages aren't finite numbers of the right count")
        return found
