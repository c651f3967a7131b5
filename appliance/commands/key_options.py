"""What the verbs of `anchorhold keys` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from appliance.trust.pending import Change

ROLES = ["root", "targets", "snapshot", "timestamp", "model-signing"]


def passphrase_option(function: Any) -> Any:
    """`--passphrase-file`."""
    return click.option(
        "--passphrase-file",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A file that holds the passphrase.",
    )(function)


def public_option(function: Any) -> Any:
    """`--public`: somebody else's key."""
    return click.option(
        "--public",
        type=click.Path(dir_okay=False, path_type=Path),
        help="The .public.json of a key that somebody made elsewhere; by default one is made here.",
    )(function)


def threshold_option(function: Any) -> Any:
    """`--threshold`."""
    return click.option(
        "--threshold", type=click.IntRange(min=1), help="How many of the role's keys must sign from then on."
    )(function)


def name_option(function: Any) -> Any:
    """`--name`: who holds the key."""
    return click.option("--name", default="", help="Who holds the key; shown to everybody.")(function)


def asked(file: Path | None, prompt: str, *, confirm: bool = False) -> str:
    """The passphrase, of a file, the environment, or whoever sits there."""
    from appliance.trust import keys

    given = keys.passphrase_from(file)
    if given is not None:
        return given
    return str(click.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))


def tell(change: Change) -> None:
    """What a change came to; raises ThresholdError where signatures are missing."""
    from appliance.trust import ceremony

    if change.valid:
        click.echo(f"{change.request.name} is valid; the next `anchorhold stick write` carries it to devices")
        return
    ceremony.require(change.request)
    click.echo(f"{change.request.name} has all its signatures: `anchorhold stick write` publishes it")
