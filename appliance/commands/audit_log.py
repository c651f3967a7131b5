"""`anchorhold audit verify`: a device's audit log; the other verbs of `audit` are about the evaluation of a model."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command("verify")
@click.argument("path", required=False, type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option(
    "--registry", "folder", type=click.Path(file_okay=False, path_type=Path), help="The registry's folder."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(path: Path | None, root: Path | None, folder: Path | None, as_json: bool) -> None:
    """Check a device's audit log: no entry edited, cut out, cut off, put in twice, or of another device.

    PATH is a device's folder, a copy of its log/, a stick with receipts, or one receipt; by default this device. A
    receipt is compared with what this workshop knows of its device, so that a replay or a second history shows too.
    Names the entry at which it breaks. Exit code 0: it holds; 8: it doesn't; 2: there is no log.
    """
    from dataclasses import asdict

    from appliance.errors import ExitCode
    from appliance.fleet.verifying import look
    from appliance.paths import Device, registry_folder
    from appliance.visible import visible

    place = path or (Device(root) if root else Device.default()).root
    found = look(place, folder or registry_folder())
    if as_json:
        click.echo(json.dumps([asdict(each) for each in found], indent=2))
    else:
        for each in found:
            click.echo(
                f"{visible(each.where, 0)}: " + (f"{len(each.faults)} faults" if each.faults else "holds")
            )
            if each.last:
                click.echo(f"  device {each.device}, entries {each.first} to {each.last}, head {each.head}")
            for word, texts in (("fault", each.faults), ("note", each.notes)):
                for text in texts:
                    click.echo(f"  {word}: {visible(text, 0)}")
    if any(each.faults for each in found):
        raise SystemExit(int(ExitCode.TRUST))
