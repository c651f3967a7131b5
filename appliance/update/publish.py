"""Writing a stick: files first, metadata after them, the timestamp last; then all of it is read back.

Until the timestamp is renamed into place a device sees the stick as it was before.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from appliance import storage
from appliance.errors import KeysError, TrustError, UpdateError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.registry import manifest as manifests
from appliance.registry import version as versions
from appliance.trust import client, clock, keys, ledger, limits
from appliance.trust.folder import read_inside
from appliance.update import parts
from appliance.update import stick as sticks

STATE_FILE = "publisher.json"
STATE_FORMAT = "anchorhold-publisher/1"
_BLOCK = 4 * limits.MIB


@dataclass(frozen=True)
class Publisher:
    """What must go on rising, on whichever stick: kept beside the keys.

    Attributes:
        targets, snapshot, timestamp: metadata versions used last.
        counter: the newest release's place; `releases` maps digests to theirs.
        versions: digest of what was published last under each "name version".
    """

    targets: int = 0
    snapshot: int = 0
    timestamp: int = 0
    counter: int = 0
    releases: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Written:
    """What `write_stick` did."""

    stick: Path
    name: str
    version: str
    digest: str
    counter: int
    timestamp: int
    expires: datetime


def read_publisher(folder: Path) -> Publisher:
    """The publisher's state beside the keys in `folder`; an empty one before the first stick.

    Raises:
        KeysError: damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return Publisher()
    try:
        value = json.loads(path.read_bytes())
        if value.pop("format") != STATE_FORMAT:
            raise ValueError("another format")
        return Publisher(**value)
    except (ValueError, KeyError, TypeError) as error:
        raise KeysError(f"{path}: damaged ({error})", "restore it from a backup of the keys") from error


def _write_publisher(folder: Path, state: Publisher) -> None:
    storage.write_json(folder / STATE_FILE, {"format": STATE_FORMAT, **asdict(state)}, mode=0o600)


def _existing(stick: Path, root: bytes) -> client.Verified | None:
    """What lies on the stick already, if it is ours; expiry doesn't matter, it will be signed anew."""
    if not (stick / "metadata" / "timestamp.json").exists():
        return None
    try:
        return client.verify(
            stick, root, ledger.Ledger(), datetime(1970, 1, 1, tzinfo=UTC), allow_expired=True
        )
    except TrustError as error:
        raise TrustError(
            f"{stick}: what is on this stick isn't ours or is damaged: {error.message}",
            "take an empty folder or stick, or remove its metadata/ and targets/ first",
        ) from error


def _release_entries(
    folder: Path, manifest: manifests.Manifest, counter: int
) -> dict[str, tuple[parts.Piece, TargetFile]]:
    found: dict[str, tuple[parts.Piece, TargetFile]] = {}
    digests = {}
    head = {"name": manifest.name, "version": manifest.version, "counter": counter}
    listed = [(manifests.FILE_NAME, {**head, "role": "manifest"})]
    listed += [(file.name, {"role": file.role}) for file in manifest.files]
    for name, custom in listed:
        path = sticks.target_path(manifest.name, manifest.version, name)
        described = parts.describe(folder / name, path, custom)
        found.update(described.pieces)
        digests[name] = described.sha256
    for file in manifest.files:
        if digests[file.name] != file.sha256:
            raise UpdateError(
                f"{folder / file.name}: not what release.json says", "run `anchorhold release` again"
            )
    return found


def _copy(piece: parts.Piece, destination: Path, expected: TargetFile, done: Callable[[int], None]) -> None:
    digest, left = hashlib.sha256(), piece.bytes
    with piece.source.open("rb") as stream, storage.atomic_writer(destination) as out:
        stream.seek(piece.offset)
        while left and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            out.write(block)
            left -= len(block)
            done(len(block))
        if digest.hexdigest() != expected.hashes["sha256"]:
            raise UpdateError(f"{piece.source}: changed while it was copied", "run the same command again")


def _copy_all(stick: Path, entries: Mapping[str, tuple[parts.Piece, TargetFile]], emit: Emit) -> None:
    storage.remove_leftovers(stick / "targets")
    total = sum(entry.length for _, entry in entries.values())
    copied = 0

    def count(size: int) -> None:
        nonlocal copied
        copied += size
        emit(Event("stick", "progress", done=copied, total=total, unit="bytes"))

    for path, (piece, entry) in entries.items():
        target = sticks.as_target(path, entry)
        try:
            sticks.verify_file(stick, target)
            count(entry.length)
        except TrustError:
            _copy(piece, stick / target.stored, entry, count)


def _sign(
    files: Mapping[str, TargetFile], state: Publisher, signers: Mapping[str, Signer], now: datetime, days: int
) -> dict[str, bytes]:
    """The three signed metadata files by name, in the order in which they must be written."""
    expires = now + timedelta(days=days)
    targets = Metadata(Targets(version=state.targets, expires=expires, targets=dict(files)))
    targets.sign(signers["targets"])
    listed = {"targets.json": MetaFile(state.targets)}
    snapshot = Metadata(Snapshot(version=state.snapshot, expires=expires, meta=listed))
    snapshot.sign(signers["snapshot"])
    timestamp = Metadata(
        Timestamp(version=state.timestamp, expires=expires, snapshot_meta=MetaFile(state.snapshot))
    )
    timestamp.signed.unrecognized_fields[client.ISSUED] = clock.to_text(now)
    timestamp.sign(signers["timestamp"])
    return {
        f"{state.targets}.targets.json": targets.to_bytes(),
        f"{state.snapshot}.snapshot.json": snapshot.to_bytes(),
        "timestamp.json": timestamp.to_bytes(),
    }


def _published(state: Publisher, offers: Sequence[sticks.Offer], name: str) -> dict[str, set[str]]:
    """What is out already under `name`: digests by version, from the stick and from the publisher's state."""
    found: dict[str, set[str]] = {}
    for offer in offers:
        if offer.name == name:
            found.setdefault(offer.version, set()).add(offer.manifest.sha256)
    for key, digest in state.versions.items():
        published, _, version = key.rpartition(" ")
        if published == name:
            found.setdefault(version, set()).add(digest)
    return found


def _version_taken(published: Mapping[str, set[str]], name: str, version: str) -> UpdateError:
    known = [found for text in published if (found := versions.find(text)) is not None]
    following = versions.propose_next(max([*known, versions.parse(version)]))
    return UpdateError(
        f"{name} {version} was published already, with other content",
        f'set `version = "{following}"` under [project] in anchorhold.toml and run `anchorhold build` again; '
        "or publish it under the same version with `anchorhold stick write --replace`",
    )


def _remove_old(stick: Path, state: Publisher, files: Mapping[str, TargetFile]) -> None:
    """Delete what the new metadata doesn't name; only after it is in place."""
    wanted = {Path(sticks.as_target(path, entry).stored).name for path, entry in files.items()}
    for path in (stick / "targets").iterdir():
        if path.is_file() and path.name not in wanted:
            path.unlink()
    current = {f"{state.targets}.targets.json", f"{state.snapshot}.snapshot.json"}
    for path in (stick / "metadata").iterdir():
        if path.name.endswith((".targets.json", ".snapshot.json")) and path.name not in current:
            path.unlink()


def write_stick(
    keys_folder: Path,
    signers: Mapping[str, Signer],
    release: Path,
    stick: Path,
    emit: Emit,
    *,
    expires_days: int = 365,
    prune: bool = False,
    replace: bool = False,
    now: datetime | None = None,
) -> Written:
    """Put the release in `release` on `stick`, beside the releases that are there, and sign anew.

    Args:
        keys_folder: holds root.json and the publisher's state.
        signers: of targets, snapshot and timestamp (`keys.unlock`).
        release: a folder with release.json and the files that it lists.
        stick: a folder; made if missing.
        emit: progress in bytes.
        expires_days: how long devices accept the stick.
        prune: leave only this release on it.
        replace: publish other content under a version that is out already. Its counter rises, so devices
            that have the former content take the new one, and never go back.
        now: when it is signed; by default now.

    Raises:
        UpdateError: the release folder isn't whole, or its version was published with other content.
        TrustError: the stick holds somebody else's metadata, or what was written reads back otherwise.
    """
    now = clock.latest(clock.machine_time(), ()) if now is None else now
    root = keys.root_bytes(keys_folder)
    try:
        data = (release / manifests.FILE_NAME).read_bytes()
    except FileNotFoundError as error:
        raise UpdateError(f"{release}: no release there", "`anchorhold release` makes it") from error
    manifest, digest = manifests.parse(data), storage.sha256_bytes(data)
    state = read_publisher(keys_folder)
    before = _existing(stick, root)
    files = {} if before is None or prune else dict(before.files)
    offers = sticks.find_offers(before.files) if before else ()
    published = _published(state, offers, manifest.name)
    replaced = bool(published.get(manifest.version, set()) - {digest})
    if replaced and not replace:
        raise _version_taken(published, manifest.name, manifest.version)
    highest = max([state.counter, *(offer.counter for offer in offers)])
    counter = highest + 1 if replaced else state.releases.get(digest, highest + 1)
    if replaced:
        # Every file of the former one, also those that the new one hasn't.
        head = sticks.target_path(manifest.name, manifest.version, "")
        files = {path: entry for path, entry in files.items() if not path.startswith(head)}
    state = dataclasses.replace(
        state,
        targets=max(state.targets, before.targets if before else 0) + 1,
        snapshot=max(state.snapshot, before.snapshot if before else 0) + 1,
        timestamp=max(state.timestamp, before.timestamp if before else 0) + 1,
        counter=max(highest, counter),
        releases={**state.releases, digest: counter},
        versions={**state.versions, f"{manifest.name} {manifest.version}": digest},
    )
    emit(Event("stick", "started", f"writing {manifest.name} {manifest.version} to {stick}"))
    entries = _release_entries(release, manifest, counter)
    parts.check_names({path: entry for path, (_, entry) in entries.items()}, files)
    _copy_all(stick, entries, emit)
    files.update({path: entry for path, (_, entry) in entries.items()})
    _write_publisher(keys_folder, state)  # a version that was signed once is never used again
    version = client.check_root(root).version
    storage.write_bytes(stick / "metadata" / f"{version}.root.json", root)
    for name, content in _sign(files, state, signers, now, expires_days).items():
        storage.write_bytes(stick / "metadata" / name, content)
    storage.remove_leftovers(stick / "metadata")
    emit(Event("stick", "message", f"reading {stick} back"))
    read_back(stick, root, now, emit)
    if prune or replaced:
        _remove_old(stick, state, files)
    emit(
        Event(
            "stick", "finished", f"{stick}: {manifest.name} {manifest.version} (release {counter}), read back"
        )
    )
    return Written(
        stick,
        manifest.name,
        manifest.version,
        digest,
        counter,
        state.timestamp,
        now + timedelta(days=expires_days),
    )


def read_back(stick: Path, root: bytes, now: datetime, emit: Emit) -> None:
    """Read all of `stick` as a device would, telling of each file read.

    Raises:
        TrustError: it isn't what was written.
    """
    verified = client.verify(stick, root, ledger.Ledger(), now)
    for offer in sticks.find_offers(verified.files):
        data = read_inside(stick, offer.manifest.stored, manifests.MAX_BYTES)
        if storage.sha256_bytes(data) != offer.manifest.sha256:
            raise TrustError(f"{offer.manifest.stored}: reads back otherwise", "try another stick")
    total, done = sum(entry.length for entry in verified.files.values()), 0
    for path, entry in verified.files.items():
        sticks.verify_file(stick, sticks.as_target(path, entry))
        done += entry.length
        emit(Event("read back", "progress", done=done, total=total, unit="bytes"))


def publish_project(
    project: Project,
    stick: Path,
    emit: Emit,
    *,
    passphrase: str | None = None,
    prune: bool = False,
    replace: bool = False,
) -> Written:
    """Sign a project's release with its keys and write it to `stick`.

    Args:
        passphrase: by default ANCHORHOLD_PASSPHRASE.
        prune, replace: as for `write_stick`.

    Raises:
        KeysError: no keys, or no or a wrong passphrase.
        UpdateError, TrustError: as `write_stick`.
    """
    keys.show(project.keys)
    passphrase = passphrase or keys.passphrase_from(None)
    if passphrase is None:
        raise KeysError(
            "no passphrase to unlock the signing keys",
            "set ANCHORHOLD_PASSPHRASE, or run `anchorhold stick write`",
        )
    signers = keys.unlock(project.keys, passphrase)
    days = project.config.release.expires_days
    return write_stick(
        project.keys,
        signers,
        project.release,
        stick,
        emit,
        expires_days=days,
        prune=prune,
        replace=replace,
    )
