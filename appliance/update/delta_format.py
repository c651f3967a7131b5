"""The file of a delta (docs/formats/delta.md): which bytes of an installed file make another one, and what is new.

Pure: blocks in, segments out. Everything is compared with a limit before memory is taken for it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NoReturn

from appliance.errors import TrustError
from appliance.update.bounded_input import BoundedInput

MAGIC = b"AHDELTA1"
HEAD = struct.Struct("<8s32s32sQQII")  # magic, base's and result's digest, their sizes, segments, zero
SEGMENT = struct.Struct("<B3xIQQ")  # kind, bytes of packed data, offset in the base, bytes of the result
MAX_SEGMENTS = 1 << 20
MAX_BYTES = 1 << 42  # of base and of result, as of any file of a release
MAX_BLOCK = 1 << 20  # bytes that one segment with data unpacks to
MAX_PACKED = MAX_BLOCK + 4096  # zlib adds less than that to what it can't shorten
_LEVEL = 6
_HINT = "the stick's maker has to make the delta again; a stick with the whole model does without"


class Kind(IntEnum):
    """What a segment adds to the result."""

    COPY = 1  # bytes of the base
    LITERAL = 2  # packed bytes
    CHANGED = 3  # bytes of the base, XOR packed bytes


@dataclass(frozen=True)
class Head:
    """What a delta says of itself; digests in hex, sizes in bytes."""

    base_sha256: str
    base_bytes: int
    sha256: str
    size: int
    segments: int

    def packed(self) -> bytes:
        """As the file has it."""
        digests = bytes.fromhex(self.base_sha256), bytes.fromhex(self.sha256)
        return HEAD.pack(MAGIC, *digests, self.base_bytes, self.size, self.segments, 0)


@dataclass(frozen=True)
class Segment:
    """A piece of the result.

    Attributes:
        offset: where in the base it begins; 0 for a literal.
        length: of the result, in bytes.
        data: zlib's, of `length` bytes; empty for a copy.
    """

    kind: Kind
    offset: int
    length: int
    data: bytes = b""

    def packed(self) -> bytes:
        """As the file has it."""
        return SEGMENT.pack(self.kind, len(self.data), self.offset, self.length) + self.data

    def unpacked(self) -> bytes:
        """The `length` bytes that `data` holds; never more are made, whatever it claims.

        Raises:
            TrustError: it holds others, more or fewer.
        """
        unpacker = zlib.decompressobj()
        try:
            found = unpacker.decompress(self.data, self.length + 1)
        except zlib.error as error:
            raise TrustError(f"delta: packed data is damaged ({error})", _HINT) from error
        if len(found) != self.length or not unpacker.eof or unpacker.unused_data:
            _fail(f"packed data doesn't hold the {self.length} bytes that its segment says")
        return found


def pack(data: bytes) -> bytes:
    """`data`, shortened where that can be; equal for equal data and one zlib."""
    return zlib.compress(data, _LEVEL)


def _fail(reason: str) -> NoReturn:
    raise TrustError(f"delta: {reason}", _HINT)


def _head(data: bytes) -> Head:
    magic, base, result, base_bytes, size, segments, zero = HEAD.unpack(data)
    if magic != MAGIC or zero:
        _fail("not of a format that is known here")
    if not 0 < base_bytes <= MAX_BYTES or not 0 < size <= MAX_BYTES:
        _fail(f"sizes of {base_bytes} and {size} bytes; 1 to {MAX_BYTES} are allowed")
    if not 1 <= segments <= MAX_SEGMENTS:
        _fail(f"{segments} segments; 1 to {MAX_SEGMENTS} are allowed")
    return Head(base.hex(), base_bytes, result.hex(), size, segments)


def _segment(source: BoundedInput, head: Head, left: int) -> Segment:
    data = source.take(SEGMENT.size, "a segment")
    number, packed, offset, length = SEGMENT.unpack(data)
    if number not in set(Kind) or any(data[1:4]):
        _fail(f"a segment of the unknown kind {number}")
    kind = Kind(number)
    if not 0 < length <= left:
        _fail(f"a segment of {length} bytes where {left} are due")
    if kind is Kind.LITERAL:
        if offset:
            _fail("a literal segment with an offset")
    elif offset + length > head.base_bytes:  # Python's numbers don't overflow
        _fail(f"a segment reaches to byte {offset + length} of a base of {head.base_bytes}")
    if kind is Kind.COPY:
        if packed:
            _fail("a copy with packed data")
        return Segment(kind, offset, length)
    if length > MAX_BLOCK or not 0 < packed <= MAX_PACKED:
        _fail(f"a segment of {packed} packed and {length} bytes; {MAX_PACKED} and {MAX_BLOCK} are allowed")
    return Segment(kind, offset, length, source.take(packed, "packed data"))


def read(blocks: Iterator[bytes], wanted: Head) -> Iterator[Segment]:
    """The segments of a delta, in order; together they make exactly the result's size.

    Args:
        blocks: the file's bytes.
        wanted: what was signed of it; its `segments` doesn't count.

    Raises:
        TrustError: it says otherwise, breaks a limit, reaches beyond its base, ends early or goes on after its end.
    """
    source = BoundedInput(blocks, "delta", _HINT)
    head = _head(source.take(HEAD.size, "its head"))
    said = (head.base_sha256, head.base_bytes, head.sha256, head.size)
    if said != (wanted.base_sha256, wanted.base_bytes, wanted.sha256, wanted.size):
        _fail("it is between other files than was signed")
    left = head.size
    for _ in range(head.segments):
        segment = _segment(source, head, left)
        left -= segment.length
        yield segment
    if left:
        _fail(f"its segments end {left} bytes early")
    if not source.is_empty:
        _fail("something follows its last segment")
