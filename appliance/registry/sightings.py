"""Word of where releases went, noted in the workshop's registry: sticks when they are written, devices when they tell.

`note` takes one word, from wherever it came; whatever brings word back from devices ends here. What fails is told and
stops nobody: a stick that was written is good even where the registry can't be.
"""

from __future__ import annotations

import os
from pathlib import Path

from appliance.errors import AnchorholdError, as_product_error
from appliance.events import Emit, Event
from appliance.paths import DEFAULT_DEVICE_ROOT, Device, registry_folder
from appliance.registry.records import Sighting
from appliance.registry.store import Registry, now


def note(registry: Registry, digest: str, sighting: Sighting) -> bool:
    """Note where a release went; told the same again, nothing changes.

    Returns:
        False where the registry hasn't this release; nothing is noted then.
    """
    if digest not in registry.records.names():
        return False
    registry.sight(digest, sighting)
    return True


def device_name(device: Device) -> str:
    """What a device is called where nobody gave it a name: this machine, and the folder if it isn't the usual one."""
    machine = os.uname().nodename
    return machine if device.root == DEFAULT_DEVICE_ROOT else f"{machine}:{device.root}"


def device_here(device: Device, digest: str, by: str, emit: Emit) -> None:
    """Note that the device on this machine runs a release, where this machine's registry has it.

    Args:
        by: who answers for it: the id of the key that signed it.
    """
    try:
        with Registry(registry_folder()) as registry:
            note(registry, digest, Sighting("device", device_name(device), now(), by))
    except (AnchorholdError, OSError) as error:
        _warn(emit, f"the registry doesn't know of this: {as_product_error(error).message}")


class StickNote:
    """Notes in the user's registry that a stick is being written, and then that it was.

    Killed between the two, the registry says that it was begun: the stick may hold the release or not.

    Args:
        release: the release's folder; it is added where the registry hasn't it.
        name: what the stick is called.
        by: the id of the key that signs it.
        emit: takes warnings.
    """

    def __init__(self, release: Path, name: str, by: str, emit: Emit) -> None:
        self._release = release
        self._name = name
        self._by = by
        self._emit = emit

    def begin(self, digest: str, number: int) -> None:
        """Before the first signature; `number` is the version of the timestamp that will be signed."""
        self._note(digest, number, begun=True)

    def finish(self, digest: str, number: int) -> None:
        """After all of it was read back."""
        self._note(digest, number, begun=False)

    def _note(self, digest: str, number: int, *, begun: bool) -> None:
        sighting = Sighting("stick", self._name, now(), self._by, number, begun)
        try:
            with Registry(registry_folder()) as registry:
                if not note(registry, digest, sighting):
                    registry.add(self._release)
                    note(registry, digest, sighting)
        except (AnchorholdError, OSError) as error:
            reason = as_product_error(error).message
            _warn(self._emit, f"the registry doesn't know of this stick: {reason}; write it again to note it")


def _warn(emit: Emit, said: str) -> None:
    emit(Event("registry", "warning", said))
