"""`anchorhold build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option, stage_events, yes_option
from appliance.commands.key_options import secrets_options

if TYPE_CHECKING:
    from appliance.paths import Project
    from appliance.trust.unlocking import Secrets

_STAGES = ["dataset", "train", "convert", "evaluate", "release", "stick"]


def _try(project: Project, secrets: Secrets) -> None:
    from appliance.trust import keys

    keys.show(project.keys)
    keys.unlock(project.keys, secrets)
    keys.unlock_model_signing(project.keys, secrets)


@click.command(
    "build",
    epilog="Example: `anchorhold build --project station --until evaluate`, look at build/evaluation/report.html, "
    "then `anchorhold build --project station`.",
)
@project_option
@click.option("--until", type=click.Choice(_STAGES), help="Stop after this stage.")
@click.option("--force", type=click.Choice(_STAGES), help="Run this stage even if nothing changed.")
@secrets_options
@click.option("--dry-run", is_flag=True, help="Say what would run and why; change nothing.")
@yes_option
def command(
    folder: Path, until: str | None, force: str | None, secrets: Secrets, dry_run: bool, yes: bool
) -> None:
    """Walk the road from examples to a signed stick.

    Each stage is skipped when nothing that it depends on has changed: data, configuration, base model, program. It can
    be stopped at any moment (Ctrl-C, power) and goes on where it was when it is run again.
    """
    from appliance import offline

    offline.seal()
    from appliance.base_model import resolve
    from appliance.paths import Project
    from appliance.pipeline import STAGES, Journey, decide, walk

    project = Project.open(folder)
    # Asked and tried before the long work, not after it.
    signs = until in {None, "stick"} and not dry_run
    if signs:
        _try(project, secrets)
    project.build.mkdir(parents=True, exist_ok=True)
    with stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        if not dry_run:
            journey = Journey(project, checkpoint, emit, secrets if signs else None, accept_days=yes)
            walk(journey, until=until or "", force=force or "")
    if dry_run:
        stale = False
        for stage in STAGES:
            decision = decide(project, checkpoint, stage, stage.name == force)
            stale = stale or decision.run
            why = (
                decision.reason if decision.run else ("a stage before it runs" if stale else decision.reason)
            )
            click.echo(f"{stage.name:<9} {'run ' if stale else 'skip'}  {stage.help} ({why})")
            if stage.name == until:
                break
        return
    if not until or until == "stick":
        click.echo(f"stick: {project.stick}")
        click.echo(f"report: {project.evaluation / 'report.html'}")
