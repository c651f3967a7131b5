"""`anchorhold drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_EPILOG = """\b
Examples:
  anchorhold drift
  anchorhold drift --json
  anchorhold drift --reset
  anchorhold drift --reset --keep-baseline
"""


def _told(root: Path | None) -> dict[str, Any]:
    from appliance.errors import ServingError, UsageError
    from appliance.paths import Device
    from appliance.serving.gateway_client import GatewayClient
    from appliance.watch import state_file, telling

    device = Device(root) if root else Device.default()
    try:
        with GatewayClient(device.gateway_socket, timeout=3.0) as client:
            return client.drift()
    except ServingError as silent:
        # What the last gateway has left; only its owner may read it.
        try:
            monitor = state_file.read(device)
        except ValueError as error:
            raise UsageError(
                f"{state_file.path(device)}: damaged ({error})",
                "start the gateway: it puts the file aside and begins anew",
            ) from error
        if monitor is None:
            raise silent
        return {**telling.summary(monitor), "problem": f"as of the last save: {silent.message}"}


def _reset(root: Path | None, keep_baseline: bool) -> None:
    from appliance.errors import UsageError
    from appliance.paths import Device
    from appliance.watch import state_file

    device = Device(root) if root else Device.default()
    if not state_file.path(device).exists():
        raise UsageError(f"{device.root}: nothing has been watched here yet", "`anchorhold serve` watches")
    state_file.ask_reset(device, keep_baseline)
    usual = "is kept" if keep_baseline else "is learnt from the next requests"
    click.echo(
        f"alarms are cleared within a second while the gateway runs, else when it starts; what is usual {usual}"
    )


@click.command("drift", epilog=_EPILOG)
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--reset", is_flag=True, help="Clear the alarms, the red team's too; what is asked from now on is usual."
)
@click.option(
    "--keep-baseline", is_flag=True, help="With --reset: what was usual stays so; the cause has been mended."
)
def command(root: Path | None, as_json: bool, reset: bool, keep_baseline: bool) -> None:
    """How far what is asked and answered is from the usual, and since when.

    Of each request a few numbers are watched, never its text: length, words that the training prompts don't
    have, answers that refuse, that don't fit the schema or are cut, and how sure the model was. Each is shown with
    its usual mean, its newest one, the evidence for a change (full: an alarm) and its course. All together alarm
    falsely at most once in 7,000 requests in the mean.
    """
    from appliance.errors import UsageError

    if keep_baseline and not reset:
        raise UsageError("--keep-baseline goes with --reset", "`anchorhold drift --reset --keep-baseline`")
    if reset:
        _reset(root, keep_baseline)
        return
    told = _told(root)
    if as_json:
        import json

        click.echo(json.dumps(told, indent=2))
        return
    from appliance.watch.telling import lines

    for line in lines(told):
        click.echo(line)
    if told.get("problem"):
        click.echo(f"\nproblem   {told['problem']}")
