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
def command(root: Path | None) -> None:
    """Serve the release that was active before.

    The model is hashed first; a damaged one is not switched to. Doing it again returns to where you were.
    """
    from appliance.paths import Device
    from appliance.update.install import roll_back

    release = roll_back(Device(root) if root else Device.default())
    click.echo(f"{release.name} {release.version} is active")
