"""Whether to believe a stick: python-tuf checks its metadata, ledger and clock check what TUF can't."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, TargetFile, Targets
from tuf.ngclient import Updater, UpdaterConfig

from appliance.errors import TrustError
from appliance.trust import clock, limits, roots
from appliance.trust.folder import BASE_URL, FolderFetcher
from appliance.trust.ledger import Ledger

ISSUED = "x-anchorhold-issued"  # signed into each timestamp: when it was made
_ASK = "ask whoever made the stick; nothing on this device has changed"


@dataclass(frozen=True)
class Verified:
    """What a stick's metadata says, after every check has passed.

    Attributes:
        root, timestamp, snapshot, targets: versions.
        expires: the earliest expiry of the four.
        issued: when the timestamp was signed.
        time: the time that expiry was judged by, or `issued` if that is later.
        signers: ids of the keys whose signatures on the targets metadata are good.
        files: what may be read from `targets/`, by target path.
        metadata: the verified bytes by file name, root history included.
    """

    root: int
    timestamp: int
    snapshot: int
    targets: int
    expires: datetime
    issued: datetime
    time: datetime
    signers: tuple[str, ...]
    files: Mapping[str, TargetFile]
    metadata: Mapping[str, bytes] = field(repr=False)


def check_root(data: bytes) -> Root:
    """The root of trust in `data`, if it is one and signed by itself.

    Raises:
        TrustError: it is neither.
    """
    try:
        metadata = Metadata[Root].from_bytes(data)
        if not isinstance(metadata.signed, Root):
            raise TrustError(
                "this isn't root metadata", "give the root.json that `anchorhold keys export-root` wrote"
            )
        metadata.signed.verify_delegate(Root.type, metadata.signed_bytes, metadata.signatures)
    except (tuf_errors.RepositoryError, ValueError) as error:
        raise TrustError(
            f"not a root of trust: {error}", "give the root.json that `anchorhold keys export-root` wrote"
        ) from error
    roots.check_distinct(metadata.signed)
    return metadata.signed


class _StickUpdater(Updater):
    """Starts from no cached timestamp, snapshot or targets, so that every file of the stick is checked."""

    @property
    def trusted(self) -> Any:
        return self._trusted_set


def _explain(error: Exception) -> TrustError:
    text = " ".join(str(error).split())
    if isinstance(error, tuf_errors.ExpiredMetadataError):
        return TrustError(
            f"the stick has expired: {text}", "ask for a stick that was signed lately; check the clock"
        )
    if isinstance(error, tuf_errors.UnsignedMetadataError):
        return TrustError(f"not signed by a key that this device trusts: {text}", _ASK)
    if isinstance(error, tuf_errors.DownloadHTTPError):
        return TrustError(
            f"the stick isn't whole: {text}", "was it removed while it was written? write it again"
        )
    if isinstance(error, tuf_errors.BadVersionNumberError):
        return TrustError(f"the stick's metadata doesn't belong together: {text}", _ASK)
    cause = f" ({error.__cause__})" if isinstance(error, tuf_errors.DownloadError) and error.__cause__ else ""
    return TrustError(f"the stick was changed or damaged: {text}{cause}", _ASK)


def _signers(root: Root, targets: Metadata[Targets]) -> tuple[str, ...]:
    result = root.get_verification_result(Targets.type, targets.signed_bytes, targets.signatures)
    return tuple(sorted(result.signed))


def _check_floors(ledger: Ledger, found: Mapping[str, int]) -> None:
    for role, version in found.items():
        floor = getattr(ledger, role)
        if version < floor:
            raise TrustError(
                f"the stick is older than what is installed here ({role} version {version}, floor {floor})",
                "use the newest stick; an older release can be reached with `anchorhold rollback`",
            )


def verify(
    stick: Path,
    trusted_root: bytes,
    ledger: Ledger,
    now: datetime,
    history: Mapping[int, bytes] | None = None,
    *,
    allow_expired: bool = False,
) -> Verified:
    """Decide whether to believe the metadata on `stick`; changes nothing anywhere.

    Args:
        stick: its folder, with `metadata/` below.
        trusted_root: the pinned root of trust.
        ledger: the device's floors.
        now: the time to judge expiry by (trust/clock.py).
        history: later roots that the device has verified before, by version.
        allow_expired: for the publisher, who is about to sign anew.

    Raises:
        TrustError: unsigned, signed by a stranger, changed, incomplete, expired, or older than the floors.
    """
    check_root(trusted_root)
    config = UpdaterConfig(
        max_root_rotations=limits.ROOT_ROTATIONS,
        root_max_length=limits.ROOT_BYTES,
        timestamp_max_length=limits.TIMESTAMP_BYTES,
        snapshot_max_length=limits.SNAPSHOT_BYTES,
        targets_max_length=limits.TARGETS_BYTES,
    )
    with tempfile.TemporaryDirectory(prefix="anchorhold-trust-") as name:
        folder = Path(name)
        (folder / "root_history").mkdir()
        for version, data in (history or {}).items():
            (folder / "root_history" / f"{version}.root.json").write_bytes(data)
        try:
            updater = _StickUpdater(
                str(folder),
                f"{BASE_URL}metadata/",
                fetcher=FolderFetcher(stick),
                config=config,
                bootstrap=trusted_root,
            )
            updater.trusted.reference_time = now
            updater.refresh()
        except (tuf_errors.RepositoryError, tuf_errors.DownloadError) as error:
            raise _explain(error) from error
        stored = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*.json"))
            if not path.is_symlink()
        }
    trusted = updater.trusted
    roles = {"root": trusted.root, "timestamp": trusted.timestamp, "snapshot": trusted.snapshot}
    roles["targets"] = trusted.targets
    found = {role: signed.version for role, signed in roles.items()}
    _check_floors(ledger, found)
    roots.check_distinct(trusted.root)
    roots.check_reached(trusted.timestamp.unrecognized_fields, trusted.root.version)
    issued = clock.from_text(trusted.timestamp.unrecognized_fields.get(ISSUED))
    expires = min(signed.expires for signed in roles.values())
    # A stick that was signed later than this machine's clock says tells the time.
    known = max(now, issued)
    if expires <= known and not allow_expired:
        raise TrustError(
            f"the stick has expired: {clock.to_text(expires)}", "ask for a stick that was signed lately"
        )
    targets = Metadata[Targets].from_bytes(stored["targets.json"])
    return Verified(
        **found,
        expires=expires,
        issued=issued,
        time=known,
        signers=_signers(trusted.root, targets),
        files=dict(trusted.targets.targets),
        metadata=stored,
    )
