"""The signed metadata of a stick: targets by the threshold of their keys, snapshot and timestamp at the workshop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, Targets, Timestamp

from appliance.errors import ThresholdError
from appliance.trust import ceremony, client, clock, delegation, keys, pending, roots


def _waiting(keys_folder: Path, role: str, wanted: Targets, now: datetime) -> ceremony.Request | None:
    """What waits for signatures already, if it says the same and is still worth signing."""
    found = pending.find(keys_folder, role)
    if found is None:
        return None
    signed = found.metadata.signed
    same = signed.targets == wanted.targets and signed.delegations == wanted.delegations
    fresh = signed.version >= wanted.version and signed.expires > now
    return found if same and fresh else None


def reusable(
    before: client.Verified, wanted: Targets, root: int, newest: int, now: datetime
) -> Metadata[Targets] | None:
    """The targets metadata of a stick, if it says what is wanted already; else None.

    Args:
        before: verified metadata of the stick.
        wanted: files and delegations.
        root: the newest root version; under an older one others may have signed.
        newest: the version of targets metadata that was used last, on whichever stick: devices accept none below.
        now: it must not have expired.
    """
    found = Metadata[Targets].from_bytes(before.metadata["targets.json"])
    same = found.signed.targets == wanted.targets and found.signed.delegations == wanted.delegations
    current = before.root == root and found.signed.version >= newest and not found.signed.is_expired(now)
    return found if same and current else None


def targets(
    keys_folder: Path,
    wanted: Targets,
    signers: Sequence[Signer],
    now: datetime,
    *,
    site: str = "",
    authority: Metadata[Targets] | None = None,
) -> Metadata[Targets]:
    """Targets metadata with as many signatures as must be.

    Signatures that were imported for the same files count; then version and expiry are those that were signed.

    Args:
        keys_folder: of the publisher; what lacks signatures waits in it.
        wanted: files, delegations, expiry, and the least version that may be used.
        signers: those at hand.
        now: metadata that has expired by then isn't signed on.
        site: whose own metadata it is, and `authority`, the targets that let the site sign; by default the root's.

    Raises:
        ThresholdError: signatures are missing; it says how many and whose.
    """
    role = delegation.role_of(site) if site else Targets.type
    waiting = _waiting(keys_folder, role, wanted, now)
    metadata: Metadata[Any] = Metadata(wanted) if waiting is None else waiting.metadata
    root = roots.parse(keys.root_bytes(keys_folder))
    request = ceremony.Request(role, metadata, authority or root)
    allowed = request.allowed()  # a key may have been revoked since it signed
    for keyid in [keyid for keyid in metadata.signatures if keyid not in allowed]:
        del metadata.signatures[keyid]
    for signer in signers:
        request = ceremony.with_signature(request, signer)
    try:
        ceremony.require(request)
    except ThresholdError:
        pending.save(keys_folder, request)
        raise
    return request.metadata


def sign(
    targets: Metadata[Targets],
    sites: Mapping[str, Metadata[Targets]],
    snapshot: int,
    timestamp: int,
    root: int,
    signers: Mapping[str, Sequence[Signer]],
    now: datetime,
    expires: datetime,
) -> dict[str, bytes]:
    """The metadata files by name, roots aside.

    Args:
        targets: signed.
        sites: what is signed for each site.
        snapshot, timestamp: versions.
        root: version of the newest root; the timestamp says that it was out.
        signers: of snapshot and timestamp.
        now: when it is signed.
        expires: of snapshot and timestamp.
    """
    named = {Targets.type: targets, **{delegation.role_of(site): each for site, each in sites.items()}}
    meta = {f"{role}.json": MetaFile(each.signed.version) for role, each in named.items()}
    listed = Metadata(Snapshot(version=snapshot, expires=expires, meta=meta))
    newest = Metadata(Timestamp(version=timestamp, expires=expires, snapshot_meta=MetaFile(snapshot)))
    newest.signed.unrecognized_fields[client.ISSUED] = clock.to_text(now)
    newest.signed.unrecognized_fields[roots.REACHED_FIELD] = root
    for role, metadata in (("snapshot", listed), ("timestamp", newest)):
        for signer in signers[role]:
            metadata.sign(signer, append=True)
    return {
        **{f"{each.signed.version}.{role}.json": each.to_bytes() for role, each in named.items()},
        f"{snapshot}.snapshot.json": listed.to_bytes(),
        "timestamp.json": newest.to_bytes(),
    }


def published(keys_folder: Path, targets: Metadata[Targets], sites: Mapping[str, Metadata[Targets]]) -> None:
    """Forget what waited and is out; what waits with a later version goes on waiting."""
    named = {Targets.type: targets, **{delegation.role_of(site): each for site, each in sites.items()}}
    for role, metadata in named.items():
        waiting = pending.find(keys_folder, role)
        if waiting is not None and waiting.metadata.signed.version <= metadata.signed.version:
            pending.drop(keys_folder, role)
