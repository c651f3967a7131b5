"""The signed metadata of a stick: targets by the threshold of their keys, snapshot and timestamp at the workshop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signer
from tuf.api.metadata import Metadata, MetaFile, Snapshot, TargetFile, Targets, Timestamp

from appliance.errors import ThresholdError
from appliance.trust import ceremony, client, clock, keys, pending, roots


def _waiting(keys_folder: Path, wanted: Targets, now: datetime) -> ceremony.Request | None:
    """What waits for signatures already, if it says the same and is still worth signing."""
    found = pending.find(keys_folder, Targets.type)
    if found is None:
        return None
    signed = found.metadata.signed
    same = signed.targets == wanted.targets and signed.delegations == wanted.delegations
    fresh = signed.version >= wanted.version and signed.expires > now
    return found if same and fresh else None


def targets(
    keys_folder: Path,
    files: Mapping[str, TargetFile],
    version: int,
    expires: datetime,
    signers: Sequence[Signer],
    now: datetime,
) -> Metadata[Targets]:
    """Targets metadata with as many signatures as must be.

    Signatures that were imported for the same files count; then version and expiry are those that were signed.

    Args:
        keys_folder: of the publisher; what lacks signatures waits in it.
        files: by target path.
        version: the least that may be used.
        expires: of metadata that is made new.
        signers: those at hand.
        now: metadata that has expired by then isn't signed on.

    Raises:
        ThresholdError: signatures are missing; it says how many and whose.
    """
    wanted = Targets(version=version, expires=expires, targets=dict(files))
    root = roots.parse(keys.root_bytes(keys_folder))
    waiting = _waiting(keys_folder, wanted, now)
    metadata: Metadata[Any] = Metadata(wanted) if waiting is None else waiting.metadata
    request = ceremony.Request(Targets.type, metadata, root)
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
    snapshot: int,
    timestamp: int,
    root: int,
    signers: Mapping[str, Sequence[Signer]],
    now: datetime,
    expires: datetime,
) -> dict[str, bytes]:
    """The three metadata files by name.

    Args:
        targets: signed.
        snapshot, timestamp: versions.
        root: version of the newest root; the timestamp says that it was out.
        signers: of snapshot and timestamp.
        now: when it is signed.
        expires: of snapshot and timestamp.
    """
    version = targets.signed.version
    listed = Metadata(Snapshot(version=snapshot, expires=expires, meta={"targets.json": MetaFile(version)}))
    newest = Metadata(Timestamp(version=timestamp, expires=expires, snapshot_meta=MetaFile(snapshot)))
    newest.signed.unrecognized_fields[client.ISSUED] = clock.to_text(now)
    newest.signed.unrecognized_fields[roots.REACHED_FIELD] = root
    for role, metadata in (("snapshot", listed), ("timestamp", newest)):
        for signer in signers[role]:
            metadata.sign(signer, append=True)
    return {
        f"{version}.targets.json": targets.to_bytes(),
        f"{snapshot}.snapshot.json": listed.to_bytes(),
        "timestamp.json": newest.to_bytes(),
    }


def published(keys_folder: Path) -> None:
    """Forget what waited: it is out."""
    pending.drop(keys_folder, Targets.type)
