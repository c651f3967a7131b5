"""The header of a GGUF file, read strictly: nothing in it is believed before it is compared with a limit and the file.

It reads from any binary stream of known size, needs neither numpy nor the weights, and refuses what llama.cpp refuses
or reads otherwise than others do. Memory stays under `MOST_MEMORY`, whatever the file claims.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (version 3 and 2, little-endian). docs/formats/gguf.md
    has the limits with their reasons.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from convert.errors import ConvertError
from convert.tensor_types import BY_NUMBER, TensorType

MAGIC = b"GGUF"
VERSIONS = (2, 3)
DEFAULT_ALIGNMENT = 32
ALIGNMENT_KEY = "general.alignment"

MAX_HEADER_BYTES = 64 << 20  # the largest vocabularies of today take 17 MiB
MAX_KEYS = 4096  # llama.cpp compares each with all before it
MAX_TENSORS = 16_384  # likewise
MAX_KEY_BYTES = 65_535  # the specification's
MAX_NAME_BYTES = 63  # of a tensor; ggml.h, GGML_MAX_NAME with its closing zero
MAX_STRING_BYTES = 4 << 20
MAX_STRINGS = 1 << 21  # in all arrays together
MAX_NUMBERS = 1 << 21  # likewise
MAX_DIMENSIONS = 4  # ggml.h, GGML_MAX_DIMS
MIN_ALIGNMENT, MAX_ALIGNMENT = 8, 1 << 16
MOST_MEMORY = 512 << 20  # of a process that reads a header, its interpreter included

_SMALLEST_KEY = 8 + 1 + 4 + 1  # length, a letter, type, a byte
_SMALLEST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8  # length, a letter, count, one dimension, type, offset
_BLOCK = 1 << 18
_HINT = "the file is damaged, incomplete or hostile: get it again from its source"


class Kind(IntEnum):
    """Types of metadata values."""

    U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)


CODES: dict[Kind, str] = {
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
"""`struct`'s letters for the kinds that have one size."""


class Value(NamedTuple):
    """A metadata value with its type; `item` is the type of an array's items."""

    kind: Kind
    value: Any
    item: Kind | None = None


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies.

    Attributes:
        shape: as checkpoints have it (rows first); GGUF stores it the other way round.
        begin: of its data, in bytes from the beginning of the file.
        bytes: of its data, without padding.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    begin: int
    bytes: int

    @property
    def weights(self) -> int:
        """How many."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Header:
    """A checked header.

    Attributes:
        where: the file's name, for messages.
        size: of the file, in bytes.
        metadata: in the file's order.
        tensors: likewise, which is also the order of their data.
        remarks: what is odd and does no harm, a line each.
    """

    where: str
    size: int
    version: int
    alignment: int
    metadata: dict[str, Value] = field(repr=False)
    tensors: dict[str, StoredTensor] = field(repr=False)
    remarks: tuple[str, ...] = ()

    def get(self, key: str, default: Any = None) -> Any:
        """The plain value of a metadata key."""
        found = self.metadata.get(key)
        return default if found is None else found.value

    @property
    def weights(self) -> int:
        """Of all tensors."""
        return sum(tensor.weights for tensor in self.tensors.values())

    @property
    def bits_per_weight(self) -> float:
        """Over all tensors, scales included, metadata and padding not; 0 without tensors."""
        weights = self.weights
        return 8 * sum(tensor.bytes for tensor in self.tensors.values()) / weights if weights else 0.0


def shown(text: str, most: int = 80) -> str:
    """A name out of a file for a message: quoted, control and invisible characters written out, cut to `most`."""
    return repr(text if len(text) <= most else text[: most - 1] + "…")


class _Cursor:
    """Reads little-endian values in order, each only after its size was found to be there and allowed."""

    def __init__(self, stream: BinaryIO, size: int, where: str) -> None:
        self.stream, self.size, self.where = stream, size, where
        self.block, self.base, self.at = b"", 0, 0
        self.strings = self.numbers = 0

    @property
    def position(self) -> int:
        return self.base + self.at

    def fail(self, at: int, reason: str, hint: str = _HINT) -> NoReturn:
        raise ConvertError(f"{self.where}: at byte {at}: {reason}", hint)

    def need(self, count: int, what: str) -> None:
        """Have the next `count` bytes in the block."""
        if self.at + count <= len(self.block):
            return
        position = self.position
        if count > self.size - position:
            self.fail(position, f"cut short: {what} takes {count} bytes, the file ends at {self.size}")
        if position + count > MAX_HEADER_BYTES:
            self.fail(position, f"{what} ends beyond the {MAX_HEADER_BYTES} bytes that a header may take")
        rest = self.block[self.at :]
        wanted = min(max(count, _BLOCK), MAX_HEADER_BYTES - position)
        self.block = rest + self.stream.read(wanted - len(rest))
        self.base, self.at = position, 0
        if count > len(self.block):
            self.fail(position, f"{what} could not be read: the file became shorter meanwhile")

    def take(self, count: int, what: str) -> bytes:
        self.need(count, what)
        begin, self.at = self.at, self.at + count
        return self.block[begin : self.at]

    def number(self, code: str, what: str) -> Any:
        reader = _STRUCTS[code]
        self.need(reader.size, what)
        begin, self.at = self.at, self.at + reader.size
        return reader.unpack_from(self.block, begin)[0]

    def count(self, what: str, most: int, smallest: int) -> int:
        """A count of things of at least `smallest` bytes each, compared with a limit and with what is left."""
        at = self.position
        found: int = self.number("Q", f"the number of {what}")
        if found > most:
            self.fail(at, f"{found} {what}; at most {most} are read")
        if found * smallest > self.size - self.position:
            left = self.size - self.position
            self.fail(at, f"{found} {what} take at least {found * smallest} bytes, {left} are left")
        return found

    def text(self, what: str, most: int) -> str:
        at = self.position
        length: int = self.number("Q", what)
        if length > most:
            self.fail(at, f"{what} is {length} bytes long; at most {most} are read")
        data = self.take(length, what)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            self.fail(at + 8 + error.start, f"{what} is not UTF-8")

    def texts(self, count: int, what: str) -> list[str]:
        found: list[str] = []
        unpack = _STRUCTS["Q"].unpack_from
        while len(found) < count:
            # Within one block without calls: a vocabulary is most of a header. Whatever is odd goes to `text`.
            block, at, end = self.block, self.at, len(self.block)
            with contextlib.suppress(UnicodeDecodeError):
                while len(found) < count and at + 8 <= end:
                    stop = at + 8 + unpack(block, at)[0]
                    if stop > end or stop - at - 8 > MAX_STRING_BYTES:
                        break
                    found.append(block[at + 8 : stop].decode())
                    at = stop
            self.at = at
            if len(found) < count:
                found.append(self.text(what, MAX_STRING_BYTES))
        return found

    def name(self, what: str, most: int) -> str:
        at = self.position
        found = self.text(what, most)
        # C's readers stop at a zero byte, so that they would see another name than we do.
        if not found or "\0" in found:
            self.fail(at, f"{what} is {shown(found)}: empty, or with a zero byte")
        return found

    def kind(self, what: str) -> Kind:
        at = self.position
        number = self.number("I", f"the type of {what}")
        if number >= len(Kind):
            self.fail(at, f"{what} is of the unknown type {number}; 0 to {len(Kind) - 1} are known")
        return Kind(number)

    def flags(self, at: int, data: bytes, what: str) -> list[bool]:
        if data.strip(b"\0\1"):
            self.fail(at, f"{what} is true or false and neither 1 nor 0")
        return [byte == 1 for byte in data]

    def value(self, what: str) -> Value:
        kind = self.kind(what)
        if kind is Kind.STRING:
            return Value(kind, self.text(what, MAX_STRING_BYTES))
        if kind is Kind.ARRAY:
            return self.array(what)
        if kind is Kind.BOOL:
            return Value(kind, self.flags(self.position, self.take(1, what), what)[0])
        return Value(kind, self.number(CODES[kind], what))

    def array(self, what: str) -> Value:
        at = self.position
        item = self.kind(f"the items of {what}")
        if item is Kind.ARRAY:
            hint = "llama.cpp reads none of these either; leave this key out"
            self.fail(at, f"{what} holds arrays within an array", hint)
        if item is Kind.STRING:
            count = self.count(f"texts in {what}", MAX_STRINGS - self.strings, 8)
            self.strings += count
            return Value(Kind.ARRAY, self.texts(count, f"a text in {what}"), item)
        size = struct.calcsize("<" + CODES[item])
        count = self.count(f"items in {what}", MAX_NUMBERS - self.numbers, size)
        self.numbers += count
        begin, data = self.position, self.take(count * size, what)
        if item is Kind.BOOL:
            return Value(Kind.ARRAY, self.flags(begin, data, what), item)
        return Value(Kind.ARRAY, list(struct.unpack(f"<{count}{CODES[item]}", data)), item)


_STRUCTS = {code: struct.Struct("<" + code) for code in CODES.values()}


def _version(cursor: _Cursor) -> int:
    magic = cursor.take(4, "the magic number")
    if magic != MAGIC:
        cursor.fail(0, f"no GGUF file: it begins with {magic!r}, not with {MAGIC!r}", "give a .gguf file")
    version: int = cursor.number("I", "the version")
    if version & 0xFFFF == 0 and version:
        hint = "convert it again on a little-endian machine"
        cursor.fail(4, f"a big-endian file (version 0x{version:08x}); little-endian ones are read", hint)
    if version not in VERSIONS:
        cursor.fail(4, f"GGUF version {version}", "versions 2 and 3 are read; convert the model again")
    return version


def _metadata(cursor: _Cursor, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for number in range(1, count + 1):
        at = cursor.position
        key = cursor.name(f"the name of key {number} of {count}", MAX_KEY_BYTES)
        if key in metadata:
            cursor.fail(at, f"key {shown(key)} stands there twice")
        metadata[key] = cursor.value(f"key {shown(key)}")
    return metadata


def _alignment(cursor: _Cursor, metadata: dict[str, Value]) -> int:
    found = metadata.get(ALIGNMENT_KEY, Value(Kind.U32, DEFAULT_ALIGNMENT))
    value = found.value
    if found.kind is not Kind.U32 or value & (value - 1) or not MIN_ALIGNMENT <= value <= MAX_ALIGNMENT:
        due = f"a u32, a power of two from {MIN_ALIGNMENT} to {MAX_ALIGNMENT}"
        shown_value = shown(str(value)) if found.kind in {Kind.ARRAY, Kind.STRING} else value
        cursor.fail(
            cursor.position, f"{ALIGNMENT_KEY} is {shown_value} ({found.kind.name}); it must be {due}"
        )
    return int(value)


class _Described(NamedTuple):
    at: int
    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    bytes: int


def _described(cursor: _Cursor, number: int, count: int) -> _Described:
    at = cursor.position
    name = cursor.name(f"the name of tensor {number} of {count}", MAX_NAME_BYTES)
    what = f"tensor {shown(name)}"
    at_shape = cursor.position
    dimensions: int = cursor.number("I", what)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.fail(at_shape, f"{what} has {dimensions} dimensions; 1 to {MAX_DIMENSIONS} are allowed")
    shape = tuple(cursor.number("Q", what) for _ in range(dimensions))[::-1]
    at_type = cursor.position
    kind = BY_NUMBER.get(cursor.number("I", what))
    if kind is None:
        found = struct.unpack("<I", cursor.block[cursor.at - 4 : cursor.at])[0]
        known = ", ".join(each.name for each in BY_NUMBER.values())
        cursor.fail(at_type, f"{what} is of the unknown type number {found}", f"known types: {known}")
    if shape[-1] % kind.block:
        cursor.fail(
            at_shape,
            f"{what}: rows of {shape[-1]} weights can't be of type {kind.name}, whose blocks are {kind.block}",
        )
    size = math.prod(shape[:-1]) * kind.row_bytes(shape[-1])
    if not 0 < size <= cursor.size:
        cursor.fail(
            at_shape, f"{what} of shape {list(shape)} would take {size} bytes, the file has {cursor.size}"
        )
    return _Described(at, name, shape, kind, cursor.number("Q", what), size)


def _up(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _placed(cursor: _Cursor, described: list[_Described], alignment: int) -> dict[str, StoredTensor]:
    """Every tensor must begin where the one before it ended, padding aside: no overlap and no gap."""
    begin = _up(cursor.position, alignment)
    tensors: dict[str, StoredTensor] = {}
    due = 0
    for each in described:
        what = f"tensor {shown(each.name)}"
        if each.name in tensors:
            cursor.fail(each.at, f"{what} stands there twice")
        if each.offset != due:
            how = "overlaps the one before it" if each.offset < due else "leaves a gap"
            cursor.fail(each.at, f"{what} lies at offset {each.offset}, {due} is due: it {how}")
        first = begin + due
        if first + each.bytes > cursor.size:
            cursor.fail(
                each.at, f"cut short: {what} ends at {first + each.bytes}, the file has {cursor.size} bytes"
            )
        tensors[each.name] = StoredTensor(each.name, each.shape, each.type, first, each.bytes)
        due = _up(due + each.bytes, alignment)
    return tensors


def _gaps(header_end: int, tensors: dict[str, StoredTensor], size: int) -> Iterator[range]:
    """The padding: from the header to the data, and behind each tensor."""
    end = header_end
    for tensor in tensors.values():
        yield range(end, tensor.begin)
        end = tensor.begin + tensor.bytes
    yield range(end, size)


def _check_padding(cursor: _Cursor, tensors: dict[str, StoredTensor], alignment: int) -> tuple[str, ...]:
    header_end = cursor.position
    end = max((tensor.begin + tensor.bytes for tensor in tensors.values()), default=header_end)
    # Some writers pad behind the last tensor, others don't.
    if cursor.size not in {end, _up(end, alignment)}:
        reason = f"{cursor.size - end} bytes behind the last tensor, where {_up(end, alignment) - end} pad it"
        cursor.fail(end, reason)
    for gap in _gaps(header_end, tensors, cursor.size):
        if gap:
            cursor.stream.seek(gap.start)
            if cursor.stream.read(len(gap)).strip(b"\0"):
                return (f"padding at byte {gap.start} is not zero: it may hide data",)
    return ()


def read_header(stream: BinaryIO, size: int, where: str) -> Header:
    """Read and check all of a GGUF file but its weights.

    Args:
        stream: seekable, of `size` bytes; read from its beginning.
        size: of the file, in bytes.
        where: what to call the file in messages.

    Raises:
        ConvertError: the message names the byte, what was read there and the limit.
    """
    stream.seek(0)
    cursor = _Cursor(stream, size, where)
    version = _version(cursor)
    tensor_count = cursor.count("tensors", MAX_TENSORS, _SMALLEST_TENSOR)
    key_count = cursor.count("keys", MAX_KEYS, _SMALLEST_KEY)
    metadata = _metadata(cursor, key_count)
    alignment = _alignment(cursor, metadata)
    described = [_described(cursor, number, tensor_count) for number in range(1, tensor_count + 1)]
    tensors = _placed(cursor, described, alignment)
    remarks = _check_padding(cursor, tensors, alignment)
    return Header(where, size, version, alignment, metadata, tensors, remarks)


def open_header(path: Path) -> Header:
    """`read_header` of the file at `path`.

    Raises:
        ConvertError: not a regular file, or as `read_header`.
    """
    if not path.is_file():
        raise ConvertError(f"{path}: no such file")
    with path.open("rb") as stream:
        return read_header(stream, path.stat().st_size, str(path))
