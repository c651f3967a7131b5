"""`anchorhold install`."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Example:
  anchorhold install /media/usb --trust root.json    # a new device, once
  anchorhold install /media/usb
"""


@click.command("install", epilog=_EPILOG)
@click.argument("stick", type=click.Path(path_type=Path))
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option(
    "--trust", type=click.Path(path_type=Path), help="Root of trust, for a device that has none yet."
)
@click.option("--release", "version", help="Install this version instead of the stick's newest.")
@click.option(
    "--site",
    metavar="NAME",
    help="The site that this device belongs to: releases that the site's own keys sign are taken too. Kept.",
)
@click.option("--no-site", is_flag=True, help="The device belongs to no site any more.")
@click.option(
    "--read-again", is_flag=True, help="Read what is installed already, even if nothing has touched it since."
)
@click.option(
    "--despite-expiry",
    metavar="REASON",
    default="",
    help="Take a stick that is past its date; the reason goes to the audit log.",
)
def command(
    stick: Path,
    root: Path | None,
    trust: Path | None,
    version: str | None,
    site: str | None,
    no_site: bool,
    read_again: bool,
    despite_expiry: str,
) -> None:
    """Verify a stick and install its release on this device.

    Signatures, expiry and age are checked first, every byte while it is copied; then the model is loaded
    once and asked the release's golden prompts; then the device switches to it in one step. Whatever fails,
    the release that was active stays so. A gateway that runs changes over by itself.

    --despite-expiry breaks the glass where no fresh stick can be had: signatures are checked as ever, and a
    stick older than what was installed here stays refused.
    """
    from appliance.errors import UsageError
    from appliance.paths import Device
    from appliance.progress import terminal_progress
    from appliance.update.install import install

    if site and no_site:
        raise UsageError("--site and --no-site exclude each other", "give one of them")
    device = Device(root) if root else Device.default()
    with terminal_progress() as emit:
        release = install(
            stick,
            device,
            emit,
            trust=trust,
            version=version,
            despite_expiry=despite_expiry.strip(),
            site="" if no_site else site,
            read_again=read_again,
        )
    click.echo(f"{release.name} {release.version} is active")
