"""`anchorhold dataset`: read, clean and split the examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option, stage_events

if TYPE_CHECKING:
    from appliance.paths import Project

_EPILOG = "Example: `anchorhold dataset --project station --strict`; the card: build/dataset/card.json"


def _check(project: Project, against: tuple[Path, ...], as_json: bool) -> None:
    from appliance.dataset.leakage import check_leakage, leak_lines
    from appliance.errors import ExitCode

    with stage_events(project.events) as emit:
        report = check_leakage(project, against, emit)
    if as_json:
        click.echo(json.dumps(report.to_json(), ensure_ascii=False))
    else:
        for line in leak_lines(report):
            click.echo(line)
    if report.leaks:
        raise SystemExit(int(ExitCode.DATA))


@click.command("dataset", epilog=_EPILOG)
@project_option
@click.option("--strict", is_flag=True, help="Stop on the first bad row instead of leaving it out.")
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prepare nothing: look in the training split for what this evaluation file asks (may be repeated).",
)
@click.option("--json", "as_json", is_flag=True, help="The card, or what --against found, as JSON.")
def command(folder: Path, strict: bool, against: tuple[Path, ...], as_json: bool) -> None:
    """Read, clean and split the examples; write the dataset card.

    Takes the chat JSON lines and CSV files that [dataset] names, normalises Unicode and white space, drops
    exact duplicates, leaves out rows that can't be learnt from (each is named with file and line; all are in
    build/dataset/rejected.jsonl) and splits the rest 80/10/10 by group, so that nothing in one split is nearly
    the same as something in another, and adding rows moves next to none.

    With --against FILE it compares the training split that is there with an evaluation set, and shows each pair that
    is equal, near, or shares thirteen words in a row; it exits with 4 when there is any.
    """
    from appliance import offline

    offline.seal()
    from appliance.dataset import prepare
    from appliance.dataset.terminal import card_lines
    from appliance.paths import Project

    project = Project.open(folder)
    if against:
        _check(project, against, as_json)
        return
    with stage_events(project.events) as emit:
        card = prepare(project, emit, strict=strict)
    if as_json:
        click.echo(json.dumps(card.to_json(), ensure_ascii=False))
        return
    for line in card_lines(card):
        click.echo(line)
    click.echo(f"dataset: {project.dataset}")
