"""What lies on a stick under one name: a whole file, or for FAT32's sake a part of at most 2 GiB of a larger one.

Each part is a signed target of its own; release.json signs the digest of the whole. Their reader is target_files.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from appliance.errors import UpdateError
from appliance.regular_file import open_regular
from appliance.trust import limits
from appliance.update.target_files import CUSTOM, PART_ROLE

_BLOCK = 4 * limits.MIB


@dataclass(frozen=True)
class Piece:
    """Bytes of `source` from `offset`, `bytes` of them, which become one file of the stick."""

    source: Path
    offset: int
    bytes: int


Entries = dict[str, tuple[Piece, TargetFile]]
"""Signed entries by target path, each with where its bytes are now."""


@dataclass(frozen=True)
class Described:
    """A file as it will lie on a stick: `sha256` of the whole, and its pieces with signed entries by target path."""

    sha256: str
    pieces: Mapping[str, tuple[Piece, TargetFile]]


class _Hashes:
    """Digests of one piece and of its chunks, as its bytes come by."""

    def __init__(self) -> None:
        self.whole, self.chunk = hashlib.sha256(), hashlib.sha256()
        self.chunks: list[str] = []
        self.bytes = 0

    def take(self, block: bytes) -> None:
        self.whole.update(block)
        self.chunk.update(block)
        self.bytes += len(block)
        if self.bytes % limits.HASH_CHUNK_BYTES == 0:
            self.end_chunk()

    def end_chunk(self) -> None:
        self.chunks.append(self.chunk.hexdigest())
        self.chunk = hashlib.sha256()

    def entry(self, path: str, custom: Mapping[str, Any]) -> TargetFile:
        if self.bytes % limits.HASH_CHUNK_BYTES:
            self.end_chunk()
        fields = {CUSTOM: {**custom, "chunks": self.chunks}}
        return TargetFile(self.bytes, {"sha256": self.whole.hexdigest()}, path, {"custom": fields})


def describe(
    source: Path, path: str, custom: Mapping[str, Any], first: Mapping[str, Any] | None = None
) -> Described:
    """Read `source` once and describe the targets that it becomes.

    Args:
        source: a file of a release.
        path: its target path; parts append their number to it.
        custom: what is signed of it beside the digests; of parts only where they belong.
        first: signed of it in any case, with the first part if there are several.
    """
    size = source.stat().st_size
    split = size > limits.PART_BYTES
    whole = hashlib.sha256()
    pieces: dict[str, tuple[Piece, TargetFile]] = {}
    with open_regular(source) as stream:
        for number, offset in enumerate(range(0, max(size, 1), limits.PART_BYTES), 1):
            end, hashes = offset + limits.PART_BYTES, _Hashes()
            while hashes.bytes < end - offset:
                within = limits.HASH_CHUNK_BYTES - hashes.bytes % limits.HASH_CHUNK_BYTES
                block = stream.read(min(_BLOCK, within))
                if not block:
                    break
                hashes.take(block)
                if split:
                    whole.update(block)
            name = f"{path}.part{number:04}" if split else path
            told: dict[str, Any] = (
                {"role": PART_ROLE, "of": path, "offset": offset} if split else dict(custom)
            )
            told |= first if first and offset == 0 else {}
            pieces[name] = (Piece(source, offset, hashes.bytes), hashes.entry(name, told))
    if split:
        return Described(whole.hexdigest(), pieces)
    ((_, only),) = pieces.values()
    return Described(only.hashes["sha256"], pieces)


def check_names(new: Mapping[str, TargetFile], kept: Mapping[str, TargetFile]) -> None:
    """See that no two signed files of a stick are one name on FAT or another file system that folds case.

    Args:
        new: of the release that is about to be written, by target path.
        kept: of what stays on the stick; the same release may be among it.

    Raises:
        UpdateError: two differ in nothing but upper and lower case, or two releases claim one name.
    """
    known = {path.casefold(): path for path in kept}
    for path, entry in new.items():
        other = known.setdefault(path.casefold(), path)
        if other != path or (path in kept and kept[path].hashes != entry.hashes):
            raise UpdateError(
                f"{path} and {other} would be one file on the stick",
                "give one of the two releases another name or version, or take another stick",
            )
