"""A device's key for encrypted sticks, made so that the device's log tells of it before anybody can use it."""

from __future__ import annotations

from appliance.paths import Device
from appliance.trust import encryption_keys
from appliance.trust.encryption_keys import DeviceKey, Receiver
from appliance.update import audit


def make(device: Device, name: str) -> DeviceKey:
    """The device's key for encrypted sticks, made and logged if it has none.

    Args:
        name: what the device is called, in a new key.

    Raises:
        KeysError: the one that is there is damaged.
        UsageError: no name for a device.
        OSError: key or log can't be written; then there is no key.
    """

    def tell(made: Receiver) -> None:
        fingerprint = made.fingerprint.replace(" ", "")
        audit.append(
            device, "encryption key made", name=made.name, fingerprint=fingerprint, by=audit.operator()
        )

    return encryption_keys.make(device, name, tell)
