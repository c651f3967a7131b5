"""The floors below which a device accepts nothing: two checksummed copies, each written durably.

TUF's own store counts an unreadable file as a first run; this doesn't. A device with a pinned root and no
readable ledger stops.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import TrustError
from appliance.paths import Device
from appliance.trust import clock, limits

FORMAT = "anchorhold-ledger/1"
_FRESH = timedelta(minutes=1)  # a time this much older is as good a floor
_COPIES = ("ledger-a.json", "ledger-b.json")


@dataclass(frozen=True)
class Ledger:
    """Highest values that this device has accepted.

    Attributes:
        writes: grows by one with each write; the copy with more is the newer.
        pin: SHA-256 of the root that the device was given first.
        root, timestamp, snapshot, targets: TUF versions.
        counter: of the newest release installed, and `release`, its digest.
        time: newest time known, as trust/clock.py writes it; "" if none.
    """

    writes: int = 0
    pin: str = ""
    root: int = 0
    timestamp: int = 0
    snapshot: int = 0
    targets: int = 0
    counter: int = 0
    release: str = ""
    time: str = ""


def paths(device: Device) -> tuple[Path, Path]:
    """Where the two copies lie."""
    first, second = (device.ledger / name for name in _COPIES)
    return first, second


def encode(ledger: Ledger) -> bytes:
    """The bytes of one copy."""
    body = asdict(ledger)
    return (
        storage.canonical_json({"format": FORMAT, "body": body, "sha256": storage.sha256_json(body)}) + b"\n"
    )


def decode(data: bytes) -> Ledger | None:
    """The ledger that `data` holds, or None if a byte of it is wrong."""
    try:
        value: Any = json.loads(data)
        body = value["body"]
        if value["format"] != FORMAT or value["sha256"] != storage.sha256_json(body):
            return None
        return Ledger(**body)
    except (ValueError, KeyError, TypeError):
        return None


def _read_copy(path: Path) -> Ledger | None:
    try:
        with path.open("rb") as stream:
            return decode(stream.read(limits.LEDGER_BYTES))
    except FileNotFoundError:
        return None


def read(device: Device) -> Ledger:
    """The device's ledger; an empty one on a device that was never given a root.

    Raises:
        TrustError: the device has a root, or had one, but neither copy can be believed.
    """
    copies = [_read_copy(path) for path in paths(device)]
    good = [copy for copy in copies if copy is not None]
    if good:
        return max(good, key=lambda copy: copy.writes)
    if device.trusted_root.exists() or device.slots.exists() or any(path.exists() for path in paths(device)):
        raise TrustError(
            f"{device.ledger}: both copies of the ledger are missing or damaged",
            "without it an old stick can't be told from a new one: restore the folder from a backup, "
            "or begin a new device root",
        )
    return Ledger()


def damaged_copies(device: Device) -> list[Path]:
    """Copies that can't be believed (a missing one too); the next write mends them."""
    return [path for path in paths(device) if _read_copy(path) is None]


def write(device: Device, ledger: Ledger) -> Ledger:
    """Write both copies, one after the other, so that one is whole at any time; returns what was written."""
    new = replace(ledger, writes=ledger.writes + 1)
    first, second = paths(device)
    # Begin with a copy that is damaged already, so that the good one stays until the other is.
    order = (first, second) if _read_copy(first) is None else (second, first)
    for path in order:
        storage.write_bytes(path, encode(new))
    return new


def keep(device: Device, ledger: Ledger) -> None:
    """`write`, unless both copies say the same and the time in them is less than a minute older."""
    copies = [_read_copy(path) for path in paths(device)]
    if all(copy is not None and _says(copy, ledger) for copy in copies):
        return
    write(device, ledger)


def _says(copy: Ledger, wanted: Ledger) -> bool:
    if replace(copy, writes=0, time="") != replace(wanted, writes=0, time=""):
        return False
    if copy.time == wanted.time:
        return True
    if not (copy.time and wanted.time):
        return False
    return timedelta() <= clock.from_text(wanted.time) - clock.from_text(copy.time) < _FRESH


def raise_to(ledger: Ledger, **floors: int) -> Ledger:
    """`ledger` with the floors that are higher than its own; none is ever lowered."""
    return replace(ledger, **{name: max(getattr(ledger, name), value) for name, value in floors.items()})
