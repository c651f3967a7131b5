"""Reading a stick: which release it offers, and whether this device may believe it. Changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from tuf.api.metadata import TargetFile

from appliance.errors import TrustError, UpdateError, UsageError
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.regular_file import open_regular
from appliance.trust import client, clock, ledger, limits
from appliance.trust.folder import read_inside
from appliance.update import own_site, sites
from appliance.update.target_files import Target as Target
from appliance.update.target_files import as_target as as_target
from appliance.update.target_files import custom_of, find_file
from appliance.update.target_files import read_blocks as read_blocks
from appliance.update.target_files import target_path as target_path
from appliance.update.target_files import verify_file as verify_file

_HINT = "the stick was changed or damaged; ask for it to be written again"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # nothing had expired


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
        verified: versions, expiry and files of the metadata for all, and who signed for the release.
        listed: what is signed for all, and for the device's site.
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
    listed: Mapping[str, TargetFile] = field(repr=False)
    floors: ledger.Ledger = field(repr=False)
    trusted_root: bytes = field(repr=False)
    pinned: bool


def find_offers(files: Mapping[str, TargetFile]) -> tuple[Offer, ...]:
    """The releases among signed targets, newest first.

    Raises:
        TrustError: an entry is malformed, or two releases have one counter.
    """
    offers = []
    for path, entry in files.items():
        as_target(path, entry)
        custom = custom_of(entry)
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
        found[file.name] = find_file(path, file, files)
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
            with open_regular(trust) as stream:
                given = stream.read(limits.ROOT_BYTES)
        except OSError as error:
            raise UsageError(
                f"{trust}: can't be read ({error.strerror})", "give the root of trust"
            ) from error
    try:
        with open_regular(device.trusted_root) as stream:
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
            with open_regular(path) as stream:
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
    site: str | None = None,
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
        site: whose releases are taken beside those for all; by default the device's own.

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
    site = own_site.read(device) if site is None else site
    own, signers = sites.signed_for(stick, verified, site, judged_at) if site else ({}, ())
    listed = {**verified.files, **own}
    offers = find_offers(listed)
    offer = _choose(offers, version, stick)
    if offer.manifest.path in own:  # who answers for this release
        verified = replace(verified, signers=signers)
    _check_counter(floors, offer)
    manifest, data, files = read_release(stick, offer, listed)
    if deep:
        for target in files.values():
            for stored in target.on_stick:
                verify_file(stick, stored)
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
        listed=listed,
        floors=floors,
        trusted_root=root,
        pinned=pinned,
    )
