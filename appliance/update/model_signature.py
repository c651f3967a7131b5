"""The OMS bundle of a release on its way: put on a stick as a signed target, and checked where it arrives."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from securesystemslib.signer import Key
from tuf.api.metadata import Root, TargetFile

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.events import Emit, Event
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.registry import signature
from appliance.regular_file import open_regular
from appliance.trust import ledger, limits, oms_bundle, roots
from appliance.trust.folder import read_inside
from appliance.update import stick as sticks


def prepare(
    release: Path,
    manifest: manifests.Manifest,
    digest: str,
    keys: Mapping[str, Key],
    key: oms_bundle.SigningKey | None,
    emit: Emit,
) -> Path | None:
    """The bundle of the release in `release`, made if a key is at hand; it must hold in any case.

    Args:
        release: its folder.
        manifest, digest: its release.json.
        keys: that the root of trust names.
        key: signs; None leaves what is there.
        emit: told where there is none.

    Returns:
        its file, or None: a release without one.

    Raises:
        TrustError: what is there doesn't hold, and there is no key to make it again.
    """
    path = release / signature.FILE_NAME
    if key is not None:
        signature.write(release, manifest, digest, key)
    elif not path.exists():
        emit(Event("stick", "message", "no key for OMS here: the release goes out without model.sig"))
        return None
    signature.check(signature.read(release), manifest, digest, keys)
    return path


def path_of(name: str, version: str) -> str:
    """The target path of a release's bundle."""
    return sticks.target_path(name, version, signature.FILE_NAME)


def newest_root(report: sticks.StickReport) -> Root:
    """The root that a stick's metadata was verified with."""
    data = report.verified.metadata.get(f"root_history/{report.verified.root}.root.json", report.trusted_root)
    return roots.parse(data).signed


def check_stick(report: sticks.StickReport) -> oms_bundle.Bundle | None:
    """Check the OMS bundle of the release that a stick offers; None where it brings none.

    Raises:
        TrustError: it doesn't hold.
    """
    entry: TargetFile | None = report.listed.get(path_of(report.name, report.version))
    if entry is None:
        return None
    target = sticks.as_target(path_of(report.name, report.version), entry)
    try:
        data = read_inside(report.stick, target.stored, oms_bundle.MAX_BYTES)
    except FileNotFoundError as error:
        raise TrustError(f"{target.stored} is missing: the stick isn't whole", "write it again") from error
    if storage.sha256_bytes(data) != target.sha256:
        raise TrustError(f"{target.stored}: changed or damaged", "ask for it to be written again")
    named = roots.model_signing_keys(newest_root(report))
    return signature.check(data, report.manifest, report.digest, named)


def root_in(path: Path) -> Root:
    """The root of trust in a file, signed by itself.

    Raises:
        UsageError: it can't be read.
        TrustError: it is none.
    """
    try:
        with open_regular(path) as stream:
            return roots.check_step(None, stream.read(limits.ROOT_BYTES))
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror})", "give the root of trust") from error


def device_root(device: Device) -> Root:
    """The newest root that a device has followed.

    Raises:
        TrustError: it has none.
    """
    reached = ledger.read(device).root
    for path in (device.metadata / "root_history" / f"{reached}.root.json", device.trusted_root):
        if path.is_file():
            return root_in(path)
    raise TrustError("this device has no root of trust yet", "give one with --trust FILE")
