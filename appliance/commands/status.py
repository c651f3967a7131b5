"""`anchorhold status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from appliance.paths import Device

_EPILOG = """\b
Example:
  anchorhold status
  anchorhold status --json
  anchorhold status --card
"""


def _slot(slot: Any, attempts: int | None) -> dict[str, Any] | None:
    from dataclasses import asdict

    return {**asdict(slot), "signers": list(slot.signers), "attempts": attempts} if slot is not None else None


def _proof(attempts: int | None, active: bool) -> str:
    """What is to be said of a release that hasn't proved itself; empty of one that has."""
    if attempts is None:
        return ""
    if attempts == 0 and not active:
        return "  (left by itself: it didn't serve)"
    return f"  (has {attempts} starts left to prove itself in)"


def _rolled_back(entries: list[dict[str, Any]]) -> list[str]:
    """A line if the last change of release was the device's own, away from one that didn't serve."""
    changes = [entry for entry in entries if entry["event"] in {"installed", "rolled back"}]
    if not changes or not changes[-1]["data"].get("automatic"):
        return []
    data = changes[-1]["data"]
    return [f"rolled back by itself to {data['name']} {data['version']}: {data['reason']}"]


def _log(device: Device) -> dict[str, Any]:
    from appliance.trust import device_identity
    from appliance.update import log_files

    identity, head = device_identity.read(device), log_files.read_place(device.log / log_files.HEAD)
    return {
        "device": identity.device if identity is not None else None,
        "entries": head.number if head is not None else 0,
        "acknowledged": log_files.acknowledged(device.log).number,
    }


def _collect(root: Path | None) -> dict[str, Any]:
    import shutil

    from appliance.errors import AnchorholdError
    from appliance.paths import Device
    from appliance.serving.gateway_client import GatewayClient
    from appliance.trust import ledger
    from appliance.update import audit, slots

    device = Device(root) if root else Device.default()
    problems: list[str] = []
    state = slots.State()
    floors = ledger.Ledger()
    health: dict[str, Any] | None = None
    try:
        state = slots.state(device)
        slots.active(device)
    except AnchorholdError as error:
        problems.append(error.message)
    try:
        floors = ledger.read(device)
    except AnchorholdError as error:
        problems.append(error.message)
    try:
        with GatewayClient(device.gateway_socket, timeout=3.0) as client:
            health = client.health()
    except AnchorholdError as error:
        gateway = error.message
    else:
        gateway = str(health.get("status"))
    problems += _rolled_back(audit.entries(device))
    problems += [f"audit log: {fault}" for fault in audit.verify(device)]
    watching = ((health or {}).get("drift") or {}).get("problem")
    problems += [f"drift: {watching}"] if watching else []
    attacked = ((health or {}).get("redteam") or {}).get("problem")
    problems += [f"redteam: {attacked}"] if attacked else []
    disk = shutil.disk_usage(device.root).free if device.root.is_dir() else None
    return {
        "root": str(device.root),
        "pinned": device.trusted_root.is_file(),
        "active": _slot(state.active, state.attempts),
        "previous": _slot(state.previous, state.previous_attempts),
        "floor": floors.counter,
        "newest_signed": floors.time,
        "gateway": gateway,
        "health": health,
        "drift": (health or {}).get("drift"),
        "redteam": (health or {}).get("redteam"),
        "log": _log(device),
        "disk_free_bytes": disk,
        "problems": problems,
    }


def _show_card(root: Path | None, as_json: bool) -> None:
    import json

    from appliance.paths import Device
    from appliance.update import installed_card

    found = installed_card.read(Device(root) if root else Device.default())
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False))
    else:
        click.echo("\n".join(found.lines()))


@click.command("status", epilog=_EPILOG)
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--card", is_flag=True, help="Show the active release's report card instead.")
def command(root: Path | None, as_json: bool, card: bool) -> None:
    """What runs here, who signed it, and how it does.

    Shows the active and the retained release with slot, counter and the ids of the keys that signed them,
    whether the gateway answers, whether inputs or answers have drifted, and what is wrong, if anything is.
    With --card: what was measured of the active release before it was signed: gates, waivers, suites.
    """
    import json

    if card:
        _show_card(root, as_json)
        return
    facts = _collect(root)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"device    {facts['root']}" + ("" if facts["pinned"] else "  (no root of trust yet)"))
    for which in ("active", "previous"):
        slot = facts[which]
        if slot is None:
            click.echo(f"{which:<9} none")
            continue
        click.echo(
            f"{which:<9} {slot['name']} {slot['version']}  slot {slot['slot']}  release {slot['counter']}"
            + _proof(slot["attempts"], which == "active")
        )
        click.echo(f"          digest {slot['digest']}")
        click.echo(f"          signed by {', '.join(slot['signers'])}")
    click.echo(f"gateway   {facts['gateway']}")
    if facts["drift"] is not None:
        from appliance.watch.telling import headline

        click.echo(f"drift     {headline(facts['drift'])}")
        for alarm in facts["drift"]["alarms"]:
            click.echo(f"          {alarm}")
        from appliance.watch.redteam import telling

        click.echo(f"red team  {telling.headline(facts['redteam'])}")
        for line in telling.lines(facts["redteam"]):
            click.echo(f"          {line}")
    if facts["log"]["device"] is not None:
        log = facts["log"]
        told = f"{log['entries']} entries, the workshop has acknowledged {log['acknowledged']}"
        click.echo(f"log       {told}; this device is {log['device']}")
    if facts["disk_free_bytes"] is not None:
        click.echo(f"disk      {facts['disk_free_bytes'] / 1e9:.1f} GB free")
    for problem in facts["problems"]:
        click.echo(f"problem   {problem}")
