"""`anchorhold corrections`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from appliance.errors import DataError, UsageError
from appliance.paths import Device

_EPILOG = """\b
Examples:
  anchorhold corrections list
  anchorhold corrections export /media/stick/corrections.jsonl
  anchorhold corrections clear --yes
"""
_root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="The device's folder (default: $ANCHORHOLD_ROOT or /var/lib/anchorhold).",
)


@click.group("corrections", epilog=_EPILOG)
def command() -> None:
    """Show and export what operators said of answers.

    In the terminal UI Ctrl+T keeps the last answer as good, Ctrl+O as wrong, with what it should have been. They lie
    in the device's folder, readable by its owner alone, and leave it only as the file that `export` writes.
    """


def _device(root: Path | None) -> Device:
    return Device(root.resolve()) if root else Device.default()


@command.command("list")
@_root
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines.")
def list_command(root: Path | None, as_json: bool) -> None:
    """Show the last verdict on each answer."""
    from dataclasses import asdict

    from appliance.visible import visible
    from appliance.watch import corrections

    found, faults = corrections.read(_device(root).corrections)
    for fault in faults:
        click.echo(f"warning: {fault}", err=True)
    for each in corrections.newest(found):
        if as_json:
            click.echo(json.dumps(asdict(each), ensure_ascii=False))
            continue
        click.echo(f"{each.time}  {each.verdict:<5}  {visible(each.release, 40)}")
        click.echo(f"  asked     {visible(each.question, 200)}")
        click.echo(f"  answered  {visible(each.answer, 200)}")
        if each.better:
            click.echo(f"  better    {visible(each.better, 200)}")
    if not found and not as_json:
        click.echo("none yet")


@command.command("export")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@_root
@click.option("--force", is_flag=True, help="Replace OUTPUT.")
def export_command(output: Path, root: Path | None, force: bool) -> None:
    """Write them as rows that `anchorhold retrain` takes: conversations, and pairs of a better and a worse answer.

    They hold what people typed. The workshop's `[dataset.redact]` works on them as on all rows.
    """
    from appliance import storage
    from appliance.watch import corrections

    found, faults = corrections.read(_device(root).corrections)
    for fault in faults:
        click.echo(f"warning: {fault}", err=True)
    rows = list(corrections.rows(found))
    if not rows:
        raise DataError("nothing to learn from yet", "a verdict needs to be good, or to say what is better")
    if output.exists() and not force:
        raise UsageError(f"{output}: exists", "name another file, or --force")
    storage.write_bytes(output, b"".join(map(storage.json_line, rows)), mode=0o600)
    silent = len(corrections.newest(found)) - len(rows)
    note = f"; {silent} say only that an answer is wrong" if silent else ""
    click.echo(f"{output}: {len(rows)} rows{note}")


@command.command("clear")
@_root
@click.option("--yes", is_flag=True, help="Do it.")
def clear_command(root: Path | None, yes: bool) -> None:
    """Forget them all, after they were exported."""
    from appliance.watch import corrections

    path = _device(root).corrections
    found, _ = corrections.read(path)
    if not yes:
        raise UsageError(f"{len(found)} verdicts would be forgotten", "say --yes to do it")
    path.unlink(missing_ok=True)
    click.echo(f"{len(found)} verdicts forgotten")
