"""GGUF files: read with every length checked before it is believed, written in one pass in a fixed order.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3, little-endian; version 2 is read
    too).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convert.errors import ConvertError
from convert.libggml import BY_NUMBER, TYPES, TensorType

MAGIC = b"GGUF"
ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_MAX_DEPTH = 2  # arrays of arrays are allowed by the format and used by nobody
_MAX_ALIGNMENT = 1 << 16


class Kind(IntEnum):
    """Types of metadata values."""

    U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


_CODES: dict[Kind, str] = {
    Kind.U8: "B",
    Kind.I8: "b",
    Kind.U16: "H",
    Kind.I16: "h",
    Kind.U32: "I",
    Kind.I32: "i",
    Kind.F32: "f",
    Kind.BOOL: "?",
    Kind.U64: "Q",
    Kind.I64: "q",
    Kind.F64: "d",
}


class Value(NamedTuple):
    """A metadata value with its type; `item` is the type of an array's items."""

    kind: Kind
    value: Any
    item: Kind | None = None


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
            raise _fail(self.path, f"{key} is no text")
        return found


def _fail(path: Path, reason: str) -> ConvertError:
    return ConvertError(
        f"{path}: {reason}", "the file is damaged, incomplete or no GGUF: copy it again from its source"
    )


class _Cursor:
    """Reads little-endian values from a mapped file, and never past its end."""

    def __init__(self, path: Path, data: npt.NDArray[np.uint8]) -> None:
        self.path, self.view, self.position, self.size = path, data.data, 0, data.size

    def take(self, count: int) -> memoryview:
        if count > self.size - self.position:
            raise _fail(
                self.path, f"cut short: {count} bytes are due at {self.position}, the file has {self.size}"
            )
        self.position += count
        return self.view[self.position - count : self.position]

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def count(self, smallest: int, what: str) -> int:
        found: int = self.number("Q")
        if found * smallest > self.size - self.position:
            raise _fail(self.path, f"claims {found} {what}, more than the file can hold")
        return found

    def text(self) -> str:
        length = self.number("Q")
        try:
            return str(self.take(length), "utf-8")
        except UnicodeDecodeError as error:
            raise _fail(self.path, f"text at {self.position - length} is not UTF-8") from error

    def kind(self) -> Kind:
        number = self.number("I")
        if number not in iter(Kind):
            raise _fail(self.path, f"unknown metadata type {number} at {self.position - 4}")
        return Kind(number)

    def value(self, kind: Kind, depth: int = 0) -> Any:
        if kind is Kind.STRING:
            return self.text()
        if kind is not Kind.ARRAY:
            return self.number(_CODES[kind])
        return self.array(depth)[1]

    def array(self, depth: int = 0) -> tuple[Kind, list[Any]]:
        if depth >= _MAX_DEPTH:
            raise _fail(self.path, "arrays nested too deep")
        item = self.kind()
        if item in _CODES:
            size = struct.calcsize("<" + _CODES[item])
            count = self.count(size, "array items")
            return item, list(struct.unpack(f"<{count}{_CODES[item]}", self.take(count * size)))
        count = self.count(8, "array items")
        if item is Kind.STRING:
            return item, [self.text() for _ in range(count)]
        return item, [self.value(item, depth + 1) for _ in range(count)]


def _metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key, kind = cursor.text(), cursor.kind()
        if key in metadata:
            raise _fail(cursor.path, f"metadata key {key!r} stands there twice")
        if kind is Kind.ARRAY:
            item, values = cursor.array()
            metadata[key] = Value(kind, values, item)
        else:
            metadata[key] = Value(kind, cursor.value(kind))
    return metadata


@dataclass(frozen=True)
class _Placed:
    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    bytes: int


def _placed(cursor: _Cursor) -> _Placed:
    name = cursor.text()
    dimensions = cursor.number("I")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise _fail(cursor.path, f"tensor {name!r} has {dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))[::-1]
    number, offset = cursor.number("I"), cursor.number("Q")
    if number not in BY_NUMBER:
        known = ", ".join(TYPES)
        raise ConvertError(
            f"{cursor.path}: tensor {name!r} is of type number {number}", f"known types: {known}"
        )
    kind = BY_NUMBER[number]
    if 0 in shape or math.prod(shape) > cursor.size * 8:  # no type takes less than a bit a weight
        raise _fail(cursor.path, f"tensor {name!r} has the impossible shape {list(shape)}")
    if shape[-1] % kind.block:
        raise _fail(cursor.path, f"tensor {name!r}: rows of {shape[-1]} weights can't be of type {kind.name}")
    return _Placed(name, shape, kind, offset, math.prod(shape[:-1]) * kind.row_bytes(shape[-1]))


def read(path: Path) -> Gguf:
    """Map the file at `path` and check all of its structure.

    Raises:
        ConvertError: no GGUF, another version, cut short, or lying about a length.
    """
    if not path.is_file():
        raise ConvertError(f"{path}: no such file")
    if path.stat().st_size < 24:
        raise _fail(path, f"no GGUF file: {path.stat().st_size} bytes")
    mapped: npt.NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
    cursor = _Cursor(path, mapped)
    if bytes(cursor.take(4)) != MAGIC:
        raise _fail(path, "no GGUF file: its first bytes say otherwise")
    version = cursor.number("I")
    if version not in {2, 3}:
        raise ConvertError(f"{path}: GGUF version {version}", "versions 2 and 3 (little-endian) are read")
    tensor_count, key_count = cursor.count(24, "tensors"), cursor.count(12, "metadata keys")
    metadata = _metadata(cursor, key_count)
    placed = [_placed(cursor) for _ in range(tensor_count)]
    alignment = metadata["general.alignment"].value if "general.alignment" in metadata else ALIGNMENT
    if not isinstance(alignment, int) or not 1 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
        raise _fail(path, f"alignment {alignment!r}")
    begin = -(-cursor.position // alignment) * alignment
    tensors: dict[str, GgufTensor] = {}
    position = 0
    for each in sorted(placed, key=lambda one: one.offset):
        if each.name in tensors:
            raise _fail(path, f"tensor {each.name!r} stands there twice")
        if each.offset % alignment or each.offset < position:
            raise _fail(
                path, f"tensor {each.name!r} at {each.offset} overlaps its neighbour or is not aligned"
            )
        position = each.offset + each.bytes
        if begin + position > mapped.size:
            raise _fail(
                path, f"cut short: tensor {each.name!r} ends at {begin + position}, the file at {mapped.size}"
            )
        data = mapped[begin + each.offset : begin + position].reshape(-1, each.type.row_bytes(each.shape[-1]))
        tensors[each.name] = GgufTensor(each.name, each.shape, each.type, data)
    return Gguf(path, metadata, tensors)


def _encode_text(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _encode(value: Value) -> bytes:
    if value.kind is Kind.STRING:
        return _encode_text(value.value)
    if value.kind is not Kind.ARRAY:
        return struct.pack("<" + _CODES[value.kind], value.value)
    item, values = value.item, value.value
    assert item is not None
    head = struct.pack("<IQ", item, len(values))
    if item is Kind.STRING:
        return head + b"".join(_encode_text(each) for each in values)
    if item is Kind.ARRAY:
        raise ConvertError("arrays of arrays are not written")
    return head + struct.pack(f"<{len(values)}{_CODES[item]}", *values)


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
