"""The calls into the device's update side, loaded when one is made: they bring in TUF and cryptography."""

from __future__ import annotations

from pathlib import Path

from appliance.events import Emit
from appliance.paths import Device
from appliance.update.slots import InstalledRelease
from tui.backend import StickFacts
from tui.size_text import in_halves, size


def check(path: Path, device: Device, trust: Path | None) -> StickFacts:
    """Verify all of the stick at `path` against the device's trust, or against `trust` on a device without.

    Raises:
        TrustError, UpdateError: it isn't what it should be.
    """
    from appliance.update import stick

    report = stick.check(path, device, trust=trust, deep=True)
    others = ", ".join(offer.version for offer in report.offers if offer.version != report.version)
    rows = [
        ("Release", f"number {report.counter}; installed so far: {report.floors.counter or 'none'}"),
        ("Digest", in_halves(report.digest)),
        ("Signed by", ", ".join(signer[:16] for signer in report.verified.signers)),
        ("Expires", f"{report.verified.expires:%Y-%m-%d %H:%M} UTC"),
        ("Size", size(sum(target.bytes for target in report.files.values()))),
    ]
    if others:
        rows.append(("Also on it", others))
    if not report.pinned:
        rows.append(("Root", "this device has none yet; installing pins the one that you gave"))
    return StickFacts(path, f"{report.name} {report.version}", tuple(rows))


def install(path: Path, device: Device, trust: Path | None, emit: Emit) -> InstalledRelease:
    """Install the newest release on the stick at `path`.

    Raises:
        TrustError, UpdateError, StorageError: what was installed stays.
    """
    from appliance.update import install as installing

    return installing.install(path, device, emit, trust=trust)


def rollback(device: Device) -> InstalledRelease:
    """Make the previous release active again.

    Raises:
        UpdateError: there is none, or it is damaged.
    """
    from appliance.update import install as installing

    return installing.roll_back(device)
