"""`anchorhold keys`."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.common import project_option

_EPILOG = """\b
Example:
  anchorhold keys init
  anchorhold keys show
  anchorhold keys export-root root.json      # bring this to each device once, with --trust
"""


@click.group("keys", epilog=_EPILOG)
def command() -> None:
    """Make and show the keys that sign releases.

    A publisher has four Ed25519 keys: root, which names the others and is used seldom, and targets, snapshot
    and timestamp, which sign each stick. Each is sealed by a passphrase. Devices trust root.json, which
    `export-root` writes; bring it to them by another way than the stick.
    """


@command.command()
@project_option
@click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file that holds the passphrase.",
)
def init(folder: Path, passphrase_file: Path | None) -> None:
    """Make the four keys of a project.

    The passphrase is asked for, or taken from --passphrase-file or ANCHORHOLD_PASSPHRASE. Keep copies of the
    keys folder; move root.key.json to a safe place afterwards, it isn't needed to write sticks.
    """
    from appliance.paths import Project
    from appliance.trust import keys

    project = Project.open(folder)
    passphrase = keys.passphrase_from(passphrase_file)
    if passphrase is None:
        passphrase = click.prompt("Passphrase for the new keys", hide_input=True, confirmation_prompt=True)
    keys.create(project.keys, passphrase)
    for info in keys.show(project.keys):
        click.echo(f"{info.role:<10} {info.keyid}")
    click.echo(f"in {project.keys}; a lost passphrase can't be replaced")


@command.command()
@project_option
def show(folder: Path) -> None:
    """Show each key's role, id and file; needs no passphrase."""
    from appliance.paths import Project
    from appliance.trust import keys

    for info in keys.show(Project.open(folder).keys):
        click.echo(f"{info.role:<10} {info.keyid}  {info.path}")


@command.command("export-root")
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@project_option
def export_root(output: Path, folder: Path) -> None:
    """Write the root of trust to OUTPUT, for `anchorhold install STICK --trust OUTPUT` on a new device."""
    from appliance import storage
    from appliance.paths import Project
    from appliance.trust import keys

    data = keys.root_bytes(Project.open(folder).keys)
    storage.write_bytes(output, data)
    click.echo(f"{output}  sha256 {storage.sha256_bytes(data)}")
