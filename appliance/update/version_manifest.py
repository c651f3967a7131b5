"""What a device says of itself in a receipt: which releases lie here, its floors, its program, and what time it is."""

from __future__ import annotations

import contextlib
import os
import platform
from typing import Any

from appliance import __version__
from appliance.errors import AnchorholdError
from appliance.paths import Device
from appliance.trust import chain, clock, ledger
from appliance.update import own_site, slots


def _slot(device: Device, slot: slots.Slot | None) -> dict[str, Any] | None:
    if slot is None:
        return None
    told: dict[str, Any] = {
        "slot": slot.slot,
        "name": slot.name,
        "version": slot.version,
        "release": slot.digest,
        "counter": slot.counter,
        "signers": list(slot.signers[:16]),
        "installed": int(slot.installed),
    }
    try:
        files = slots.installed(device, slot).manifest["files"]
        told["model"] = next(file["sha256"] for file in files if file["role"] == "model")
    except (AnchorholdError, OSError) as error:
        told["problem"] = str(error)[:300]
    return told


def time_of(floors: ledger.Ledger) -> dict[str, str]:
    """What time it is, by what, and what the machine's own clock says."""
    machine = clock.machine_time()
    seen = [clock.from_text(floors.time)] if floors.time else []
    known = clock.latest(machine, seen)
    source = "the machine's clock"
    if known > machine:
        source = "the newest stick" if known in seen else "the program's build date"
    return {"known": clock.to_text(known), "machine": clock.to_text(machine), "source": source}


def collect(device: Device, identity: str) -> dict[str, Any]:
    """The version manifest of a device; what can't be read is said and left out.

    Args:
        device: the device.
        identity: its id.
    """
    told: dict[str, Any] = {
        "device": identity,
        "machine": os.uname().nodename[:64],
        "program": {"version": __version__, "python": platform.python_version()},
    }
    try:
        state = slots.state(device)
        told["slots"] = {
            "active": _slot(device, state.active),
            "previous": _slot(device, state.previous),
            "changes": state.changes,
            "attempts": state.attempts,
            "previous_attempts": state.previous_attempts,
        }
    except AnchorholdError as error:
        told["slots"] = {"problem": error.message[:300]}
    floors = ledger.Ledger()
    try:
        floors = ledger.read(device)
        names = ("pin", "root", "timestamp", "snapshot", "targets", "counter", "release", "time", "writes")
        told["ledger"] = {name: getattr(floors, name) for name in names}
    except AnchorholdError as error:
        told["ledger"] = {"problem": error.message[:300]}
    with contextlib.suppress(AnchorholdError):  # an install tells what is wrong with it
        told["site"] = own_site.read(device)
    told["time"] = time_of(floors)
    cleaned: dict[str, Any] = chain.plain(told)  # a host's name or a path may be no text
    return cleaned
