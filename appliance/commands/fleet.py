"""`anchorhold fleet`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from appliance.fleet.devices import Devices

_EPILOG = """\b
Example:
  anchorhold fleet
  anchorhold fleet show station-7
  anchorhold fleet enrol DEVICE KEY --name station-7    # both as `anchorhold receipts identity` prints them there
"""
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("fleet", invoke_without_command=True, epilog=_EPILOG)
@click.option(
    "--registry", "folder", type=click.Path(file_okay=False, path_type=Path), help="The registry's folder."
)
@_json_option
@click.pass_context
def command(ctx: click.Context, folder: Path | None, as_json: bool) -> None:
    """List the devices that the workshop knows by their receipts: what runs there, and since when nothing was heard.

    Shows for each the active release, when it was last seen by its own clock, number and digest of the last entry of
    its log, and how many alarms and refusals came with its last receipt.
    """
    ctx.obj = folder
    if ctx.invoked_subcommand is not None:
        return
    from appliance.errors import TrustError
    from appliance.fleet.telling import facts, summarise, table
    from appliance.visible import visible

    store, found = _store(ctx), []
    for known in store.all():
        with contextlib.suppress(TrustError):  # told below, by itself
            found.append(summarise(known, store.entries(known), store.refusals(known.device)))
    for problem in store.problems():
        click.echo(f"warning: {visible(problem, 0)}", err=True)
    if as_json:
        _print_json([facts(each) for each in found])
    elif found:
        click.echo("\n".join(table(found)))
    else:
        click.echo(
            "no devices are known; `anchorhold receipts import STICK` shows those on a stick", err=True
        )


def _store(ctx: click.Context) -> Devices:
    from appliance.fleet.devices import Devices
    from appliance.paths import registry_folder

    return Devices(ctx.obj or registry_folder())


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2))  # ASCII: what devices wrote stays escaped


@command.command()
@click.argument("device")
@click.option("--last", type=click.IntRange(1), default=40, show_default=True, help="Show so many entries.")
@click.option("--all", "everything", is_flag=True, help="Show every entry.")
@_json_option
@click.pass_context
def show(ctx: click.Context, device: str, last: int, everything: bool, as_json: bool) -> None:
    """Show DEVICE (its name, or the beginning of its id) with its history; `!` marks alarms, `x` refusals."""
    from appliance.fleet.telling import facts, history, summarise

    store = _store(ctx)
    known = store.find(device)
    entries, refused = store.entries(known), store.refusals(known.device)
    summary = summarise(known, entries, refused)
    if as_json:
        lines = [json.loads(entry.line) for entry in entries]
        _print_json(
            {
                **facts(summary),
                "statement": dict(known.statement),
                "refused_receipts": refused,
                "entries": lines if everything else lines[-last:],
            }
        )
        return
    click.echo("\n".join(history(summary, entries, refused, 0 if everything else last)))


@command.command()
@click.argument("device")
@click.argument("key")
@click.option("--name", default="", help="What to call it.")
@click.option("--replace", "replace_key", is_flag=True, help="Take a new key; what was known is put aside.")
@click.pass_context
def enrol(ctx: click.Context, device: str, key: str, name: str, replace_key: bool) -> None:
    """List DEVICE by its id and public KEY, as `anchorhold receipts identity` prints them on the device.

    Bring both by another way than the stick. With a name alone changed, nothing else is.
    """
    from appliance.trust.device_identity import fingerprint
    from appliance.visible import visible

    store = _store(ctx)
    if not name.isprintable() or len(name) > 64:
        raise click.UsageError("a device's name has up to 64 plain characters")
    with store.writing():
        known = store.enrol(device.lower(), key.lower(), name, "listed", replace_key=replace_key)
    click.echo(f"{visible(known.title)}: enrolled, key {fingerprint(known.key)}")
