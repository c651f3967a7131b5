"""`anchorhold stick`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option
from appliance.commands.key_options import secrets_options

if TYPE_CHECKING:
    from appliance.trust.unlocking import Secrets

_EPILOG = """\b
Example:
  anchorhold stick write /media/usb
  anchorhold stick write /media/usb --delta-from station@1.0.0
  anchorhold stick check /media/usb
  anchorhold stick key /media/usb                            # on a device
  anchorhold stick enrol /media/usb/pump-house.device.json   # in the workshop
  anchorhold stick write /media/usb --encrypt-to pump-house
"""


@click.group("stick", epilog=_EPILOG)
def command() -> None:
    """Write a stick, check one, or have it encrypted to devices.

    A stick is a plain folder (metadata/ and targets/) that holds signed releases. Nothing on it is ever run.
    """


@command.command()
@click.argument("path", required=False, type=click.Path(file_okay=False, path_type=Path))
@project_option
@secrets_options
@click.option("--prune", is_flag=True, help="Leave only this release on the stick.")
@click.option("--replace", is_flag=True, help="Publish other content under a version that is out already.")
@click.option(
    "--label", default="", help="What the stick is called in the registry (default: as its folder)."
)
@click.option(
    "--delta-from",
    "bases",
    metavar="BASE",
    multiple=True,
    help="Add what makes the model of one that devices have: NAME@VERSION, a release's folder, or a GGUF file.",
)
@click.option(
    "--delta-only", is_flag=True, help="Leave the whole model out; only such devices can install it."
)
@click.option(
    "--encrypt-to",
    metavar="DEVICE",
    multiple=True,
    help="Only this enrolled device can read the release's files; may be given for several.",
)
def write(
    path: Path | None,
    folder: Path,
    secrets: Secrets,
    prune: bool,
    replace: bool,
    label: str,
    bases: tuple[str, ...],
    delta_only: bool,
    encrypt_to: tuple[str, ...],
) -> None:
    """Sign the project's release and write it to PATH (default: the stick folder in anchorhold.toml).

    Releases that are on the stick stay, unless --prune is given. Stopped at any point, the stick is what it
    was before. At the end all of it is read back; the registry notes which release went to it. Better than
    --replace is a raised version in anchorhold.toml: then nobody has two releases of the same name.

    With --delta-from a device that has BASE installed reads a small file in place of the model, and makes the same
    model of both, byte by byte. It pays where few matrices learn (training.modules) and the rest is rounded as it was
    (convert.like).

    With --encrypt-to all files of the release but release.json and its signature are encrypted; the names are those
    of `anchorhold stick enrol`. Releases that are on the stick already stay as they are: those that anybody can read
    are named, and go with --prune.

    The stick acknowledges what `anchorhold receipts import` has taken, so that devices needn't send it again.
    """
    from appliance.errors import UsageError
    from appliance.fleet.devices import Devices
    from appliance.paths import Project, registry_folder
    from appliance.progress import terminal_progress
    from appliance.trust import clock, keys
    from appliance.update.delta_publishing import find_base
    from appliance.update.publish import publish_project

    if delta_only and not bases:
        raise UsageError("--delta-only needs a base", "name what devices have: --delta-from NAME@VERSION")
    project = Project.open(folder)
    keys.show(project.keys)
    devices = Devices(registry_folder())
    acknowledged = devices.links()
    for problem in devices.problems():
        click.echo(f"warning: the stick doesn't acknowledge what is damaged here: {problem}", err=True)
    with terminal_progress() as emit:
        written = publish_project(
            project,
            path or project.stick,
            emit,
            secrets=secrets,
            prune=prune,
            replace=replace,
            label=label,
            acknowledged=acknowledged,
            bases=[find_base(word) for word in bases],
            whole=not delta_only,
            encrypt_to=encrypt_to,
        )
    click.echo(f"{written.stick}: {written.name} {written.version} (release {written.counter}), read back")
    click.echo(f"devices accept it until {clock.to_text(written.expires)}")
    if written.clear:
        click.echo(f"anybody who has the stick can read {', '.join(written.clear)}, which isn't encrypted")


@command.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option(
    "--trust", type=click.Path(path_type=Path), help="Root of trust, for a device that has none yet."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(path: Path, root: Path | None, trust: Path | None, as_json: bool) -> None:
    """Say whether this device would believe the stick at PATH; changes nothing.

    Checks signatures, expiry and age, and reads every file of its newest release.
    """
    import json

    from appliance.paths import Device
    from appliance.trust import clock, encryption_keys
    from appliance.update.fetching import is_for, way
    from appliance.update.stick import check as check_stick

    device = Device(root) if root else Device.default()
    report = check_stick(path, device, trust=trust, deep=True)
    verified = report.verified
    encrypted = ""
    if any(
        stored.sealed
        for target in report.files.values()
        for stored in (target, *(delta.stored for delta in target.deltas))
    ):
        key = encryption_keys.read(device)
        mine = all(is_for(target, key) for target in report.files.values())
        encrypted = "to this device" if mine else "to other devices: this one can't install it"
    facts = {
        "release": f"{report.name} {report.version}",
        "counter": report.counter,
        "digest": report.digest,
        "signed": clock.to_text(verified.issued),
        "expires": clock.to_text(verified.expires),
        "signers": list(verified.signers),
        "releases on it": [f"{offer.name} {offer.version}" for offer in report.offers],
        "size": sum(stored.bytes for target in report.files.values() for stored in target.on_stick),
        "encrypted": encrypted,
        "comes as": [way(device, name, target) for name, target in report.files.items() if target.deltas],
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for label, value in facts.items():
        if label in {"comes as", "encrypted"} and not value:
            continue
        click.echo(f"{label:<15} {', '.join(value) if isinstance(value, list) else value}")
    click.echo("the stick is good: signed by whom this device trusts, whole, and not too old")


@command.command()
@click.argument("path", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option(
    "--name",
    default="",
    help="What this device is called, when its key is made (default: the machine's name).",
)
def key(path: Path | None, root: Path | None, name: str) -> None:
    """Show this device's key for encrypted sticks, or write its public half into the folder PATH.

    The first time the key is made, and the device's log says so. It stays on the device; the public half goes to the
    workshop, on a stick or in any other way. Whoever enrols it there compares the fingerprint with what is shown here,
    by telephone or in person: somebody on the way may have put a key of their own in its place.
    """
    import os
    import re

    from appliance.paths import Device
    from appliance.trust import encryption_keys
    from appliance.update import device_keys

    device = Device(root) if root else Device.default()
    here = re.sub("[^A-Za-z0-9_-]", "-", os.uname().nodename).strip("-_")[:64] or "device"
    found = device_keys.make(device, name or here).receiver
    click.echo(f"{found.name}  {found.id}")
    click.echo(f"fingerprint: {found.fingerprint}")
    if path is not None:
        click.echo(f"{encryption_keys.write_public(found, path)}: take it to the workshop")


@command.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@project_option
@click.option("--yes", is_flag=True, help="The fingerprint has been compared; don't ask.")
def enrol(file: Path, folder: Path, yes: bool) -> None:
    """Take a device's public key, FILE, among those that sticks can be encrypted to (workshop).

    FILE is what `anchorhold stick key PATH` writes on the device. `stick write --encrypt-to NAME` names it then.
    """
    from appliance.errors import UsageError
    from appliance.paths import Project
    from appliance.trust import encryption_keys, keys

    project = Project.open(folder)
    keys.show(project.keys)
    found = encryption_keys.read_public(file)
    click.echo(f"{found.name}  {found.id}")
    click.echo(f"fingerprint: {found.fingerprint}")
    if not yes and not click.confirm("Is that what the device shows?"):
        raise UsageError(
            "not enrolled", "compare the fingerprint with what `anchorhold stick key` shows on the device"
        )
    click.echo(f"{encryption_keys.enrol(project.keys, found)}: enrolled")
