"""`anchorhold advise`: prompt, examples, retrieval or fine-tuning?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from appliance.commands.common import project_option, stage_events

if TYPE_CHECKING:
    from appliance.evaluation.advising.verdict import Measure

_EPILOG = """\b
Examples:
  anchorhold advise
  anchorhold advise --rows cases.jsonl --documents manuals
"""


@click.command("advise", epilog=_EPILOG)
@project_option
@click.option(
    "--rows",
    "file",
    type=click.Path(path_type=Path),
    help="Ask these cases (a file of examples, none trained on) instead of the test split.",
)
@click.option(
    "--sample", type=click.IntRange(1), default=100, show_default=True, help="Ask so many cases at most."
)
@click.option(
    "--documents",
    multiple=True,
    help="Look things up in these files, folders or globs (may be given again) instead of the project's documents.",
)
@click.option(
    "--shots", type=click.IntRange(0), default=8, show_default=True, help="Examples of the few-shot way."
)
@click.option(
    "--top", type=click.IntRange(1, 50), default=3, show_default=True, help="Things looked up a question."
)
@click.option(
    "--measure",
    type=click.Choice(["exact", "rouge_l"]),
    help="Compare by this (default: exact answers where they are JSON or short, else likeness to the reference).",
)
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="CPU threads of the engine (0: all cores)."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    folder: Path,
    file: Path | None,
    sample: int,
    documents: tuple[str, ...],
    shots: int,
    top: int,
    measure: str | None,
    threads: int,
    as_json: bool,
) -> None:
    """Prompt, examples, retrieval or fine-tuning: ask your cases every way, and see which wins at what cost.

    The base with a prompt, with examples, with the nearest passages of your documents (or, without documents, the
    nearest training rows), and the tuned file, with and without passages. "Better" is said only where a paired
    test shows it. Needs `dataset`, `train` and `convert` before it; stopped half-way, run it again and it goes on.
    """
    from appliance import offline

    offline.seal()
    from appliance.base_model import resolve
    from appliance.dataset import read_other_rows, read_rows
    from appliance.evaluation.advising import advise
    from appliance.evaluation.advising.terminal import advice_lines
    from appliance.evaluation.one_file import check_other
    from appliance.paths import Project
    from appliance.pipeline import only_one

    project = Project.open(folder)
    rows = read_other_rows(project, file) if file else read_rows(project.dataset / "test.jsonl")
    rows = sorted(rows, key=lambda row: row.id)[:sample]
    with only_one(project), stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        if file:
            check_other(project, checkpoint, rows)
        advice = advise(
            project,
            rows,
            emit,
            checkpoint=checkpoint,
            documents=documents,
            shots=shots,
            top=top,
            measure=cast("Measure | None", measure),
            threads=threads,
        )
    click.echo(json.dumps(advice.to_json()) if as_json else "\n".join(advice_lines(advice)))
