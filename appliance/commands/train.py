"""`anchorhold train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option, stage_events, yes_option

if TYPE_CHECKING:
    from appliance.paths import Project


def _help_along(project: Project, restart: bool, yes: bool) -> None:
    """What every process of torchrun but the first does: train with it, and leave files and words to it."""
    from appliance.base_model import resolve
    from appliance.events import ignore
    from appliance.pipeline.road import code_digest
    from appliance.training import train

    checkpoint = resolve(project.config.base.path, project.root)
    code = code_digest(("appliance/training",))
    train(project, checkpoint, ignore, restart=restart, code=code, accept_days=yes)


_EPILOG = """\b
Examples:
  anchorhold train --project station
  python -m torch.distributed.run --standalone --nproc-per-node 2 -m appliance train --project station
The loss curve: build/training/curve.svg
"""


@click.command("train", epilog=_EPILOG)
@project_option
@click.option("--restart", is_flag=True, help="Begin again instead of going on from the checkpoint.")
@click.option(
    "--checkpoint-seconds", type=float, default=60.0, show_default=True, help="Time between checkpoints."
)
@yes_option
def command(folder: Path, restart: bool, checkpoint_seconds: float, yes: bool) -> None:
    """Fine-tune the base model with LoRA on this machine's CPU, or on a GPU if there is one.

    Only the answers are learnt, each with its end token. The adapter with the lowest validation loss is kept. A
    training that was stopped goes on from its last checkpoint and takes the same course. Before the first step it says
    what it will cost, and refuses what would take more than a day unless --yes is given. Several processes share one
    training when torchrun starts them: the steps are those that one process would take.
    """
    from appliance import offline

    offline.seal()
    import json

    from appliance.base_model import resolve
    from appliance.events import Event
    from appliance.paths import Project
    from appliance.pipeline import Journey, outdated, run_stage

    project = Project.open(folder)
    from appliance.training.crew import leads

    if not leads():
        _help_along(project, restart, yes)
        return
    with stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        journey = Journey(
            project,
            checkpoint,
            emit,
            restart=restart,
            checkpoint_seconds=checkpoint_seconds,
            accept_days=yes,
        )
        changed = outdated(project, checkpoint, "dataset")
        if changed:
            emit(
                Event(
                    "train",
                    "warning",
                    f"the rows were prepared before this changed: {changed}; `anchorhold dataset` prepares them anew",
                )
            )
        run_stage(journey, "train")
    result = json.loads((project.training / "training.json").read_text(encoding="utf-8"))
    click.echo(
        f"adapter: {project.adapter} (validation loss {result['best_loss']:.4f} at step {result['best_step']}, "
        f"{result['tokens_per_second']:.0f} tokens/s)"
    )
