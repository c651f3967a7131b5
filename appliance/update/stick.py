"""Reading a stick: which release it offers, and whether this device may believe it. Changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuf.api.metadata import TargetFile

from appliance.errors import TrustError, UpdateError, UsageError
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.trust import client, clock, ledger, limits
from appliance.trust.folder import open_inside, read_inside

_HINT = "the stick was changed or damaged; ask for it to be written again"
CUSTOM = "anchorhold"  # the key of our fields in a target's signed `custom`
PART_ROLE = "part"  # of a target that is a part of a larger file (parts.py writes them)
_BLOCK = 4 * limits.MIB
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # nothing had expired


@dataclass(frozen=True)
class Target:
    """A file of a stick, as the signed metadata describes it.

    Attributes:
        path: its target path; on the stick it is `targets/SHA256.PATH`, unless it lies there in parts.
        chunks: SHA-256 of each 64 MiB.
        parts: what it lies in, in order; empty for a file that lies there whole.
    """

    path: str
    sha256: str
    bytes: int
    chunks: tuple[str, ...]
    parts: tuple[Target, ...] = ()

    @property
    def stored(self) -> str:
        """Its name below the stick's folder."""
        return f"targets/{self.sha256}.{self.path}"


@dataclass(frozen=True)
class Offer:
    """One release on a stick. `counter` orders releases of a publisher; `manifest` is its release.json."""

    name: str
    version: str
    counter: int
    manifest: Target


@dataclass(frozen=True)
class StickReport:
    """A stick that this device believes.

    Attributes:
        stick: its folder.
        name, version, counter, digest: of the release it offers.
        manifest: the release.json, checked; `manifest_bytes` is what its digest is of.
        files: the release's files by name, release.json aside.
        offers: all releases on the stick, newest first.
        verified: versions, expiry and signers of the metadata.
        floors: the device's ledger as it was read.
        trusted_root: the root the stick was judged by.
        pinned: False if that root was given for a device that has none yet.
    """

    stick: Path
    name: str
    version: str
    counter: int
    digest: str
    manifest: manifests.Manifest
    manifest_bytes: bytes = field(repr=False)
    files: Mapping[str, Target] = field(repr=False)
    offers: tuple[Offer, ...]
    verified: client.Verified = field(repr=False)
    floors: ledger.Ledger = field(repr=False)
    trusted_root: bytes = field(repr=False)
    pinned: bool


def target_path(name: str, version: str, file: str) -> str:
    """The target path of one file of a release; flat, so that it can't lead anywhere."""
    return f"{name}-{version}.{file}"


def _custom(target: TargetFile) -> dict[str, Any]:
    value = (target.custom or {}).get(CUSTOM)
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
    chunks = _custom(entry).get("chunks")
    count = -(-entry.length // limits.HASH_CHUNK_BYTES)
    if not isinstance(digest, str) or not manifests.is_digest(digest):
        raise TrustError(f"{path}: no SHA-256 in its signed entry", _HINT)
    if (
        not isinstance(chunks, list)
        or len(chunks) != count
        or not all(manifests.is_digest(c) for c in chunks)
    ):
        raise TrustError(f"{path}: its signed chunk digests don't fit its length", _HINT)
    return Target(path, digest, entry.length, tuple(chunks))


def find_offers(files: Mapping[str, TargetFile]) -> tuple[Offer, ...]:
    """The releases among signed targets, newest first.

    Raises:
        TrustError: an entry is malformed, or two releases have one counter.
    """
    offers = []
    for path, entry in files.items():
        as_target(path, entry)
        custom = _custom(entry)
        if custom.get("role") != "manifest":
            continue
        name, version, counter = (custom.get(key) for key in ("name", "version", "counter"))
        if not isinstance(name, str) or not isinstance(version, str):
            raise TrustError(f"{path}: its signed entry names no release", _HINT)
        if isinstance(counter, bool) or not isinstance(counter, int) or counter < 1:
            raise TrustError(f"{path}: its signed entry has no counter", _HINT)
        offers.append(Offer(name, version, counter, as_target(path, entry)))
    if len({offer.counter for offer in offers}) != len(offers):
        raise TrustError("two releases on the stick have the same counter", _HINT)
    return tuple(sorted(offers, key=lambda offer: -offer.counter))


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


def _joined(path: str, file: manifests.ReleaseFile, files: Mapping[str, TargetFile]) -> Target:
    """The file that lies on the stick in parts; together they must be as long as release.json says."""
    found: list[tuple[int, Target]] = []
    for name, entry in files.items():
        custom = _custom(entry)
        if custom.get("role") == PART_ROLE and custom.get("of") == path:
            offset = custom.get("offset")
            if isinstance(offset, bool) or not isinstance(offset, int):
                raise TrustError(f"{name}: its signed entry says no offset", _HINT)
            found.append((offset, as_target(name, entry)))
    if not found:
        raise TrustError(f"{file.name} is listed in release.json, but not signed", _HINT)
    parts = tuple(part for _, part in sorted(found, key=lambda each: each[0]))
    begin = 0
    for offset, part in zip(sorted(each[0] for each in found), parts, strict=True):
        if offset != begin or (part is not parts[-1] and part.bytes % limits.HASH_CHUNK_BYTES):
            raise TrustError(f"{file.name}: its signed parts don't fit together", _HINT)
        begin += part.bytes
    if begin != file.bytes:
        raise TrustError(f"{file.name}: its signed parts make {begin} bytes, not {file.bytes}", _HINT)
    return Target(path, file.sha256, begin, tuple(chunk for part in parts for chunk in part.chunks), parts)


def read_release(
    stick: Path, offer: Offer, files: Mapping[str, TargetFile]
) -> tuple[manifests.Manifest, bytes, dict[str, Target]]:
    """The release.json of `offer` and its files' signed entries; both must say the same.

    Raises:
        TrustError: they don't, or release.json is damaged.
    """
    try:
        data = read_inside(stick, offer.manifest.stored, manifests.MAX_BYTES)
    except FileNotFoundError as error:
        raise TrustError(f"{offer.manifest.stored} is missing: the stick isn't whole", _HINT) from error
    if len(data) != offer.manifest.bytes or hashlib.sha256(data).hexdigest() != offer.manifest.sha256:
        raise TrustError(f"{offer.manifest.stored}: changed or damaged", _HINT)
    manifest = manifests.parse(data)
    if (manifest.name, manifest.version) != (offer.name, offer.version):
        raise TrustError("release.json names another release than its signed entry", _HINT)
    found = {}
    for file in manifest.files:
        path = target_path(manifest.name, manifest.version, file.name)
        entry = files.get(path)
        target = as_target(path, entry) if entry is not None else _joined(path, file, files)
        if (target.sha256, target.bytes) != (file.sha256, file.bytes):
            raise TrustError(f"{file.name}: release.json and the signed entry differ", _HINT)
        found[file.name] = target
    return manifest, data, found


def _choose(offers: tuple[Offer, ...], version: str | None, stick: Path) -> Offer:
    if not offers:
        raise UpdateError(f"{stick}: the stick holds no release", "`anchorhold stick write` puts one on it")
    if version is None:
        return offers[0]
    for offer in offers:
        if offer.version == version:
            return offer
    known = ", ".join(offer.version for offer in offers)
    raise UsageError(f"{stick}: no release {version} on the stick", f"it holds {known}")


def _root_for(device: Device, trust: Path | None) -> tuple[bytes, bool]:
    given = None
    if trust is not None:
        try:
            with trust.open("rb") as stream:
                given = stream.read(limits.ROOT_BYTES)
        except OSError as error:
            raise UsageError(
                f"{trust}: can't be read ({error.strerror})", "give the root of trust"
            ) from error
    try:
        with device.trusted_root.open("rb") as stream:
            pinned = stream.read(limits.ROOT_BYTES)
    except FileNotFoundError:
        if given is None:
            raise TrustError(
                "this device has no root of trust yet",
                "bring the file that `anchorhold keys export-root` writes, by another way than the stick, "
                "and add --trust FILE",
            ) from None
        return given, False
    if given is not None and given != pinned:
        raise TrustError(
            f"{trust}: not the root that this device trusts",
            "leave --trust out; a device keeps its first root",
        )
    return pinned, True


def _history(device: Device) -> dict[int, bytes]:
    found = {}
    folder = device.metadata / "root_history"
    for path in sorted(folder.glob("*.root.json")) if folder.is_dir() else []:
        number = path.name.split(".")[0]
        if number.isdecimal():
            with path.open("rb") as stream:
                found[int(number)] = stream.read(limits.ROOT_BYTES)
    return found


def _check_counter(floors: ledger.Ledger, offer: Offer) -> None:
    if offer.counter < floors.counter:
        raise TrustError(
            f"{offer.name} {offer.version} is older than what was installed here "
            f"(release {offer.counter}, floor {floors.counter})",
            "use the newest stick; `anchorhold rollback` returns to the release before",
        )
    if offer.counter == floors.counter and floors.release not in {"", offer.manifest.sha256}:
        raise TrustError(f"release {offer.counter} was another one when it was installed here", _HINT)


def check(
    stick: Path,
    device: Device,
    *,
    trust: Path | None = None,
    version: str | None = None,
    deep: bool = False,
    now: datetime | None = None,
    despite_expiry: bool = False,
) -> StickReport:
    """Decide whether this device believes `stick`; changes nothing on either.

    Args:
        stick: its folder.
        device: whose pinned root and floors to judge by.
        trust: root of trust for a device that has none yet.
        version: which release; by default the newest.
        deep: read all files too and compare their digests.
        now: by default what trust/clock.py makes of this machine's clock and the ledger.
        despite_expiry: an operator answers for a stick that is past its date; all else is checked as ever.

    Raises:
        TrustError: unsigned, signed by a stranger, changed, incomplete, expired, or older than installed.
        UpdateError: no stick there, or no release on it.
        UsageError: no such version, or `trust` can't be read.
    """
    if not stick.is_dir():
        raise UpdateError(f"{stick}: no such folder", "mount the stick and give the folder it is mounted on")
    root, pinned = _root_for(device, trust)
    floors = ledger.read(device)
    digest = hashlib.sha256(root).hexdigest()
    if floors.pin not in {"", digest}:
        raise TrustError("the root of trust isn't the one that this device was given first", _HINT)
    seen = [clock.from_text(floors.time)] if floors.time else []
    if now is None:
        now = clock.latest(clock.machine_time(), seen)
    judged_at = _LONG_AGO if despite_expiry else now
    verified = client.verify(stick, root, floors, judged_at, _history(device), allow_expired=despite_expiry)
    if despite_expiry:  # a clock that runs far ahead may be the reason: it must not be believed for ever
        verified = replace(verified, time=clock.latest(verified.issued, seen))
    offers = find_offers(verified.files)
    offer = _choose(offers, version, stick)
    _check_counter(floors, offer)
    manifest, data, files = read_release(stick, offer, verified.files)
    if deep:
        for target in files.values():
            verify_file(stick, target)
    return StickReport(
        stick=stick,
        name=offer.name,
        version=offer.version,
        counter=offer.counter,
        digest=offer.manifest.sha256,
        manifest=manifest,
        manifest_bytes=data,
        files=files,
        offers=offers,
        verified=verified,
        floors=floors,
        trusted_root=root,
        pinned=pinned,
    )
