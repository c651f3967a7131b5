"""What the workshop says it has of devices' logs: a file of a stick, signed as its releases are. Pure.

It names a place in each device's chain, and nothing else: the same knowledge makes the same bytes, so that several
people can sign them one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance import storage
from appliance.errors import TrustError
from appliance.trust import chain, limits
from appliance.trust.chain import Link

FORMAT = "anchorhold-acknowledgments/1"
TARGET = "acknowledgments.json"  # its target path on a stick
ROLE = "acknowledgments"  # of its signed entry
_HINT = "the stick was made by a faulty program: ask for it to be written again"


def encode(devices: Mapping[str, Link]) -> bytes:
    """The file's bytes for the last entry that is known of each device."""
    told = {device: devices[device].to_json() for device in sorted(devices)[: limits.ACKNOWLEDGED_DEVICES]}
    return storage.canonical_json({"devices": told, "format": FORMAT})


def decode(data: bytes) -> dict[str, Link]:
    """The inverse of `encode`.

    Raises:
        TrustError: not such a file.
    """
    try:
        value = chain.canonical_object(data, limits.ACKNOWLEDGMENT_BYTES)
        if sorted(value) != ["devices", "format"] or value["format"] != FORMAT:
            raise ValueError("another format")
        devices = value["devices"]
        if not isinstance(devices, dict) or len(devices) > limits.ACKNOWLEDGED_DEVICES:
            raise ValueError("no devices, or too many")
        if not all(chain.is_device(device) for device in devices):
            raise ValueError("a name that is no device's id")
        return {device: chain.link(link) for device, link in devices.items()}
    except ValueError as error:
        raise TrustError(f"{TARGET}: can't be read ({error})", _HINT) from error
