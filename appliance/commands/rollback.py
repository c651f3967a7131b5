"""`anchorhold rollback`."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Example:
  anchorhold rollback
"""


@click.command("rollback", epilog=_EPILOG)
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option("--rejected", is_flag=True, help="Go to a release that the device left by itself, too.")
def command(root: Path | None, rejected: bool) -> None:
    """Serve the release that was active before.

    The model is hashed first; a damaged one is not switched to. Doing it again returns to where you were. A release
    that hasn't proved itself yet goes on doing so. One that the device left by itself, since it didn't serve, is
    refused without --rejected; with it, it has three starts to prove itself in once more.
    """
    from appliance.paths import Device
    from appliance.update.install import roll_back

    release = roll_back(Device(root) if root else Device.default(), rejected=rejected)
    click.echo(f"{release.name} {release.version} is active")
