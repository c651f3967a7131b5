"""`anchorhold audit`: suites on the file that ships, the report card, and waivers of gates."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.audit_log import verify
from appliance.commands.common import project_option, stage_events
from appliance.commands.key_options import secrets_options

if TYPE_CHECKING:
    from appliance.trust.unlocking import Secrets

_EPILOG = """\b
Example:
  anchorhold audit --project station                     # standard suites, station/suites, the dataset's own rows
  anchorhold audit --project station --data public-sets  # and the public sets that lie in a folder
  anchorhold audit --project station --only refusal      # one suite; nothing of it goes into a release
  anchorhold audit --project station --sample 10         # a quick look; nothing of it goes into a release
  anchorhold audit check station/suites/tone.jsonl       # what is wrong with a suite, with file and line
  anchorhold audit waive refusal:refused --by "J. Doe" --reason "answers only JSON" --project station
  anchorhold audit verify                                # on a device: whether its audit log is whole
"""
_data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder with public evaluation sets (ARC, BBQ, XSTest, ...), as docs/formats/suites.md names them.",
)
_standard_option = click.option(
    "--standard/--no-standard",
    default=True,
    help="Run the suites that ship with the product.",
    show_default=True,
)


@click.group("audit", invoke_without_command=True, epilog=_EPILOG)
@project_option
@_data_option
@_standard_option
@click.option("--only", multiple=True, metavar="SUITE", help="Run this suite alone (may be repeated).")
@click.option(
    "--against",
    multiple=True,
    type=click.Choice(["base", "tuned_f16"]),
    help="Ask this system too, in every suite (may be repeated).",
)
@click.option(
    "--compare/--no-compare",
    default=True,
    show_default=True,
    help="Ask others too: in domain suites fifty cases of the base, of the base with examples and of the release in "
    "service, in tone suites the base that is told the style.",
)
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=100,
    show_default=True,
    help="Ask at most so many cases of a suite, always the same ones (0: all).",
)
@click.option(
    "--threads", type=click.IntRange(0), default=0, help="CPU threads of the engine (0: all cores)."
)
@click.pass_context
def command(
    context: click.Context,
    folder: Path,
    data: Path | None,
    standard: bool,
    only: tuple[str, ...],
    against: tuple[str, ...],
    compare: bool,
    sample: int,
    threads: int,
) -> None:
    """Run suites on the file that ships; judge their gates; write the report card.

    Refusals, over-refusals, injections, leaks, bias, made-up answers, what was memorised, what the base could do
    and no longer can: standard suites, those in the project's suites/ folder, those made of its dataset, and with
    --data public sets. Writes build/audit/report-card.html, which the next release takes along; `anchorhold
    release` refuses while a gate fails that nobody waives, and a suite whose head or gates are wrong counts as a
    gate that failed. Stopped half-way, run it again and it goes on; what has not changed is not asked again. Fewer
    suites or cases than a release asks for go to build/audit/part, and what stands judged stays.
    """
    if context.invoked_subcommand is not None:
        return
    from appliance import offline

    offline.seal()
    from appliance.base_model import resolve
    from appliance.errors import ExitCode
    from appliance.evaluation.auditing import audit, plan_of
    from appliance.evaluation.auditing.terminal import audit_lines, fault_lines
    from appliance.paths import Project
    from appliance.pipeline import only_one

    project = Project.open(folder)
    plan = plan_of(
        project, data=data, standard=standard, only=only, against=against, compare=compare, sample=sample
    )
    for line in fault_lines(plan.faults):
        click.echo(line, err=True)
    with only_one(project), stage_events(project.events) as emit:
        checkpoint = resolve(project.config.base.path, project.root, emit)
        result = audit(project, plan, checkpoint, emit, threads=threads)
    for line in audit_lines(result):
        click.echo(line)
    output = project.audit / "part" if result.lacks else project.audit
    click.echo(f"report card: {output / 'report-card.html'}")
    if result.lacks:
        click.echo(f"a part, which no release counts: {'; '.join(result.lacks)}")
    if not all(verdict.passed for verdict in result.verdicts):
        raise SystemExit(int(ExitCode.GATE))


@command.command("list")
@project_option
@_data_option
@_standard_option
def list_suites(folder: Path, data: Path | None, standard: bool) -> None:
    """Show the suites of a project's audit: name, scorer, cases, gates."""
    from appliance.evaluation.auditing import plan_of
    from appliance.evaluation.auditing.terminal import fault_lines, suite_lines
    from appliance.paths import Project

    plan = plan_of(Project.open(folder), data=data, standard=standard)
    for line in suite_lines(plan.suites):
        click.echo(line)
    for line in fault_lines(plan.faults):
        click.echo(line, err=True)


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
def check(files: tuple[Path, ...]) -> None:
    """Read suite FILES and name every fault with file and line; exit with 4 if there is one."""
    from appliance.errors import ExitCode
    from appliance.evaluation.auditing.terminal import fault_lines, suite_lines
    from appliance.evaluation.suites.reading import read_suites

    suites, faults = read_suites(list(files))
    for line in [*suite_lines(suites), *fault_lines(faults)]:
        click.echo(line)
    if faults:
        raise SystemExit(int(ExitCode.DATA))


@command.command("waive")
@click.argument("gate", metavar="GATE")
@project_option
@click.option("--by", "name", required=True, help="The name of who answers for it.")
@click.option("--reason", required=True, help="Why the release may go out all the same.")
@secrets_options
def waive(gate: str, folder: Path, name: str, reason: str, secrets: Secrets) -> None:
    """Answer for a failed GATE of the file that ships, by name and with a reason; signed into waivers.jsonl.

    It holds for that one file; the release carries it. GATE is what `anchorhold release` names.
    """
    from appliance.evaluation.auditing.waiving import waive as sign
    from appliance.paths import Project

    project = Project.open(folder)
    waiver = sign(project, gate, name, reason, secrets)
    click.echo(f"{waiver.gate} waived by {waiver.name} for {waiver.model[:12]}…, in {project.waivers}")


command.add_command(verify)
