"""The site that a device belongs to: told by its operator once, kept in `trust/site.json` (docs/formats/stick.md)."""

from __future__ import annotations

import json

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.paths import Device
from appliance.trust import delegation

FORMAT = "anchorhold-site/1"
_MOST_BYTES = 1024


def read(device: Device) -> str:
    """The device's site; empty where it has none.

    Raises:
        TrustError: damaged; taken for none, the device would leave its site's releases without a word.
    """
    try:
        with device.site.open("rb") as stream:
            value = json.loads(stream.read(_MOST_BYTES))
        if value["format"] != FORMAT:
            raise ValueError("another format")
        return delegation.check_site(value["site"])
    except FileNotFoundError:
        return ""
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise TrustError(
            f"{device.site}: damaged ({error})", "say the site again: `anchorhold install STICK --site NAME`"
        ) from error


def keep(device: Device, site: str) -> None:
    """Make `site` the device's own; empty: it belongs to none.

    Raises:
        UsageError: no name of a site.
    """
    if site:
        storage.write_json(device.site, {"format": FORMAT, "site": delegation.check_site(site)})
    elif device.site.exists():
        device.site.unlink()
        storage.fsync_folder(device.site.parent)
