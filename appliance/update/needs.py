"""What a release needs of the machine and whose it is (`needs` in release.json), asked before anything is copied."""

from __future__ import annotations

import os
import platform

from appliance.errors import UpdateError
from appliance.paths import Device
from appliance.registry.manifest import Manifest
from appliance.trust import device_identity

_OLD = "the old release goes on serving"


def check(manifest: Manifest, device: Device) -> None:
    """Refuse a release that was signed for other machines or devices, or needs more memory than this machine has.

    Raises:
        UpdateError: one of them.
    """
    what, needs = f"{manifest.name} {manifest.version}", manifest.raw.get("needs", {})
    memory, has = needs.get("memory_bytes", 0), os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if isinstance(memory, int) and memory > has:
        raise UpdateError(
            f"{what} needs {memory} bytes of memory, this machine has {has}",
            f"ask for a smaller release, or use a machine with more memory; {_OLD}",
        )
    machines, machine = needs.get("machines", []), platform.machine()
    if machines and machine not in machines:
        raise UpdateError(
            f"{what} is for {', '.join(machines)}, this machine is {machine}", f"ask for one for it; {_OLD}"
        )
    devices = needs.get("devices", [])
    if not devices:
        return
    identity = device_identity.read(device)
    if identity is None:
        raise UpdateError(
            f"{what} is for {len(devices)} devices by their ids, and this one has none yet",
            f"`anchorhold receipts identity` makes and shows it: the publisher adds it; {_OLD}",
        )
    if identity.device not in devices:
        raise UpdateError(
            f"{what} is for other devices than this one ({identity.device})",
            f"the publisher adds it to release.devices in anchorhold.toml; {_OLD}",
        )
