"""Making a file of an installed one and a delta: block by block, each 64 MiB compared with its signed digest."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import IO

from appliance import storage
from appliance.errors import AnchorholdError, InstalledBaseError, TrustError
from appliance.trust import limits
from appliance.update import delta_format, target_files
from appliance.update.delta_format import Head, Kind, Segment
from appliance.update.target_files import Delta, Target

_BLOCK = 4 * limits.MIB
_HINT = "ask for a stick with the whole model; `anchorhold status` tells whether the active release is sound"


def _read(stream: IO[bytes], offset: int, size: int) -> bytes:
    try:
        data = os.pread(stream.fileno(), size, offset)
    except OSError as error:
        raise InstalledBaseError(f"{stream.name}: can't be read ({error.strerror})", _HINT) from error
    if len(data) != size:
        raise InstalledBaseError(f"{stream.name}: shorter than what was installed", _HINT)
    return data


def _copied(base: IO[bytes], offset: int, length: int) -> Iterator[bytes]:
    for at in range(offset, offset + length, _BLOCK):
        yield _read(base, at, min(_BLOCK, offset + length - at))


def _xor(first: bytes, second: bytes) -> bytes:
    """Of equal length; a number of a mebibyte is XORed at memory's speed, and the device's side needs no numpy."""
    number = int.from_bytes(first, "little") ^ int.from_bytes(second, "little")
    return number.to_bytes(len(first), "little")


def _made(base: IO[bytes], segment: Segment, skip: int) -> Iterator[bytes]:
    """The segment's part of the result, without its first `skip` bytes."""
    if segment.kind is Kind.COPY:
        yield from _copied(base, segment.offset + skip, segment.length - skip)
        return
    data = segment.unpacked()
    if segment.kind is Kind.CHANGED:
        data = _xor(data, _read(base, segment.offset, segment.length))
    yield data[skip:]


def _result(base: IO[bytes], segments: Iterator[Segment], start: int) -> Iterator[bytes]:
    position = 0
    for segment in segments:
        if position + segment.length > start:
            yield from _made(base, segment, max(0, start - position))
        position += segment.length


def blocks(
    delta_blocks: Generator[bytes, None, None], base: Path, delta: Delta, target: Target, start: int = 0
) -> Generator[bytes, None, None]:
    """The bytes of `target` from `start`, made of `base` and a delta; each chunk is checked as it ends.

    Args:
        delta_blocks: of the delta's file, checked already: nothing unsigned is parsed.
        base: the installed file.
        delta: what was signed of the delta.
        target: what is to come of it.
        start: a multiple of the chunk size, or the end.

    Raises:
        TrustError: the delta is malformed, or makes something else than was signed.
        InstalledBaseError: the base isn't what was installed.
    """
    head = Head(delta.base_sha256, delta.base_bytes, target.sha256, target.bytes, 0)
    try:
        stream = base.open("rb")
    except OSError as error:
        raise InstalledBaseError(f"{base}: can't be read ({error.strerror})", _HINT) from error
    with stream, contextlib.closing(delta_blocks):
        made = _result(stream, delta_format.read(delta_blocks, head), start)

        def wrong(number: int) -> AnchorholdError:
            if base.stat().st_size == delta.base_bytes and storage.sha256_file(base) == delta.base_sha256:
                text = f"{delta.stored.stored}: makes something else than was signed (chunk {number})"
                return TrustError(text, "the stick's maker has to make the delta again")
            return InstalledBaseError(f"{base}: not what was installed", _HINT)

        yield from target_files.checked(made, target, start, wrong)
