"""What the verbs of `anchorhold keys` share."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from appliance.trust.pending import Change
    from appliance.trust.unlocking import Secrets

ROLES = ["root", "targets", "snapshot", "timestamp", "model-signing"]


def module_option(function: Any) -> Any:
    """`--module`: the PKCS#11 library."""
    return click.option(
        "--module",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The PKCS#11 library of a hardware token.  [default: $ANCHORHOLD_PKCS11_MODULE]",
    )(function)


def _ask(prompt: str, *, confirm: bool = False) -> str:
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


def pin_option(function: Any) -> Any:
    """`--pin-file`."""
    return click.option(
        "--pin-file",
        "pin_files",
        multiple=True,
        metavar="[TOKEN=]FILE",
        help="A file that holds the PIN of a hardware token, given by its label or serial number if there are several.",
    )(function)


def secrets_options(function: Any) -> Any:
    """`--passphrase-file`, `--pin-file` and `--module`; the function gets them as one: `secrets`.

    Nothing is asked for before it is needed.
    """

    @functools.wraps(function)
    def with_secrets(
        *args: Any,
        passphrase_file: Path | None,
        pin_files: tuple[str, ...],
        module: Path | None,
        **given: Any,
    ) -> Any:
        from appliance.trust.unlocking import Secrets

        secrets = Secrets(passphrase_file=passphrase_file, pin_files=pin_files, module=module, ask=_ask)
        return function(*args, secrets=secrets, **given)

    passphrase = click.option(
        "--passphrase-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A file that holds the keys' passphrase.  [default: $ANCHORHOLD_PASSPHRASE, else it is asked for]",
    )
    return passphrase(pin_option(module_option(with_secrets)))


def token_secrets(pin_files: tuple[str, ...], module: Path | None) -> Secrets:
    """What opens tokens alone."""
    from appliance.trust.unlocking import Secrets

    return Secrets(pin_files=pin_files, module=module, ask=_ask)


def public_option(function: Any) -> Any:
    """`--public`: somebody else's key."""
    return click.option(
        "--public",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The .public.json of a key made elsewhere, or the .key.json of a token's; by default one is made here.",
    )(function)


def threshold_option(function: Any) -> Any:
    """`--threshold`."""
    return click.option(
        "--threshold", type=click.IntRange(min=1), help="How many of the role's keys must sign from then on."
    )(function)


def name_option(function: Any) -> Any:
    """`--name`: who holds the key."""
    return click.option("--name", default="", help="Who holds the key; shown to everybody.")(function)


def tell(change: Change) -> None:
    """What a change came to; raises ThresholdError where signatures are missing."""
    from appliance.trust import ceremony

    if change.valid:
        click.echo(f"{change.request.name} is valid; the next `anchorhold stick write` carries it to devices")
        return
    ceremony.require(change.request)
    click.echo(f"{change.request.name} has all its signatures: `anchorhold stick write` publishes it")
