"""`anchorhold dataset`: read, clean and split the examples; look at what files hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option, stage_events
from appliance.errors import UsageError

if TYPE_CHECKING:
    from appliance.paths import Project


def _check(project: Project, against: tuple[Path, ...], as_json: bool) -> None:
    from appliance.dataset.leakage import check_leakage, leak_lines
    from appliance.errors import ExitCode

    with stage_events(project.events) as emit:
        report = check_leakage(project, against, emit)
    if as_json:
        click.echo(json.dumps(report.to_json()))
    else:
        for line in leak_lines(report):
            click.echo(line)
    if report.leaks:
        raise SystemExit(int(ExitCode.DATA))


_EPILOG = """\b
Example:
  anchorhold dataset --project station --strict     # the card: build/dataset/card.json
  anchorhold dataset inspect data/*                 # what each file is taken for, without making anything
"""


@click.group("dataset", invoke_without_command=True, epilog=_EPILOG)
@project_option
@click.option("--strict", is_flag=True, help="Stop on the first bad row instead of leaving it out.")
@click.option(
    "--raw-findings",
    is_flag=True,
    help="Write what was redacted into redactions.jsonl as it was. Keep that file to yourself.",
)
@click.option(
    "--against",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Prepare nothing: look in the training split for what this evaluation file asks (may be repeated).",
)
@click.option("--json", "as_json", is_flag=True, help="The card, or what --against found, as JSON.")
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    strict: bool,
    raw_findings: bool,
    against: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Read, clean and split the examples; write the dataset card.

    Takes the files that [dataset] names: chats as JSON, tables, preference pairs, transcripts, documents, each told by
    its content. Normalises Unicode and white space, drops exact duplicates, leaves out rows that can't be learnt
    from (each is named with file and line; all are in build/dataset/rejected.jsonl) and splits the rest 80/10/10 by
    group, so that nothing in one split is nearly the same as something in another, and adding rows moves next to none.
    With [dataset.redact] personal data is replaced first; build/dataset/redactions.jsonl says what and why.

    With --against FILE it compares the training split that is there with an evaluation set, and shows each pair that
    is equal, near, or shares thirteen words in a row; it exits with 4 when there is any.
    """
    from appliance import offline

    offline.seal()
    if context.invoked_subcommand is not None or against:
        given = [name for name, on in (("--strict", strict), ("--raw-findings", raw_findings)) if on]
        if context.invoked_subcommand is not None:
            given += ["--against"] * bool(against) + ["--json"] * as_json
        if given:
            raise UsageError(f"{given[0]} goes with preparing the dataset", "leave it out here")
    if context.invoked_subcommand is not None:
        return
    from appliance.dataset import prepare
    from appliance.dataset.terminal import card_lines
    from appliance.paths import Project
    from appliance.pipeline import only_one

    project = Project.open(folder)
    if against:
        _check(project, against, as_json)
        return
    with only_one(project), stage_events(project.events) as emit:
        card = prepare(project, emit, strict=strict, raw_findings=raw_findings)
    if as_json:
        click.echo(json.dumps(card.to_json()))
        return
    for line in card_lines(card):
        click.echo(line)
    click.echo(f"dataset: {project.dataset}")


@command.command(
    epilog="Example: `anchorhold dataset inspect data/export.csv --json`; a folder is looked through"
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a file.")
@click.pass_context
def inspect(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Show what each file was taken for and why, what it holds, its bad rows and two samples.

    Reads whole files and makes nothing. What [dataset] tells of columns and formats counts where there is a
    project; control characters and what a spreadsheet would compute are written out, never obeyed.
    """
    from appliance.config import FILE_NAME, DatasetSection, load
    from appliance.dataset.reading import BadRow, file_name, find_files, inspect_file
    from appliance.errors import AnchorholdError, ConfigError, DataError
    from appliance.visible import visible

    folder: Path = context.parent.params["folder"] if context.parent else Path()
    section = load(folder / FILE_NAME).dataset if (folder / FILE_NAME).exists() else DatasetSection()
    skipped: list[BadRow] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{visible(str(path), 0)}: no such file", "give files or folders that are there")
    # Names as they were given: a name with * in it is no pattern here, the shell has seen to that.
    files = [
        file
        for path in paths
        for file in (find_files(path, ["."], "sources", skipped.append) if path.is_dir() else [path])
    ]
    failed: AnchorholdError | None = None
    for file in files:
        name = file_name(file, folder)
        try:
            told = inspect_file(file, name, section)
        except (ConfigError, DataError) as error:
            failed = failed or error
            click.echo(
                json.dumps({"file": name, "error": error.message})
                if as_json
                else f"{visible(error.message, 0)}"
            )
            continue
        if as_json:
            click.echo(json.dumps(told.to_json(), ensure_ascii=True))
        else:
            click.echo("\n".join(told.lines()))
    for bad in skipped:
        click.echo(
            json.dumps({"file": bad.file, "kind": bad.kind, "error": bad.reason}) if as_json else str(bad)
        )
    if failed is not None:
        raise failed
