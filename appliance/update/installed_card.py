"""The report card of an installed release: the audit.json that was signed with it, checked again when it is read."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance import storage
from appliance.errors import UpdateError
from appliance.paths import Device
from appliance.registry import manifest as manifests
from appliance.registry import report_card
from appliance.update import slots

_AGAIN = "install the stick again; `anchorhold install STICK` repairs it"


@dataclass(frozen=True)
class Card:
    """What was measured of a release before it was signed.

    Attributes:
        name, version, digest: of the release.
        raw: of its release.json, which holds its gates and waivers.
        audit: of its audit.json.
    """

    name: str
    version: str
    digest: str
    raw: dict[str, Any]
    audit: Any

    def to_json(self) -> dict[str, Any]:
        """For programs: what was signed, as it was signed."""
        return {
            "name": self.name,
            "version": self.version,
            "digest": self.digest,
            "evaluation": self.raw.get("evaluation", {}),
            "audit": self.audit,
        }

    def lines(self, width: int = report_card.WIDTH) -> list[str]:
        """For people; see `report_card.lines`."""
        return report_card.lines(self.raw, self.audit, width)


def read(device: Device) -> Card:
    """The card of the active release.

    release.json is the one whose digest was signed, and names the digest of audit.json: both are checked.

    Raises:
        UpdateError: nothing is installed, the release brings no card, or the card isn't what was signed.
    """
    release = slots.active(device)
    if release is None:
        raise UpdateError(
            f"{device.root}: no release is installed", "`anchorhold install STICK` installs one"
        )
    file = manifests.audit_of(release.manifest)
    if file is None:
        raise UpdateError(
            f"{release.name} {release.version} brings no report card: it was released without an audit",
            "at the workshop, `anchorhold audit` and then `anchorhold build` make a release with one",
        )
    path = slots.object_path(device, file.sha256, file.name)
    try:
        with path.open("rb") as stream:
            data = stream.read(manifests.MAX_AUDIT_BYTES + 1)
        if storage.sha256_bytes(data) != file.sha256:
            raise UpdateError(f"{path}: not the report card that was signed", _AGAIN)
        audit = json.loads(data)
    except FileNotFoundError as error:
        raise UpdateError(f"{path}: missing", _AGAIN) from error
    except (ValueError, RecursionError) as error:
        raise UpdateError(
            f"{release.name} {release.version}: its report card can't be read ({type(error).__name__})",
            "it is what was signed: report this to whoever made the stick",
        ) from error
    return Card(release.name, release.version, release.digest, release.manifest, audit)
