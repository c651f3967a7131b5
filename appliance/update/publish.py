"""Writing a stick: files first, metadata after them, the timestamp last; then all of it is read back.

Until the timestamp is renamed into place a device sees the stick as it was before.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, TargetFile, Targets

from appliance import storage
from appliance.errors import TrustError, UpdateError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.registry import manifest as manifests
from appliance.registry import signature
from appliance.registry import version as versions
from appliance.registry.sightings import StickNote
from appliance.regular_file import open_regular
from appliance.trust import (
    client,
    clock,
    delegation,
    encryption_keys,
    keys,
    ledger,
    limits,
    oms_bundle,
    roots,
)
from appliance.trust.chain import Link
from appliance.trust.encryption_keys import Receiver
from appliance.trust.folder import read_inside
from appliance.trust.unlocking import Secrets
from appliance.update import (
    acknowledging,
    carried,
    delta_publishing,
    model_signature,
    parts,
    sealed_publishing,
    signing,
    sites,
    uncached,
)
from appliance.update import stick as sticks
from appliance.update.publisher_state import STATE_FILE as STATE_FILE
from appliance.update.publisher_state import Publisher as Publisher
from appliance.update.publisher_state import read_publisher as read_publisher
from appliance.update.publisher_state import write_publisher as _write_publisher

_BLOCK = 4 * limits.MIB


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
    clear: tuple[str, ...] = ()  # other releases that are readable on a stick that was to be encrypted


def _release_entries(
    folder: Path, manifest: manifests.Manifest, counter: int, bundle: Path | None
) -> parts.Entries:
    found: parts.Entries = {}
    digests = {}
    head = {"name": manifest.name, "version": manifest.version, "counter": counter}
    listed = [(manifests.FILE_NAME, {**head, "role": "manifest"})]
    listed += [(file.name, {"role": file.role}) for file in manifest.files]
    if bundle is not None:
        listed.append((bundle.name, {"role": signature.ROLE}))
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
    with open_regular(piece.source) as stream, storage.atomic_writer(destination) as out:
        stream.seek(piece.offset)
        while left and (block := stream.read(min(_BLOCK, left))):
            digest.update(block)
            out.write(block)
            left -= len(block)
            done(len(block))
        if digest.hexdigest() != expected.hashes["sha256"]:
            raise UpdateError(f"{piece.source}: changed while it was copied", "run the same command again")


def _copy_all(stick: Path, entries: parts.Entries, emit: Emit) -> None:
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


def _remove_old(stick: Path, signed: Container[str], files: Mapping[str, TargetFile]) -> None:
    """Delete what the new metadata doesn't name; only after it is in place."""
    wanted = {Path(sticks.as_target(path, entry).stored).name for path, entry in files.items()}
    for path in (stick / "targets").iterdir():
        if path.is_file() and path.name not in wanted:
            path.unlink()
    for path in (stick / "metadata").iterdir():
        if path.name.endswith(".json") and not path.name.endswith(".root.json") and path.name not in signed:
            path.unlink()


def _sign_targets(
    keys_folder: Path,
    held: carried.Held,
    state: Publisher,
    signers: Mapping[str, Sequence[Signer]],
    expires: datetime,
    newest: int,
    now: datetime,
) -> tuple[Metadata[Targets], dict[str, Metadata[Targets]], Publisher]:
    """The targets metadata for all and of each site, and the state with their versions.

    Raises:
        ThresholdError: signatures are missing.
    """
    before, site, own = held.before, held.site, dict(held.own)
    wanted = sites.delegated(held.known)
    wanted.targets, wanted.expires = held.files, expires
    wanted.version = max(state.targets, before.targets if before else 0) + 1
    targets = None
    if site is not None and before is not None:
        targets = signing.reusable(before, wanted, newest, state.targets, now)
    targets = targets or signing.targets(keys_folder, wanted, signers["targets"], now)
    state = dataclasses.replace(state, targets=targets.signed.version)
    if site is not None:
        version = max(state.sites.get(site, 0), own[site].signed.version if site in own else 0) + 1
        part = Targets(version=version, expires=expires, targets=held.theirs)
        at_hand = signers.get(delegation.role_of(site), ())
        own[site] = signing.targets(keys_folder, part, at_hand, now, site=site, authority=targets)
        state = dataclasses.replace(state, sites={**state.sites, site: own[site].signed.version})
    return targets, own, state


def _numbered(
    state: Publisher,
    before: client.Verified | None,
    files: dict[str, TargetFile],
    manifest: manifests.Manifest,
    digest: str,
    *,
    replace: bool,
) -> tuple[Publisher, int, bool]:
    """The publisher's state with the next numbers, the release's counter, and whether other content is replaced.

    Args:
        before: what the stick holds.
        files: of its release's role; those of a replaced release are taken out.
        digest: of the release.
        replace: publish other content under a version that is out already.

    Raises:
        UpdateError: the version was published with other content.
    """
    offers = sticks.find_offers({**(before.files if before else {}), **files})
    published = _published(state, offers, manifest.name)
    replaced = bool(published.get(manifest.version, set()) - {digest})
    if replaced and not replace:
        raise _version_taken(published, manifest.name, manifest.version)
    highest = max([state.counter, *(offer.counter for offer in offers)])
    counter = highest + 1 if replaced else state.releases.get(digest, highest + 1)
    if replaced:
        # Every file of the former one, also those that the new one hasn't.
        head = sticks.target_path(manifest.name, manifest.version, "")
        for path in [path for path in files if path.startswith(head)]:
            del files[path]
    state = dataclasses.replace(
        state,
        snapshot=max(state.snapshot, before.snapshot if before else 0) + 1,
        timestamp=max(state.timestamp, before.timestamp if before else 0) + 1,
        counter=max(highest, counter),
        releases={**state.releases, digest: counter},
        versions={**state.versions, f"{manifest.name} {manifest.version}": digest},
    )
    return state, counter, replaced


def _write_metadata(stick: Path, signed: Mapping[str, bytes]) -> None:
    """The signed files; roots before the timestamp, and that last: until then the stick is what it was."""
    for name in sorted(signed, key=lambda name: (name == "timestamp.json", name.endswith("root.json"))):
        storage.write_bytes(stick / "metadata" / name, signed[name])
    storage.remove_leftovers(stick / "metadata")


def _manifest_in(release: Path) -> tuple[manifests.Manifest, str]:
    """A release folder's release.json, and its digest."""
    try:
        with open_regular(release / manifests.FILE_NAME) as stream:
            data = stream.read(manifests.MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UpdateError(f"{release}: no release there", "`anchorhold release` makes it") from error
    return manifests.parse(data), storage.sha256_bytes(data)


def _take_place(files: dict[str, TargetFile], entries: parts.Entries, manifest: manifests.Manifest) -> bool:
    """Put a release's entries among a stick's files, in place of what lies there of it; whether that was another."""
    former = delta_publishing.remove_release(files, manifest)
    new = {path: entry for path, (_, entry) in entries.items()}
    parts.check_names(new, files)
    files.update(new)
    return any(path not in files or files[path].hashes != entry.hashes for path, entry in former.items())


def _tell_of_clear(held: carried.Held, emit: Emit) -> tuple[str, ...]:
    """What stays readable on a stick that is encrypted, and what was; told before anything is copied."""
    others = [each.signed.targets for site, each in held.own.items() if site != held.site]
    was = [held.before.files] if held.before is not None else []
    mine = [held.own[held.site].signed.targets] if held.site in held.own else []
    before = sealed_publishing.in_the_clear([*was, *others, *mine])
    after = sealed_publishing.in_the_clear([held.files, held.theirs, *others])
    return sealed_publishing.warn_of_clear(before, after, emit)


def write_stick(
    keys_folder: Path,
    signers: Mapping[str, Sequence[Signer]],
    release: Path,
    stick: Path,
    emit: Emit,
    *,
    expires_days: int = 365,
    prune: bool = False,
    replace: bool = False,
    model_key: oms_bundle.SigningKey | None = None,
    now: datetime | None = None,
    noting: Callable[[str, int], None] | None = None,
    acknowledged: Mapping[str, Link] | None = None,
    bases: Sequence[Path] = (),
    whole: bool = True,
    receivers: Sequence[Receiver] = (),
) -> Written:
    """Put the release in `release` on `stick`, beside the releases that are there, and sign anew.

    Args:
        keys_folder: holds root.json and the publisher's state.
        signers: of targets, snapshot and timestamp (`keys.unlock`), and of the release's site. Where they are fewer
            than must sign, the targets wait in the keys folder for others' signatures, and the stick stays as it is.
        release: a folder with release.json and the files that it lists. One called `SITE.something` is for that site
            alone, and signed by the site's keys; the targets keys need then not sign what they have signed already.
        stick: a folder; made if missing.
        emit: progress in bytes.
        expires_days: how long devices accept the stick.
        prune: leave only this release on it.
        replace: publish other content under a version that is out already. Its counter rises, so devices
            that have the former content take the new one, and never go back.
        model_key: signs the release's OMS bundle, model.sig; without it one that is there must hold.
        now: when it is signed; by default now.
        noting: called with the release's digest and the timestamp's version once all its files are on the stick,
            before metadata that names them is.
        acknowledged: the last entry that is known of each device's log; the stick says so, signed as its releases are.
        bases: models that devices have: what makes the release's model of each goes onto the stick too.
        whole: False leaves the model itself out: only devices that have one of `bases` can install it.
        receivers: the only devices that can read the release's files, release.json aside; by default all can.

    Raises:
        ModelError: a base isn't a GGUF file.
        UpdateError: the release folder isn't whole, or its version was published with other content.
        TrustError: the stick holds somebody else's metadata, or what was written reads back otherwise.
        ThresholdError: signatures are missing.
    """
    now = clock.latest(clock.machine_time(), ()) if now is None else now
    history = keys.root_history(keys_folder)
    newest = max(history)
    manifest, digest = _manifest_in(release)
    state = read_publisher(keys_folder)
    held = carried.hold(keys_folder, stick, history, manifest.name, state.releases, now, emit, prune=prune)
    before, files = held.before, held.mine
    state, counter, replaced = _numbered(state, before, files, manifest, digest, replace=replace)
    emit(Event("stick", "started", f"writing {manifest.name} {manifest.version} to {stick}"))
    named = roots.model_signing_keys(roots.parse(history[newest]).signed)
    bundle = model_signature.prepare(release, manifest, digest, named, model_key, emit)
    with delta_publishing.Workplace() as workplace:
        entries = _release_entries(release, manifest, counter, bundle)
        delta_publishing.add(entries, release, manifest, bases, workplace, emit, whole=whole)
        if receivers:
            entries = sealed_publishing.seal_all(entries, release, receivers, emit)
        stale = _take_place(files, entries, manifest)
        clear = _tell_of_clear(held, emit) if receivers else ()
        entries.update(acknowledging.add(keys_folder, stick, held, acknowledged, emit))
        expires = now + timedelta(days=expires_days)
        targets, own, state = _sign_targets(keys_folder, held, state, signers, expires, newest, now)
        _copy_all(stick, entries, emit)
    if noting is not None:
        noting(digest, state.timestamp)
    _write_publisher(keys_folder, state)  # a version that was signed once is never used again
    signed = signing.sign(targets, own, state.snapshot, state.timestamp, newest, signers, now, expires)
    signed = {**signed, **{f"{number}.root.json": root for number, root in history.items()}}
    _write_metadata(stick, signed)
    emit(Event("stick", "message", f"reading {stick} back"))
    read_back(stick, history[1], now, emit)
    signing.published(keys_folder, targets, own)
    if prune or replaced or stale or receivers:  # an interrupted write may have left files in the clear
        every = [held.files, *(each.signed.targets for each in own.values())]
        _remove_old(stick, signed, {path: entry for part in every for path, entry in part.items()})
    acknowledging.remove_former(stick, held.files)
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
        min(expires, targets.signed.expires, *(each.signed.expires for each in own.values())),
        clear,
    )


def read_back(stick: Path, root: bytes, now: datetime, emit: Emit) -> None:
    """Read all of `stick` as a device would, from the medium and not from memory, telling of each file read.

    Raises:
        TrustError: it isn't what was written.
    """
    uncached.forget(stick, emit)
    verified = client.verify(stick, root, ledger.Ledger(), now)
    files = {**verified.files, **sites.read_back(stick, verified, now)}
    for offer in sticks.find_offers(files):
        data = read_inside(stick, offer.manifest.stored, manifests.MAX_BYTES)
        if storage.sha256_bytes(data) != offer.manifest.sha256:
            raise TrustError(f"{offer.manifest.stored}: reads back otherwise", "try another stick")
    total, done = sum(entry.length for entry in files.values()), 0
    for path, entry in files.items():
        sticks.verify_file(stick, sticks.as_target(path, entry))
        done += entry.length
        emit(Event("read back", "progress", done=done, total=total, unit="bytes"))


def publish_project(
    project: Project,
    stick: Path,
    emit: Emit,
    *,
    secrets: Secrets | None = None,
    prune: bool = False,
    replace: bool = False,
    label: str = "",
    leaves: bool = True,
    acknowledged: Mapping[str, Link] | None = None,
    bases: Sequence[Path] = (),
    whole: bool = True,
    encrypt_to: Sequence[str] = (),
) -> Written:
    """Sign a project's release with its keys and write it to `stick`; the registry is told.

    Args:
        secrets: open the keys; by default ANCHORHOLD_PASSPHRASE and ANCHORHOLD_PIN.
        prune, replace, bases, whole: as for `write_stick`.
        encrypt_to: names of enrolled devices, the only ones that can read the release; by default all can.
        label: what the stick is called; empty: as its folder.
        leaves: the stick is to be carried away; a folder that stays in the workshop is no place to note.
        acknowledged: as for `write_stick`.

    Raises:
        KeysError: no keys, no or a wrong passphrase or PIN, or a token that isn't there.
        UpdateError, TrustError: as `write_stick`.
    """
    keys.show(project.keys)
    receivers = encryption_keys.enrolled(project.keys, encrypt_to)
    secrets = secrets or Secrets()
    signers = {**keys.unlock(project.keys, secrets), **sites.unlock(project.keys, secrets)}
    model_key = keys.unlock_model_signing(project.keys, secrets)
    by = next((signer.public_key.keyid for signer in signers["targets"]), "")
    note = StickNote(project.release, label or stick.resolve().name, by, emit)
    written = write_stick(
        project.keys,
        signers,
        project.release,
        stick,
        emit,
        expires_days=project.config.release.expires_days,
        prune=prune,
        replace=replace,
        noting=note.begin if leaves else None,
        model_key=model_key,
        acknowledged=acknowledged,
        bases=bases,
        whole=whole,
        receivers=receivers,
    )
    if leaves:
        note.finish(written.digest, written.timestamp)
    return written
