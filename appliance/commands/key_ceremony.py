"""Verbs of `anchorhold keys` for people who sign on machines of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option
from appliance.commands.key_options import (
    ROLES,
    module_option,
    name_option,
    pin_option,
    secrets_options,
    tell,
    token_secrets,
)

if TYPE_CHECKING:
    from appliance.trust.unlocking import Secrets


@click.command()
@click.argument("keys_folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--role",
    type=click.Choice(ROLES),
    help="What it will sign: root or targets, or with --token whichever.",
)
@click.option("--site", help="Instead of --role: the site whose releases it will sign.")
@click.option(
    "--type",
    "kind",
    type=click.Choice(["ed25519", "p256", "ml-dsa-65"]),
    help="By default ed25519, on a token p256, which every token can.",
)
@click.option("--token", help="Make the key on this hardware token, given by its label or serial number.")
@click.option("--key", "key_id", metavar="ID", help="Take the key of this id, which is on the token already.")
@name_option
@secrets_options
def new(
    keys_folder: Path,
    role: str | None,
    site: str | None,
    kind: str | None,
    token: str | None,
    key_id: str | None,
    name: str,
    secrets: Secrets,
) -> None:
    """Make one key in FOLDER, on the machine of whoever will hold it.

    Nothing trusts it yet: bring the .public.json to the workshop, where `keys init`, `keys add` or `keys site` takes it
    with --public. The key itself never leaves FOLDER.

    With --token it never leaves the token: FOLDER gets a .key.json that says where it is, with which all that signs
    asks for the token's PIN. Where the token is at the workshop itself, that file is what --public takes.
    """
    from appliance.errors import UsageError
    from appliance.trust import delegation, hardware_tokens, key_files, pending

    if (role is None) == (site is None):
        raise UsageError("what will the key sign?", "give --role or --site")
    if token is None and key_id is not None:
        raise UsageError("--key is of a token", "give --token too")
    if token is None and (role not in {None, "root", "targets"} or kind == "p256"):
        raise UsageError(
            f"{kind if kind == 'p256' else role}: only for a key on a token", "give --token, or leave it out"
        )
    if token is not None and (kind == "ml-dsa-65" or (key_id is not None and kind is not None)):
        raise UsageError(f"--type {kind} doesn't go with this token's key", "leave --type out")
    role = role or delegation.role_of(site or "")
    if token is None:
        info, key = pending.new_key(keys_folder, secrets, role, name=name, kind=kind or "")
    else:
        found = hardware_tokens.find(secrets.module, token)
        info = pending.new_token_key(
            keys_folder, secrets, role, found, key_id=key_id or "", name=name, kind=kind or ""
        )
        key = info.public_key
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
@secrets_options
def sign(
    file: Path,
    keys_folder: Path | None,
    output: Path | None,
    yes: bool,
    folder: Path,
    secrets: Secrets,
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
    request, signed = pending.sign_with_folder(request, place, secrets)
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


@click.command()
@click.option(
    "--login", is_flag=True, help="Use the PIN: some tokens show their keys only then, and which can sign."
)
@click.option("--token", help="Only the one of this label or serial number.")
@pin_option
@module_option
def tokens(login: bool, token: str | None, pin_files: tuple[str, ...], module: Path | None) -> None:
    """Show the hardware tokens that are plugged in, and the keys on them that can sign.

    They are reached through the PKCS#11 library of their maker, which --module or ANCHORHOLD_PKCS11_MODULE names.
    """
    from appliance.trust import hardware_tokens

    secrets = token_secrets(pin_files, module)
    place = secrets.module
    found = hardware_tokens.tokens(place) if token is None else [hardware_tokens.find(place, token)]
    for each in found:
        click.echo(f"{each.label}  serial {each.serial}  {each.model}")
        pin = secrets.pin(each.label, each.serial, alone=each.alone) if login else None
        for key in hardware_tokens.keys(each, pin):
            able = "" if key.public is not None and key.signs is not False else "  can't sign here"
            keyid = f"  {key.public.keyid[:8]}" if key.public is not None else ""
            click.echo(f"  {key.id}  {key.kind:<8}{keyid}  {key.label}{able}".rstrip())
    if not found:
        click.echo("no token is there")


VERBS = (new, tokens, export, sign, import_, drop)
