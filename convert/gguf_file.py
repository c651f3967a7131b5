"""GGUF files: mapped after their header was checked (`gguf_header`), written in one pass in a fixed order.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little-endian; version 2 is
    read too).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.gguf_header import CODES, DEFAULT_ALIGNMENT, MAGIC, Kind, open_header, shown
from convert.gguf_header import Value as Value
from convert.tensor_types import TYPES, TensorType

ALIGNMENT = DEFAULT_ALIGNMENT


def u32(value: int) -> Value:
    """An unsigned 32-bit value."""
    return Value(Kind.U32, value)


def f32(value: float) -> Value:
    """A 32-bit float."""
    return Value(Kind.F32, value)


def boolean(value: bool) -> Value:
    """True or false."""
    return Value(Kind.BOOL, value)


def string(value: str) -> Value:
    """UTF-8 text."""
    return Value(Kind.STRING, value)


def strings(value: Sequence[str]) -> Value:
    """An array of UTF-8 texts."""
    return Value(Kind.ARRAY, list(value), Kind.STRING)


def i32s(value: Sequence[int]) -> Value:
    """An array of signed 32-bit values."""
    return Value(Kind.ARRAY, list(value), Kind.I32)


@dataclass(frozen=True)
class GgufTensor:
    """A tensor in a file, mapped.

    Attributes:
        shape: as checkpoints have it (rows first); GGUF stores it the other way round.
        data: uint8, shape (rows, bytes of a row).
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Gguf:
    """A file's metadata and tensors, in file order."""

    path: Path
    metadata: dict[str, Value]
    tensors: dict[str, GgufTensor]

    def get(self, key: str, default: Any = None) -> Any:
        """The plain value of a metadata key."""
        found = self.metadata.get(key)
        return default if found is None else found.value

    def text(self, key: str, default: str = "") -> str:
        """A metadata key that must be text where it is there.

        Raises:
            ConvertError: it is something else.
        """
        found = self.get(key, default)
        if not isinstance(found, str):
            raise ConvertError(f"{self.path}: {key} is no text", "get the file again from its source")
        return found


def read(path: Path) -> Gguf:
    """Map the file at `path`, after all of its structure was checked by `gguf_header`.

    Raises:
        ConvertError: no GGUF, another version, cut short, lying about a length, or of a type that we can't read.
    """
    header = open_header(path)
    for stored in header.tensors.values():
        if stored.type.name not in TYPES:
            reason = f"{path}: tensor {shown(stored.name)} is of type {stored.type.name}"
            raise ConvertError(reason, f"types that can be converted: {', '.join(TYPES)}")
    mapped: npt.NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    if mapped.size != header.size:
        raise ConvertError(
            f"{path}: changed while it was being read", "wait until it is copied, and try again"
        )
    tensors = {}
    for name, stored in header.tensors.items():
        data = mapped[stored.begin : stored.begin + stored.bytes]
        rows = data.reshape(-1, stored.type.row_bytes(stored.shape[-1]))
        tensors[name] = GgufTensor(name, stored.shape, stored.type, rows)
    return Gguf(path, header.metadata, tensors)


def _encode_text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _encode(value: Value) -> bytes:
    if value.kind is Kind.STRING:
        return _encode_text(value.value)
    if value.kind is not Kind.ARRAY:
        return struct.pack("<" + CODES[value.kind], value.value)
    item, values = value.item, value.value
    assert item is not None
    head = struct.pack("<IQ", item, len(values))
    if item is Kind.STRING:
        return head + b"".join(_encode_text(each) for each in values)
    if item is Kind.ARRAY:
        raise ConvertError("arrays of arrays are not written")
    return head + struct.pack(f"<{len(values)}{CODES[item]}", *values)


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor about to be written; `shape` as checkpoints have it."""

    name: str
    shape: tuple[int, ...]
    type: TensorType

    @property
    def bytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape[:-1]) * self.type.row_bytes(self.shape[-1])


def padding(size: int) -> bytes:
    """The zeros that follow `size` bytes up to the alignment."""
    return bytes(-size % ALIGNMENT)


def header(metadata: Mapping[str, Value], tensors: Sequence[PlannedTensor]) -> bytes:
    """All that stands before the first tensor's data, padding included.

    The tensors' data then follow in the same order, each followed by `padding(tensor.bytes)`.
    """
    parts = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(metadata))]
    for key, value in metadata.items():
        parts += [_encode_text(key), struct.pack("<I", value.kind), _encode(value)]
    offset = 0
    for tensor in tensors:
        parts += [_encode_text(tensor.name), struct.pack("<I", len(tensor.shape))]
        parts.append(struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape)))
        parts.append(struct.pack("<IQ", tensor.type.number, offset))
        offset += tensor.bytes + -tensor.bytes % ALIGNMENT
    joined = b"".join(parts)
    return joined + padding(len(joined))
