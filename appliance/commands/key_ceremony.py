"""Verbs of `anchorhold keys` for people who sign on machines of their own."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.common import project_option
from appliance.commands.key_options import asked, name_option, passphrase_option, tell


@click.command()
@click.argument("keys_folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option("--role", type=click.Choice(["root", "targets"]), help="What it will sign.")
@click.option("--site", help="Instead of --role: the site whose releases it will sign.")
@click.option("--type", "kind", type=click.Choice(["ed25519", "ml-dsa-65"]), help="By default ed25519.")
@name_option
@passphrase_option
def new(
    keys_folder: Path,
    role: str | None,
    site: str | None,
    kind: str | None,
    name: str,
    passphrase_file: Path | None,
) -> None:
    """Make one key in FOLDER, on the machine of whoever will hold it.

    Nothing trusts it yet: bring the .public.json to the workshop, where `keys init`, `keys add` or `keys site` takes it
    with --public. The key itself never leaves FOLDER.
    """
    from appliance.errors import UsageError
    from appliance.trust import delegation, key_files, pending

    if (role is None) == (site is None):
        raise UsageError("what will the key sign?", "give --role or --site")
    role = role or delegation.role_of(site or "")
    passphrase = asked(passphrase_file, "Passphrase of the new key", confirm=not key_files.find(keys_folder))
    info, key = pending.new_key(keys_folder, passphrase, role, name=name, kind=kind or "")
    path = key_files.write_public(info, key)
    click.echo(f"{info.role:<13} {info.keyid}  {info.path}")
    click.echo(f"bring {path} to the workshop")


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--role", help="Whose, if several wait.")
@project_option
def export(output: Path, role: str | None, folder: Path) -> None:
    """Write what waits for signatures to OUTPUT, a small file for those who must sign."""
    from appliance import storage
    from appliance.paths import Project
    from appliance.trust import ceremony, pending

    request = pending.choose(Project.open(folder).keys, role)
    storage.write_bytes(output, ceremony.to_bytes(request))
    click.echo(f"{output}: {request.name}")
    click.echo(f"sha256 of what is signed: {request.digest}; compare it by voice")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--keys", "keys_folder", type=click.Path(file_okay=False, path_type=Path), help="Your keys folder."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Another file than FILE itself."
)
@click.option("--yes", is_flag=True, help="Don't ask; for scripts.")
@project_option
@passphrase_option
def sign(
    file: Path,
    keys_folder: Path | None,
    output: Path | None,
    yes: bool,
    folder: Path,
    passphrase_file: Path | None,
) -> None:
    """Show what is in FILE and sign it with the keys of this machine.

    FILE is what `keys export` wrote. What is shown is made from the very bytes that are signed. The signature goes into
    FILE; bring it back to the workshop, for `keys import`. Needs no project if --keys is given.
    """
    from appliance import storage
    from appliance.paths import Project
    from appliance.trust import ceremony, pending

    request = pending.read_file(file)
    for line in ceremony.describe(request):
        click.echo(line)
    if not yes:
        click.confirm("Sign this?", abort=True)
    place = keys_folder or Project.open(folder).keys
    passphrase = asked(passphrase_file, "Passphrase of your key")
    request, signed = pending.sign_with_folder(request, place, passphrase)
    storage.write_bytes(output or file, ceremony.to_bytes(request))
    click.echo(f"signed by {', '.join(signed)}; bring {output or file} back to the workshop")


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@project_option
def import_(files: tuple[Path, ...], folder: Path) -> None:
    """Take the signatures in FILES for what waits.

    A root that has all of them is valid at once. Targets that have all of them are published by the next `stick write`.
    """
    from appliance.paths import Project
    from appliance.trust import pending

    tell(pending.import_signatures(Project.open(folder).keys, files))


@click.command()
@click.option("--role", help="Whose, if several wait.")
@project_option
def drop(role: str | None, folder: Path) -> None:
    """Give up what waits for signatures."""
    from appliance.paths import Project
    from appliance.trust import pending

    place = Project.open(folder).keys
    request = pending.choose(place, role)
    pending.drop(place, request.role)
    click.echo(f"{request.name} no longer waits")


VERBS = (new, export, sign, import_, drop)
