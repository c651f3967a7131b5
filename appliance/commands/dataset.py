"""`anchorhold dataset`: read, clean and split the examples."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Example:
  anchorhold dataset --project examples/workorders
  anchorhold dataset --strict        # stop at the first bad row
"""


@click.command("dataset", epilog=_EPILOG)
@click.option(
    "--project",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder with anchorhold.toml (default: here).",
)
@click.option("--strict", is_flag=True, help="Stop on the first bad row instead of leaving it out.")
def command(folder: Path, strict: bool) -> None:
    """Read, clean and split the examples; write the dataset card.

    Takes the chat JSON lines and CSV files that [dataset] names, normalises Unicode and white space, drops
    exact duplicates, leaves out rows that can't be learnt from (each is named with file and line; all are in
    build/dataset/rejected.jsonl) and splits the rest 80/10/10 by a hash, so that adding rows moves none.
    """
    from appliance.dataset import prepare
    from appliance.dataset.terminal import show_card, show_event
    from appliance.paths import Project

    project = Project.open(folder)
    card = prepare(project, show_event, strict=strict)
    show_card(card, project.dataset)
