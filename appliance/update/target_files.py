"""The files of a stick as its signed metadata describes them, and reading them: never more than was signed."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from appliance.errors import AnchorholdError, TrustError
from appliance.registry import manifest as manifests
from appliance.trust import limits
from appliance.trust.folder import open_inside

CUSTOM = "anchorhold"  # the key of our fields in a target's signed `custom`
PART_ROLE = "part"  # of a target that is a part of a larger file (parts.py writes them)
SEALED = "sealed"  # the field of an encrypted target: what it holds, and for whom (sealed_publishing.py)
DELTA_ROLE = "delta"  # of a target that makes a file of an installed one (delta_publishing.py writes them)
_HINT = "the stick was changed or damaged; ask for it to be written again"
_BLOCK = 4 * limits.MIB


@dataclass(frozen=True)
class Target:
    """A file of a stick, as the signed metadata describes it.

    Attributes:
        path: its target path; on the stick it is `targets/SHA256.PATH`, unless it lies there in parts.
        chunks: SHA-256 of each 64 MiB.
        parts: what it lies in, in order; empty for a file that lies there in one piece.
        deltas: what makes it of files that a device may have.
        sealed: what lies on the stick in its place: the same, encrypted (sealed_format.py).
        whole: False where only those lie on the stick.
    """

    path: str
    sha256: str
    bytes: int
    chunks: tuple[str, ...]
    parts: tuple[Target, ...] = ()
    deltas: tuple[Delta, ...] = ()
    whole: bool = True
    sealed: SealedTarget | None = None

    @property
    def stored(self) -> str:
        """Its name below the stick's folder."""
        return f"targets/{self.sha256}.{self.path}"

    @property
    def as_stored(self) -> Target:
        """What lies on the stick: itself, or what it is sealed in."""
        return self if self.sealed is None else self.sealed.stored

    @property
    def on_stick(self) -> tuple[Target, ...]:
        """What of it can be read from the stick: itself, unless it isn't there whole, and its deltas; as stored."""
        own = (self.as_stored,) if self.whole else ()
        return (*own, *(delta.stored.as_stored for delta in self.deltas))


@dataclass(frozen=True)
class SealedTarget:
    """A file that is encrypted: `stored` is what lies on the stick, `to` the ids of the devices that can open it."""

    stored: Target
    to: tuple[str, ...]


@dataclass(frozen=True)
class Delta:
    """What makes a file of an installed one (delta_format.py); `stored` is its own file on the stick."""

    base_sha256: str
    base_bytes: int
    stored: Target


def target_path(name: str, version: str, file: str) -> str:
    """The target path of one file of a release; flat, so that it can't lead anywhere."""
    return f"{name}-{version}.{file}"


def custom_of(target: TargetFile) -> dict[str, Any]:
    """Our fields in a signed entry.

    Raises:
        TrustError: it has none.
    """
    custom: object = target.custom  # TUF says nothing of what it is
    value = custom.get(CUSTOM) if isinstance(custom, dict) else None
    if not isinstance(value, dict):
        raise TrustError(f"{target.path}: its signed entry lacks `{CUSTOM}`", _HINT)
    return value


def as_target(path: str, entry: TargetFile) -> Target:
    """Check one entry of the signed targets.

    Raises:
        TrustError: a path that isn't a plain name, no SHA-256, or chunks that don't fit the length.
    """
    if not manifests.is_file_name(path.replace("+", "-")):
        raise TrustError(f"{path!r}: not a plain file name", _HINT)
    digest = entry.hashes.get("sha256")
    if not isinstance(digest, str) or not manifests.is_digest(digest):
        raise TrustError(f"{path}: no SHA-256 in its signed entry", _HINT)
    return Target(path, digest, entry.length, _chunks(path, custom_of(entry).get("chunks"), entry.length))


def _chunks(path: str, value: object, size: int) -> tuple[str, ...]:
    """Signed digests of each chunk of `size` bytes."""
    count = -(-size // limits.HASH_CHUNK_BYTES)
    if not isinstance(value, list) or len(value) != count or not all(manifests.is_digest(c) for c in value):
        raise TrustError(f"{path}: its signed chunk digests don't fit its length", _HINT)
    return tuple(value)


def read_blocks(stick: Path, target: Target, start: int = 0) -> Generator[bytes, None, None]:
    """The bytes of `target` from `start`, never more than signed, each 64 MiB chunk checked as it ends.

    The last block of a chunk is handed out before its chunk was checked: keep nothing until the end.

    Args:
        start: a multiple of the chunk size, or the end.

    Raises:
        TrustError: missing, too short, too long, a chunk whose digest is wrong, a link or no regular file.
    """
    parts, begin = target.parts or (target,), 0
    for part in parts:
        if begin + part.bytes > start or part is parts[-1]:
            yield from _read_part(stick, part, max(0, start - begin))
        begin += part.bytes


def _read_part(stick: Path, part: Target, start: int) -> Generator[bytes, None, None]:
    try:
        stream = open_inside(stick, part.stored)
    except FileNotFoundError as error:
        raise TrustError(f"{part.stored} is missing: the stick isn't whole", _HINT) from error
    with stream:
        stream.seek(start)
        position = start
        for index in range(-(-start // limits.HASH_CHUNK_BYTES), len(part.chunks)):
            end = min(part.bytes, (index + 1) * limits.HASH_CHUNK_BYTES)
            digest = hashlib.sha256()
            while position < end:
                block = stream.read(min(_BLOCK, end - position))
                if not block:
                    raise TrustError(f"{part.stored}: cut off after {position} of {part.bytes} bytes", _HINT)
                digest.update(block)
                position += len(block)
                yield block
            if digest.hexdigest() != part.chunks[index]:
                raise TrustError(f"{part.stored}: changed or damaged (chunk {index + 1})", _HINT)
        if stream.read(1):
            raise TrustError(f"{part.stored}: longer than what was signed", _HINT)


def read_checked(stick: Path, target: Target) -> Generator[bytes, None, None]:
    """The bytes of `target`, each chunk handed out only once its digest was found right; one is held in memory.

    Raises:
        TrustError: as `read_blocks`.
    """
    held: list[bytes] = []
    size = 0
    with contextlib.closing(read_blocks(stick, target)) as blocks:
        for block in blocks:
            if (
                size and size % limits.HASH_CHUNK_BYTES == 0
            ):  # the reader went on: what it gave before is right
                yield from held
                held.clear()
            held.append(block)
            size += len(block)
    yield from held


def checked(
    blocks: Iterable[bytes], target: Target, start: int, wrong: Callable[[int], AnchorholdError]
) -> Generator[bytes, None, None]:
    """Blocks that are `target` from `start`, cut where its chunks end, each chunk compared with its signed digest.

    As with `read_blocks` the last block of a chunk is handed out before its chunk was checked.

    Args:
        blocks: all are taken, and must come to the end of `target`.
        start: a multiple of the chunk size, or the end.
        wrong: makes the error for the chunk of a number, from 1 on.
    """
    position, digest = start, hashlib.sha256()
    for block in blocks:
        left = memoryview(block)
        while left:
            end = min(target.bytes, (position // limits.HASH_CHUNK_BYTES + 1) * limits.HASH_CHUNK_BYTES)
            if position >= end:
                raise wrong(len(target.chunks))
            part, left = left[: end - position], left[end - position :]
            digest.update(part)
            position += len(part)
            yield bytes(part)
            if position == end:
                number = -(-position // limits.HASH_CHUNK_BYTES)
                if digest.hexdigest() != target.chunks[number - 1]:
                    raise wrong(number)
                digest = hashlib.sha256()
    if position != target.bytes:
        raise wrong(len(target.chunks))


def verify_file(stick: Path, target: Target) -> None:
    """Read all of `target` and compare it with its signed digests.

    Raises:
        TrustError: as `read_blocks`, or the whole file's digest is wrong.
    """
    digest = hashlib.sha256()
    for block in read_blocks(stick, target):
        digest.update(block)
    if digest.hexdigest() != target.sha256:
        raise TrustError(f"{target.stored}: changed or damaged", _HINT)


def opened(stored: Target, sealed: object) -> Target:
    """What `stored` holds: itself, or what its signed entry says of what is sealed in it.

    Raises:
        TrustError: the entry doesn't say what.
    """
    if sealed is None:
        return stored
    if not isinstance(sealed, dict):
        raise TrustError(f"{stored.path}: its signed entry doesn't say what is sealed in it", _HINT)
    digest, size, to = (sealed.get(key) for key in ("sha256", "bytes", "to"))
    if not isinstance(digest, str) or not manifests.is_digest(digest):
        raise TrustError(f"{stored.path}: its signed entry has no SHA-256 of what is sealed in it", _HINT)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= manifests.MAX_FILE_BYTES:
        raise TrustError(f"{stored.path}: its signed entry has no size of what is sealed in it", _HINT)
    if not isinstance(to, list) or not to or not all(isinstance(each, str) for each in to):
        raise TrustError(f"{stored.path}: its signed entry doesn't say whom it is sealed for", _HINT)
    chunks = _chunks(stored.path, sealed.get("chunks"), size)
    return Target(stored.path, digest, size, chunks, sealed=SealedTarget(stored, tuple(to)))


def _joined(path: str, file: manifests.ReleaseFile, files: Mapping[str, TargetFile]) -> Target | None:
    """The file that lies on the stick in parts, which must follow each other; None: it lies in none."""
    found: list[tuple[int, Target]] = []
    sealed: Any = None
    for name, entry in files.items():
        custom = custom_of(entry)
        if custom.get("role") == PART_ROLE and custom.get("of") == path:
            offset = custom.get("offset")
            if isinstance(offset, bool) or not isinstance(offset, int):
                raise TrustError(f"{name}: its signed entry says no offset", _HINT)
            found.append((offset, as_target(name, entry)))
            sealed = custom.get(SEALED) if offset == 0 else sealed
    if not found:
        return None
    parts = tuple(part for _, part in sorted(found, key=lambda each: each[0]))
    begin = 0
    for offset, part in zip(sorted(each[0] for each in found), parts, strict=True):
        if offset != begin or (part is not parts[-1] and part.bytes % limits.HASH_CHUNK_BYTES):
            raise TrustError(f"{file.name}: its signed parts don't fit together", _HINT)
        begin += part.bytes
    chunks = tuple(chunk for part in parts for chunk in part.chunks)
    if sealed is None and begin != file.bytes:
        raise TrustError(f"{file.name}: its signed parts make {begin} bytes, not {file.bytes}", _HINT)
    digest = sealed.get("stored_sha256") if isinstance(sealed, dict) else file.sha256
    return opened(Target(path, str(digest), begin, chunks, parts), sealed)


def _deltas(
    path: str, file: manifests.ReleaseFile, files: Mapping[str, TargetFile]
) -> list[tuple[Delta, tuple[str, ...]]]:
    """What makes the file of others, each with the digests of the result's chunks."""
    found = []
    for name, entry in sorted(files.items()):
        custom = custom_of(entry)
        if custom.get("role") != DELTA_ROLE or custom.get("of") != path:
            continue
        base, size = custom.get("base"), custom.get("base_bytes")
        if not isinstance(base, str) or not manifests.is_digest(base):
            raise TrustError(f"{name}: its signed entry names no base", _HINT)
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= manifests.MAX_FILE_BYTES:
            raise TrustError(f"{name}: its signed entry says no size of its base", _HINT)
        result = _chunks(name, custom.get("result_chunks"), file.bytes)
        found.append((Delta(base, size, opened(as_target(name, entry), custom.get(SEALED))), result))
    return found


def find_file(path: str, file: manifests.ReleaseFile, files: Mapping[str, TargetFile]) -> Target:
    """How a file of a release lies on the stick: whole, in parts, or as what makes it of files that a device has.

    Args:
        path: its target path.
        file: what release.json says of it.
        files: all that is signed.

    Raises:
        TrustError: not at all, or what is signed doesn't fit together.
    """
    entry, deltas = files.get(path), _deltas(path, file, files)
    if entry is not None:
        target: Target | None = opened(as_target(path, entry), custom_of(entry).get(SEALED))
    else:
        target = _joined(path, file, files)
    if target is None and deltas:
        target = Target(path, file.sha256, file.bytes, deltas[0][1], whole=False)
    if target is None:
        raise TrustError(f"{file.name} is listed in release.json, but not signed", _HINT)
    if (target.sha256, target.bytes) != (file.sha256, file.bytes):
        raise TrustError(f"{file.name}: release.json and the signed entry differ", _HINT)
    if any(chunks != target.chunks for _, chunks in deltas):
        raise TrustError(f"{file.name}: its signed deltas make different files", _HINT)
    return replace(target, deltas=tuple(delta for delta, _ in deltas))
