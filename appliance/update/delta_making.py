"""Making a delta of two GGUF files: header by what it shares, tensors by name, and within them by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from appliance import storage
from appliance.errors import ModelError
from appliance.update.delta_format import HEAD, MAX_BLOCK, MAX_SEGMENTS, Head, Kind, Segment, pack
from convert.errors import ConvertError
from convert.gguf_header import Header, open_header

_BLOCK = 4096  # bytes of a tensor that are equal or changed as one
_WINDOW = 32  # bytes of a header that are looked for at a time
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Made:
    """A delta that was written.

    Attributes:
        head: between which files.
        bytes: its size.
        tensors: names of the tensors that differ.
    """

    path: Path
    head: Head
    bytes: int
    tensors: tuple[str, ...]


def _changes(base: Bytes, result: Bytes, offset: int) -> Iterator[Segment]:
    """Segments for a region of the result whose counterpart in the base, at `offset`, is as long."""
    size = len(result)
    edges = np.arange(0, size, _BLOCK)
    differs = np.add.reduceat((base != result).astype(np.int64), edges) > 0
    borders = [0, *(np.flatnonzero(differs[1:] != differs[:-1]) + 1).tolist(), len(differs)]
    for first, last in pairwise(borders):
        begin, end = first * _BLOCK, min(size, last * _BLOCK)
        if not differs[first]:
            yield Segment(Kind.COPY, offset + begin, end - begin)
            continue
        for at in range(begin, end, MAX_BLOCK):
            to = min(end, at + MAX_BLOCK)
            # What rounding left alone is zero then, and packs well.
            change = pack((base[at:to] ^ result[at:to]).tobytes())
            plain = pack(result[at:to].tobytes())
            if len(change) < len(plain):
                yield Segment(Kind.CHANGED, offset + at, to - at, change)
            else:
                yield Segment(Kind.LITERAL, 0, to - at, plain)


def _literals(data: Bytes) -> Iterator[Segment]:
    for at in range(0, len(data), MAX_BLOCK):
        part = data[at : at + MAX_BLOCK]
        yield Segment(Kind.LITERAL, 0, len(part), pack(part.tobytes()))


def _shared(base: Bytes, result: Bytes, begin: int, at: int) -> int:
    """How many bytes are equal from `begin` of the base and `at` of the result on."""
    most, size = min(len(base) - begin, len(result) - at), _WINDOW
    while size < most and np.array_equal(base[begin : begin + size], result[at : at + size]):
        size *= 2
    size = min(size, most)
    wrong = np.flatnonzero(base[begin : begin + size] != result[at : at + size])
    return int(wrong[0]) if wrong.size else size


def _headers(base: Bytes, result: Bytes) -> Iterator[Segment]:
    """Segments for a header, whose shared parts may have moved (a longer name moves the vocabulary)."""
    known: dict[bytes, int] = {}
    old, new = base.tobytes(), result.tobytes()
    for start in range(0, len(old) - _WINDOW + 1, _WINDOW):
        known.setdefault(old[start : start + _WINDOW], start)
    at = literal = 0
    while at + _WINDOW <= len(new):
        begin = known.get(new[at : at + _WINDOW], -1)
        if begin < 0:
            at += 1
            continue
        length = _shared(base, result, begin, at)
        before = 0  # the match may begin earlier than a window of the base does
        while before < min(begin, at - literal) and old[begin - before - 1] == new[at - before - 1]:
            before += 1
        yield from _literals(result[literal : at - before])
        yield Segment(Kind.COPY, begin - before, length + before)
        literal = at = at + length
    yield from _literals(result[literal:])


def _regions(header: Header) -> dict[str, tuple[int, int]]:
    """Begin and end of each tensor with the padding behind it; of the file's header under the name ""."""
    begins = [tensor.begin for tensor in header.tensors.values()]
    ends = [*begins, header.size]
    return {name: (ends[i - 1] if i else 0, ends[i]) for i, name in enumerate(["", *header.tensors])}


def _segments(base: Path, result: Path, changed: list[str]) -> Iterator[Segment]:
    try:
        old, new = open_header(base), open_header(result)
    except ConvertError as error:
        raise ModelError(error.message, error.hint) from error
    mapped: list[Bytes] = [np.memmap(path, dtype=np.uint8, mode="r") for path in (base, result)]
    known = _regions(old)
    for name, (begin, end) in _regions(new).items():
        data = mapped[1][begin:end]
        if not name:
            yield from _headers(mapped[0][slice(*known[""])], data)
            continue
        first, last = known.get(name, (0, 0))
        if last - first == end - begin:
            found = list(_changes(mapped[0][first:last], data, first))
            yield from found
            if any(segment.kind is not Kind.COPY for segment in found):
                changed.append(name)
        else:
            yield from _literals(data)
            changed.append(name)


def _joined(segments: Iterator[Segment]) -> Iterator[Segment]:
    """Copies that follow each other in base and result become one."""
    held: Segment | None = None
    for segment in segments:
        if held is not None:
            follows = held.offset + held.length == segment.offset
            if follows and held.kind is segment.kind is Kind.COPY:
                held = Segment(Kind.COPY, held.offset, held.length + segment.length)
                continue
            yield held
        held = segment
    if held is not None:
        yield held


def make(base: Path, result: Path, output: Path) -> Made:
    """Write to `output` what makes `result` of `base`. Equal files give equal bytes (with one version of zlib).

    Args:
        base, result: GGUF files; read by memory map.

    Raises:
        ModelError: one of them is none, or they differ in too many places.
    """
    changed: list[str] = []
    facts = (
        storage.sha256_file(base),
        base.stat().st_size,
        storage.sha256_file(result),
        result.stat().st_size,
    )
    count = 0
    with output.open("xb") as stream:
        stream.write(bytes(HEAD.size))
        for segment in _joined(_segments(base, result, changed)):
            stream.write(segment.packed())
            count += 1
        if count > MAX_SEGMENTS:
            raise ModelError(f"{base} and {result} differ in {count} places", "write the whole model")
        head = Head(*facts, count)
        stream.seek(0)
        stream.write(head.packed())
    return Made(output, head, output.stat().st_size, tuple(changed))
