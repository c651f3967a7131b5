"""Devices on a stick that the workshop has no receipt of yet: who they say they are, and which of them a person takes.

What a person says of a device is said of one key. So what is enrolled is that key, and not whatever lies on the stick
by the time it is read again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import TrustError, UsageError
from appliance.fleet.devices import SHORTEST, Devices
from appliance.fleet.taking import find, named
from appliance.trust import device_identity, limits, receipt
from appliance.trust.folder import read_inside


@dataclass(frozen=True)
class Stranger:
    """A device whose receipt holds by itself.

    Attributes:
        device, key: its id, and the public key in hex that has signed its receipt.
        machine: what it calls itself; whatever it likes.
        listed: a person has enrolled it, and no receipt of it has come yet.
    """

    device: str
    key: str
    machine: str
    listed: bool

    @property
    def fingerprint(self) -> str:
        """Of its key; what people compare."""
        return device_identity.fingerprint(self.key)


def look(path: Path, registry: Path) -> list[Stranger]:
    """The devices on a stick, in a folder or in one receipt that no receipt was taken of yet; changes nothing.

    Raises:
        UsageError, TrustError: as `taking.find`.
    """
    base, names = find(path)
    store, found = Devices(registry), []
    for name in names:
        with contextlib.suppress(TrustError, OSError):  # whoever takes it tells what is wrong
            brought = receipt.read(read_inside(base, name, limits.RECEIPT_BYTES))
            known = store.read(brought.device)
            if named(name) in {"", brought.device} and (known is None or not known.taken):
                machine = str(brought.statement.get("machine") or "")
                found.append(Stranger(brought.device, brought.key, machine, known is not None))
    return found


def believed(strangers: Iterable[Stranger]) -> dict[str, str]:
    """The key of each by its id, as `taking.take_all` wants them."""
    return {each.device: each.key for each in strangers}


def choose(words: Sequence[str], strangers: Sequence[Stranger], registry: Path) -> list[Stranger]:
    """Those that a person names.

    Args:
        words: ids or their beginnings, or whole fingerprints.
        strangers: from `look`.
        registry: its folder; a device of which receipts were taken before may be named, and nothing comes of it.

    Raises:
        UsageError: a word means none, or several.
    """
    known = [each.device for each in Devices(registry).all() if each.taken]
    chosen: dict[str, Stranger] = {}
    for word in words:
        text = "".join(word.split()).lower()
        enough = len(text) >= SHORTEST
        found = [
            each
            for each in strangers
            if text == each.fingerprint or (enough and each.device.startswith(text))
        ]
        if len(found) > 1:
            raise UsageError(f"{word!r}: {len(found)} devices there are called so", "give more of the id")
        if not found and not (enough and any(device.startswith(text) for device in known)):
            there = ", ".join(each.device for each in strangers) or "none"
            raise UsageError(
                f"{word!r}: no such device there",
                f"give more of an id, or a whole fingerprint; unknown there: {there}",
            )
        chosen |= {each.device: each for each in found}
    return list(chosen.values())
