"""`anchorhold receipts`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from appliance.fleet.strangers import Stranger
    from appliance.paths import Device

_EPILOG = """\b
Example:
  anchorhold receipts identity            # on the device: its id and key, to be listed in the workshop
  anchorhold receipts write /media/usb    # on the device: an install does it by itself
  anchorhold receipts import /media/usb   # in the workshop
  anchorhold receipts import /media/usb --enrol 3f9c02d1   # with a device that is new here
"""
_root_option = click.option(
    "--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder."
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("receipts", epilog=_EPILOG)
def command() -> None:
    """What devices say of themselves: written onto sticks there, taken from them in the workshop.

    A receipt is signed by the device's own key. It names the releases that lie there and brings the entries of the
    audit log that the workshop doesn't have.
    """


def _device(root: Path | None) -> Device:
    from appliance.errors import UsageError
    from appliance.paths import Device

    device = Device(root) if root else Device.default()
    if device.absent:
        raise UsageError("this machine is no device", "name the device's folder with --root")
    return device


@command.command()
@_root_option
@_json_option
def identity(root: Path | None, as_json: bool) -> None:
    """Print this device's id, its public key and the key's fingerprint; they are made if there are none yet."""
    from appliance.update import audit

    found = audit.identity(_device(root))
    facts = {"device": found.device, "key": found.public, "fingerprint": found.fingerprint}
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name:<12} {value}")


@command.command()
@click.argument("stick", type=click.Path(path_type=Path, file_okay=False))
@_root_option
def write(stick: Path, root: Path | None) -> None:
    """Write this device's receipt onto STICK; an install from a stick that is believed does it by itself.

    What the stick acknowledges is taken first, if the stick is believed. One that isn't gets the receipt all the same,
    for you have asked for it. Ends with exit code 11 where it can't be written.
    """
    from appliance.errors import AnchorholdError, as_product_error
    from appliance.progress import terminal_progress
    from appliance.update import acknowledging, receipts
    from appliance.update.stick import check

    device = _device(root)
    with terminal_progress() as emit:
        try:
            acknowledging.take(check(stick, device), device, emit)
        except (AnchorholdError, OSError) as error:
            click.echo(f"the stick acknowledges nothing: {as_product_error(error).message}", err=True)
    made = receipts.make(device)
    receipts.put(stick, receipts.file_name(made.device), made.data)
    click.echo(f"{stick / receipts.FOLDER / receipts.file_name(made.device)}: {receipts.told(made)}")


def _chosen(
    path: Path, registry: Path, words: tuple[str, ...], *, enrol_all: bool, ask: bool
) -> list[Stranger]:
    """The unknown devices that are to be enrolled: named, all, or as a person at a terminal says."""
    from appliance.fleet import strangers
    from appliance.visible import visible

    if enrol_all:
        return strangers.look(path, registry)
    if words:
        return strangers.choose(words, strangers.look(path, registry), registry)
    if not ask or not sys.stdin.isatty():
        return []
    found = []
    for each in strangers.look(path, registry):
        if each.listed:
            continue
        called = f" (it calls itself {visible(each.machine, 60)})" if each.machine else ""
        click.echo(f"unknown device {each.device}{called}", err=True)
        click.echo(f"its key has the fingerprint {each.fingerprint}", err=True)
        if click.confirm("Is that what `anchorhold receipts identity` prints on it?", err=True):
            found.append(each)
    return found


@command.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--enrol",
    "words",
    metavar="DEVICE",
    multiple=True,
    help="Take this unknown device by the key that it brings: its id, the beginning of it, or its key's fingerprint.",
)
@click.option("--enrol-all", is_flag=True, help="Take every unknown device there, unseen.")
@click.option(
    "--registry", "folder", type=click.Path(file_okay=False, path_type=Path), help="The registry's folder."
)
@_json_option
def take(path: Path, words: tuple[str, ...], enrol_all: bool, folder: Path | None, as_json: bool) -> None:
    """Take the receipts from PATH: a stick, a folder of receipts, or one receipt.

    Checked before anything is kept: the device's signature, by the key that is enrolled; that its log goes on from
    what is known, with nothing edited, cut out or told otherwise than before. Each receipt by itself; exit code 8 if
    one was refused. The next `anchorhold stick write` acknowledges what was taken.

    A device that isn't known is shown with its key's fingerprint. Compare that with what `anchorhold receipts identity`
    prints on the device; then name it with --enrol (several times for several), or say yes where you are asked. A whole
    fingerprint in place of the id takes that key and no other.
    """
    from dataclasses import asdict

    from appliance.errors import ExitCode
    from appliance.fleet.strangers import believed
    from appliance.fleet.taking import take_all
    from appliance.fleet.telling import taken_line
    from appliance.paths import registry_folder
    from appliance.progress import terminal_progress
    from appliance.visible import visible

    registry = folder or registry_folder()
    enrol = believed(_chosen(path, registry, words, enrol_all=enrol_all, ask=not as_json))
    with terminal_progress() as emit:
        found = take_all(path, registry, emit, enrol=enrol)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            click.echo(taken_line(each))
            if each.hint:
                click.echo(f"  {visible(each.hint, 0)}")
        if not found:
            click.echo(f"{path}: no receipts there")
    if any(each.outcome == "refused" for each in found):
        raise SystemExit(int(ExitCode.TRUST))
