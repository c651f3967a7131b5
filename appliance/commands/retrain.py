"""`anchorhold retrain`: the next round."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.common import project_option, stage_events

_EPILOG = """\b
Examples:
  anchorhold retrain /media/stick/corrections.jsonl
  anchorhold retrain corrections.jsonl --drift /media/stick/drift.json
  anchorhold retrain corrections.jsonl redteam.jsonl --run
"""


@click.command("retrain", epilog=_EPILOG)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, dir_okay=False))
@project_option
@click.option(
    "--drift",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What `anchorhold drift --json` printed on a device: why a round, and which rows would answer it.",
)
@click.option("--run", is_flag=True, help="Take the rows, raise the version, and walk to the release.")
@click.option(
    "--yes", is_flag=True, help="Train even if it takes more than a day, or more memory than is free."
)
def command(files: tuple[Path, ...], folder: Path, drift: Path | None, run: bool, yes: bool) -> None:
    """Propose the next round from corrections and failures, and run it when told.

    FILES are what `anchorhold corrections export` and `anchorhold redteam rows` wrote on a device (or any rows). Shown
    is what would be learnt: rows that are learnt already and questions of the test split are left out. With --run
    they go to data/rounds/, the version in anchorhold.toml rises, and the road is walked to the release; nothing is
    signed, `anchorhold build` does that.
    """
    from appliance import offline

    offline.seal()
    from appliance.base_model import resolve
    from appliance.errors import UsageError
    from appliance.paths import Project
    from appliance.pipeline import Journey, only_one, walk
    from appliance.pipeline.drift_reasons import read_reasons, reason_lines
    from appliance.pipeline.next_round import propose, take

    project = Project.open(folder)
    for line in reason_lines(read_reasons(drift)) if drift else ():
        click.echo(line)
    if not files:
        if run or drift is None:
            raise UsageError(
                "no FILES with rows to learn", "`anchorhold corrections export FILE` on the device writes one"
            )
        click.echo("rows      none given; `anchorhold corrections export FILE` on the device writes them")
        return
    proposal = propose(project, files)
    for line in proposal.lines():
        click.echo(line)
    if not run:
        click.echo("nothing was changed; --run takes the rows and walks to the release")
        return
    with only_one(project):
        project = take(project, proposal)
    with stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        walk(Journey(project, checkpoint, emit, accept_days=yes), until="release")
    click.echo(f"{project.config.project.name} {proposal.version} is assembled; `anchorhold build` signs it")
