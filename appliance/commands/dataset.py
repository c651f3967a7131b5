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


def _start(screen: str, folder: Path) -> None:
    """Become the dataset's screens: they sit above us in the import order, so they are started, not imported."""
    import os
    import sys

    sys.stdout.flush()
    # -P: never from the current folder, which may be anything.
    arguments = ["-P", "-m", "tui.dataset", screen, "--project", str(folder.resolve())]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606


_EPILOG = """\b
Example:
  anchorhold dataset --project station --strict     # the card: build/dataset/card.json
  anchorhold dataset inspect data/*                 # what each file is taken for, without making anything
  anchorhold dataset --project station browse       # the card and the rows, on the terminal
  anchorhold dataset --project station review       # what was redacted: accept, keep, mark what was missed
  anchorhold dataset pairs --project station        # what would be made of transcripts and documents
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
@click.option("--review", is_flag=True, help="Prepare nothing: the same as `anchorhold dataset review`.")
@click.option("--json", "as_json", is_flag=True, help="The card, or what --against found, as JSON.")
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    strict: bool,
    raw_findings: bool,
    against: tuple[Path, ...],
    review: bool,
    as_json: bool,
) -> None:
    """Read, clean and split the examples; write the dataset card.

    Takes the files that [dataset] names: chats as JSON, tables, preference pairs, transcripts, documents, each told by
    its content. Normalises Unicode and white space, drops exact duplicates, leaves out rows that can't be learnt
    from (each is named with file and line; all are in build/dataset/rejected.jsonl) and splits the rest 80/10/10 by
    group, so that nothing in one split is nearly the same as something in another, and adding rows moves next to none.
    With [dataset.redact] personal data is replaced first; build/dataset/redactions.jsonl says what and why.
    build/dataset/card.html shows it all to people.
    Of transcripts and documents rows are made as [dataset.pairs] says: conversations whose assistant's side is learnt,
    questions with answers, summaries, extracts, passages to go on with.

    With --against FILE it compares the training split that is there with an evaluation set, and shows each pair that
    is equal, near, or shares thirteen words in a row; it exits with 4 when there is any.
    """
    from appliance import offline

    offline.seal()
    if context.invoked_subcommand is not None or against or review:
        given = [name for name, on in (("--strict", strict), ("--raw-findings", raw_findings)) if on]
        if context.invoked_subcommand is not None:
            given += ["--against"] * bool(against) + ["--json"] * as_json + ["--review"] * review
        elif review:
            given += ["--against"] * bool(against) + ["--json"] * as_json
        if given:
            raise UsageError(f"{given[0]} goes with preparing the dataset", "leave it out here")
    if context.invoked_subcommand is not None:
        return
    if review:
        _start("review", folder)
    from appliance.base_model import resolve
    from appliance.dataset import prepare
    from appliance.dataset.terminal import card_lines
    from appliance.paths import Project
    from appliance.pipeline import Journey, run_stage

    project = Project.open(folder)
    if against:
        _check(project, against, as_json)
        return
    with stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        card = None

        def action() -> None:
            nonlocal card
            card = prepare(project, emit, strict=strict, raw_findings=raw_findings, checkpoint=checkpoint)

        run_stage(Journey(project, checkpoint, emit), "dataset", action)
    assert card is not None
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
    from appliance.config import DatasetSection
    from appliance.config_file import FILE_NAME
    from appliance.dataset.reading import BadRow, file_name, find_files, inspect_file
    from appliance.errors import AnchorholdError, ConfigError, DataError
    from appliance.paths import Project
    from appliance.visible import visible

    folder: Path = context.parent.params["folder"] if context.parent else Path()
    project = Project.open(folder) if (folder / FILE_NAME).exists() else None
    section = project.config.dataset if project else DatasetSection()
    own = project.own if project else ()
    skipped: list[BadRow] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{visible(str(path), 0)}: no such file", "give files or folders that are there")
        if not (path.is_file() or path.is_dir()):
            raise UsageError(
                f"{visible(str(path), 0)}: a pipe, socket or device", "write what it gives into a file first"
            )
    # Names as they were given: a name with * in it is no pattern here, the shell has seen to that.
    files = [
        file
        for path in paths
        for file in (find_files(path, ["."], "sources", skipped.append, own) if path.is_dir() else [path])
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


def _own_project(context: click.Context, folder: Path | None) -> Path:
    """The project that a subcommand was given, before or behind its name."""
    above: Path = context.parent.params["folder"] if context.parent else Path()
    return above if folder is None else folder


_project_here = click.option(
    "--project", "folder", type=click.Path(path_type=Path, file_okay=False), help="The project's folder."
)


@command.command(epilog="Example: `anchorhold dataset browse --project station`; ? shows the keys")
@_project_here
@click.pass_context
def browse(context: click.Context, folder: Path | None) -> None:
    """Look at the dataset card, at rows and at what was left out, on the terminal.

    Needs a prepared dataset and the extra `tui`; reads what it shows, however large the files are. For a browser
    there is build/dataset/card.html.
    """
    _start("browse", _own_project(context, folder))


@command.command(
    epilog="Example: `anchorhold dataset review --project station`, then `anchorhold dataset` again"
)
@_project_here
@click.pass_context
def review(context: click.Context, folder: Path | None) -> None:
    """Go through what was redacted: accept it, keep it, say what else it is, mark what was missed.

    Every decision is written at once, to redaction-decisions.jsonl and redaction-missed.jsonl; the next
    `anchorhold dataset` follows them. With --raw-findings at the preparing the values are shown as they were.
    """
    _start("review", _own_project(context, folder))


@command.command(epilog="Example: `anchorhold dataset --project station pairs --json`")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def pairs(context: click.Context, as_json: bool) -> None:
    """Show how many pairs of which kind would be made of each transcript and document, with three samples of each.

    Reads the sources as preparing does and writes nothing. A model named in [dataset.pairs] writer isn't asked.
    """
    from appliance.dataset.pairs.previewing import preview
    from appliance.paths import Project
    from appliance.progress import terminal_progress

    folder: Path = context.parent.params["folder"] if context.parent else Path()
    with terminal_progress() as emit:
        found = preview(Project.open(folder), emit)
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=True))
    else:
        click.echo("\n".join(found.lines()))
