"""`anchorhold evaluate`: measure the file that ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option, stage_events

if TYPE_CHECKING:
    from appliance.paths import Project

_EPILOG = "Example: `anchorhold evaluate --project station`; stopped half-way, run it again and it goes on"


def _other(project: Project, file: Path, threads: int) -> None:
    from appliance.base_model import resolve
    from appliance.dataset import read_other_rows
    from appliance.evaluation import measure_other
    from appliance.evaluation.terminal import score_lines
    from appliance.pipeline import only_one

    rows = read_other_rows(project, file)
    with only_one(project), stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        score = measure_other(project, checkpoint, rows, emit, threads=threads)
    for line in score_lines([score], {}):
        click.echo(line)


@click.command("evaluate", epilog=_EPILOG)
@project_option
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="CPU threads of the engine (0: all cores)."
)
@click.option(
    "--rows",
    "file",
    type=click.Path(path_type=Path),
    help="Ask the shipped file these examples instead (a file, none trained on), and print its scores.",
)
def command(folder: Path, threads: int, file: Path | None) -> None:
    """Measure the file that ships; write the report.

    Asks the shipped GGUF every row of the test split through the engine that serves, and beside it the tuned
    F16 file and the untuned base, plainly and with the schema and examples in its prompt. Scores exact match,
    valid answers, field F1 and how many answers end by themselves, says which differences are real, and
    writes build/evaluation/report.html. Needs `dataset`, `train` and `convert` before it.
    """
    from appliance import offline

    offline.seal()
    from appliance.base_model import resolve
    from appliance.evaluation import EvaluationResult, evaluate
    from appliance.evaluation.terminal import read_speeds, result_lines
    from appliance.paths import Project
    from appliance.pipeline import Journey, run_stage

    project = Project.open(folder)
    if file is not None:
        _other(project, file, threads)
        return
    results: list[EvaluationResult] = []
    with stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        run_stage(
            Journey(project, checkpoint, emit),
            "evaluate",
            lambda: results.append(evaluate(project, emit, checkpoint=checkpoint, threads=threads)),
        )
    for line in result_lines(results[0], read_speeds(project.evaluation)):
        click.echo(line)
    click.echo(f"report: {project.evaluation / 'report.html'}")
