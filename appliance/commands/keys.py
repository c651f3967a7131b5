"""`anchorhold keys`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.commands import key_ceremony
from appliance.commands.common import project_option
from appliance.commands.key_options import (
    ROLES,
    name_option,
    public_option,
    secrets_options,
    tell,
    threshold_option,
)

if TYPE_CHECKING:
    from securesystemslib.signer import Key

    from appliance.paths import Project
    from appliance.trust.unlocking import Secrets

_EPILOG = """\b
Example:
  anchorhold keys init                       # 2 of 3 for root and targets; --single for a try
  anchorhold keys show
  anchorhold keys export-root root.json      # bring this to each device once, with --trust
\b
Several people, each with a machine and a keys folder of their own:
  anchorhold keys new my-keys --role root --name Ada     # each: bring the .public.json to the workshop
  anchorhold keys init --public ada.public.json --public bob.public.json
  anchorhold keys export to-sign.json                    # what waits for signatures
  anchorhold keys sign to-sign.json --keys my-keys       # each: shows what it is, and asks
  anchorhold keys import to-sign.json
\b
A key on a hardware token (PKCS#11), which signs without leaving it:
  export ANCHORHOLD_PKCS11_MODULE=/usr/lib/softhsm/libsofthsm2.so
  anchorhold keys tokens
  anchorhold keys new token-keys --role targets --token workshop
  anchorhold keys add targets --public token-keys/targets-3fa1b2c4.key.json
\b
A key that is lost, stolen, or old:
  anchorhold keys revoke 3fa1b2c4
  anchorhold keys rotate targets --key 3fa1b2c4
"""


class _Quorum(click.ParamType[Any]):
    name = "M/N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        parts = str(value).split("/")
        if len(parts) != 2 or not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} isn't like 2/3: two of three keys must sign", param, ctx)
        threshold, keys = int(parts[0]), int(parts[1])
        if not 1 <= threshold <= keys <= 32:
            self.fail(f"{value!r}: {threshold} of {keys} can't be", param, ctx)
        return threshold, keys


@click.group("keys", epilog=_EPILOG)
def command() -> None:
    """Make, show and change the keys that sign releases.

    The root key names all others and is used seldom; targets keys sign releases; snapshot and timestamp keys
    stay at the workshop and sign each stick; a P-256 key signs the model for others' tools (OMS). Root and targets
    can need several people. Each key is sealed by a passphrase. Devices trust root.json, which `export-root`
    writes; bring it to them by another way than the stick. Later roots reach them on the stick.
    """


for _verb in key_ceremony.VERBS:
    command.add_command(_verb)


@command.command()
@project_option
@click.option("--root", type=_Quorum(), help="How many of how many root keys must sign.  [default: 2/3]")
@click.option("--targets", type=_Quorum(), help="The same for targets keys.  [default: 2/3]")
@click.option("--single", is_flag=True, help="One root and one targets key: for a try, or one person alone.")
@click.option(
    "--public",
    "others",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The .public.json of a key made elsewhere, or the .key.json of one on a token here; it counts among "
    "its role's. May be given several times.",
)
@name_option
@click.option("--co-sign", is_flag=True, help="Root and targets also need an ML-DSA-65 (post-quantum) key.")
@secrets_options
def init(
    folder: Path,
    root: tuple[int, int] | None,
    targets: tuple[int, int] | None,
    single: bool,
    others: tuple[Path, ...],
    name: str,
    co_sign: bool,
    secrets: Secrets,
) -> None:
    """Make the keys of a project.

    By default two of three keys must sign for root and for targets: one lost key stops nothing, one stolen key
    signs nothing. Keys of people elsewhere and keys on hardware tokens are given with --public, the others are made
    here, sealed by a passphrase. Keep copies of the keys folder.
    """
    from appliance.errors import UsageError
    from appliance.paths import Project
    from appliance.trust import ceremony, key_files, keys, pending

    if single and (root or targets):
        raise UsageError("--single is --root 1/1 --targets 1/1", "leave one of them out")
    project = Project.open(folder)
    quorums = dict(keys.SINGLE if single else keys.OFFERED)
    for role, given in (("root", root), ("targets", targets)):
        if given:
            quorums[role] = keys.Quorum(*given)
    brought, tokens = [], []
    for path in others:
        role, key, info = key_files.read_brought(path)
        if info is None:
            brought.append((role, key))
        else:
            tokens.append(info)
    keys.create(
        project.keys, secrets, quorums=quorums, others=brought, tokens=tokens, name=name, co_sign=co_sign
    )
    for info in keys.show(project.keys):
        click.echo(f"{info.role:<13} {info.keyid}")
    click.echo(f"in {project.keys}; a lost passphrase or token can't be replaced, only its key")
    if any(quorum.threshold == 1 for quorum in quorums.values()):
        click.echo("one key is enough to sign: whoever steals it and its passphrase can sign releases")
    elif not brought and not tokens:
        click.echo(
            "all keys lie in this folder under one passphrase: that protects from loss, not from theft. "
            "Let others make theirs (`keys new`) and put them in place (`keys rotate`)"
        )
    waiting = pending.find(project.keys, "root")
    if waiting is not None:
        ceremony.require(waiting)


@command.command()
@project_option
def show(folder: Path) -> None:
    """Show the root's rules, which keys are here, and what waits for signatures; needs no passphrase."""
    from appliance.paths import Project
    from appliance.trust import clock, delegation, key_files, keys, pending, roots
    from appliance.update import sites

    place = Project.open(folder).keys
    here = {info.keyid: info for info in keys.show(place)}
    waiting = pending.waiting(place)
    first = next((request.metadata for request in waiting if request.metadata.signed.version == 1), None)
    if first is not None and not (place / keys.ROOT_FILE).exists():
        root = first.signed
    else:
        root = keys.newest(place)
        click.echo(f"root version {root.version}, valid until {clock.to_text(root.expires)}")
    rules = {role: (f"{root.roles[role].threshold} of {len(root.roles[role].keyids)}", root.roles[role].keyids)
             for role in roots.ROLES}  # fmt: skip
    models = roots.model_signing_keys(root)
    rules[roots.MODEL_SIGNING] = (f"1 of {len(models)}", list(models))
    known = {**root.keys, **models}
    for site, who in sites.read(place).items():
        rules[delegation.role_of(site)] = (
            f"{who.threshold} of {len(who.keys)}",
            [key.keyid for key in who.keys],
        )
        known.update({key.keyid: key for key in who.keys})
    for role, (rule, keyids) in rules.items():
        click.echo(f"{role:<13} {rule} must sign")
        for keyid in keyids:
            info = here.pop(keyid, None)
            where = "elsewhere" if info is None else str(info.path)
            if info is not None and info.token is not None:
                where += f", on the token {info.token.label} ({info.token.serial}), key {info.token.id}"
            click.echo(f"  {keyid}  {key_files.holder(known[keyid]):<12} {where}")
    for info in here.values():
        click.echo(f"nothing names this key: {info.role} {info.keyid}  {info.path}")
    for request in waiting:
        click.echo(f"waits for signatures: {request.name}")
        for shortfall in request.shortfalls():
            click.echo(f"  {shortfall}")


def _brought(
    project: Project, secrets: Secrets, role: str, name: str, public: Path | None
) -> tuple[str, Key]:
    """A key to be added: of a file from elsewhere or of a token, or made here."""
    from appliance.errors import UsageError
    from appliance.trust import key_files, pending

    pending.check_none_waits(project.keys)  # before a key is made for nothing
    if public is None:
        return role, pending.new_key(project.keys, secrets, role, name=name)[1]
    theirs, key, info = key_files.read_brought(public)
    if theirs != role:
        raise UsageError(f"{public}: a key for {theirs}, not for {role}", "it was made for one role")
    if info is not None:
        key_files.adopt(project.keys, info)
    return role, key


def _thresholds(role: str, threshold: int | None) -> dict[str, int]:
    from appliance.errors import UsageError

    if threshold is not None and role == "model-signing":
        raise UsageError("model-signing has no threshold", "leave --threshold out")
    return {} if threshold is None else {role: threshold}


@command.command()
@click.argument("role", type=click.Choice(ROLES))
@click.option(
    "--key", "keyid", help="The beginning of the id of the key to replace; needed if there are several."
)
@public_option
@name_option
@threshold_option
@project_option
@secrets_options
def rotate(
    role: str,
    keyid: str | None,
    public: Path | None,
    name: str,
    threshold: int | None,
    folder: Path,
    secrets: Secrets,
) -> None:
    """Replace a key of ROLE by a new one, in a new version of the root.

    The new root needs the signatures of both the old root's keys and its own. Devices follow it from the next
    stick, however many versions behind they are.
    """
    from appliance.errors import UsageError
    from appliance.paths import Project
    from appliance.trust import keys, pending, roots

    project = Project.open(folder)
    root = keys.newest(project.keys)
    present = list(roots.model_signing_keys(root) if role == "model-signing" else root.roles[role].keyids)
    if keyid is None and len(present) > 1:
        raise UsageError(f"{role} has {len(present)} keys", "say with --key which one is replaced")
    former = [roots.resolve(root, keyid)] if keyid else present
    if not set(former) <= set(present):
        raise UsageError(f"{keyid}: not a key of {role}", "`anchorhold keys show` lists them")
    thresholds = _thresholds(role, threshold)
    added = _brought(project, secrets, role, name, public)
    tell(pending.change_root(project.keys, secrets, add=[added], remove=former, thresholds=thresholds))


@command.command()
@click.argument("role", type=click.Choice(ROLES))
@public_option
@name_option
@threshold_option
@project_option
@secrets_options
def add(
    role: str,
    public: Path | None,
    name: str,
    threshold: int | None,
    folder: Path,
    secrets: Secrets,
) -> None:
    """Add a key to ROLE, in a new version of the root."""
    from appliance.paths import Project
    from appliance.trust import pending

    project = Project.open(folder)
    thresholds = _thresholds(role, threshold)
    added = _brought(project, secrets, role, name, public)
    tell(pending.change_root(project.keys, secrets, add=[added], thresholds=thresholds))


@command.command()
@click.argument("keyid")
@click.option("--threshold", type=click.IntRange(min=1), help="How many of the keys left must sign.")
@project_option
@secrets_options
def revoke(keyid: str, threshold: int | None, folder: Path, secrets: Secrets) -> None:
    """Take the key whose id begins with KEYID out of the root.

    A device that has seen the new root refuses what only that key signed. A device that hasn't can still be
    deceived by it: bring a new stick to all of them.
    """
    from appliance.paths import Project
    from appliance.trust import keys, pending, roots

    project = Project.open(folder)
    root = keys.newest(project.keys)
    full = roots.resolve(root, keyid)
    roles = [role for role in roots.ROLES if full in root.roles[role].keyids]
    thresholds = {} if threshold is None else dict.fromkeys(roles, threshold)
    tell(pending.change_root(project.keys, secrets, remove=[full], thresholds=thresholds))


@command.command()
@click.argument("name")
@click.option(
    "--public",
    "others",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The .public.json of a key that may sign for the site. May be given several times.",
)
@click.option("--threshold", type=click.IntRange(min=1), default=1, help="How many of them must sign.")
@click.option("--withdraw", is_flag=True, help="Let nobody but the targets keys sign for the site.")
@project_option
def site(name: str, others: tuple[Path, ...], threshold: int, withdraw: bool, folder: Path) -> None:
    """Say who may sign releases for the site NAME, and for no other.

    Such a release is called `NAME.something` (`name` in anchorhold.toml). Keys are made with `keys new --site NAME`.
    The next stick that the targets keys sign says so to devices.
    """
    from appliance.errors import UsageError
    from appliance.paths import Project
    from appliance.trust import delegation, key_files
    from appliance.update import sites

    if bool(others) == withdraw:
        raise UsageError("who may sign?", "give --public, or --withdraw")
    place, role = Project.open(folder).keys, delegation.role_of(name)
    brought = [key_files.read_public(path) for path in others]
    for path, (theirs, _) in zip(others, brought, strict=True):
        if theirs != role:
            raise UsageError(f"{path}: a key for {theirs}, not for {role}", "it was made for one role")
    known = sites.read(place)
    known.pop(name, None)
    if brought:
        known[name] = sites.Site(threshold, tuple(key for _, key in brought))
    sites.write(place, known)
    click.echo(
        f"{name}: {threshold} of {len(brought)} keys sign" if brought else f"{name}: no keys of its own"
    )


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
