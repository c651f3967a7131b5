"""`anchorhold dataset`: read, clean and split the examples."""

from __future__ import annotations

from pathlib import Path

import click

from appliance.commands.common import project_option, stage_events

_EPILOG = "Example: `anchorhold dataset --project station --strict`; the card: build/dataset/card.json"


@click.command("dataset", epilog=_EPILOG)
@project_option
@click.option("--strict", is_flag=True, help="Stop on the first bad row instead of leaving it out.")
@click.option(
    "--raw-findings",
    is_flag=True,
    help="Write what was redacted into redactions.jsonl as it was. Keep that file to yourself.",
)
def command(folder: Path, strict: bool, raw_findings: bool) -> None:
    """Read, clean and split the examples; write the dataset card.

    Takes the chat JSON lines and CSV files that [dataset] names, normalises Unicode and white space, drops
    exact duplicates, leaves out rows that can't be learnt from (each is named with file and line; all are in
    build/dataset/rejected.jsonl) and splits the rest 80/10/10 by a hash, so that adding rows moves none.
    With [dataset.redact] personal data is replaced first; build/dataset/redactions.jsonl says what and why.
    """
    from appliance import offline

    offline.seal()
    from appliance.dataset import prepare
    from appliance.dataset.terminal import card_lines
    from appliance.paths import Project

    project = Project.open(folder)
    with stage_events(project.events) as emit:
        card = prepare(project, emit, strict=strict, raw_findings=raw_findings)
    for line in card_lines(card):
        click.echo(line)
    click.echo(f"dataset: {project.dataset}")
