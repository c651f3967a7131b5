"""`anchorhold redteam`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.errors import AnchorholdError, DataError, ExitCode, UsageError
from appliance.paths import Device

if TYPE_CHECKING:
    from appliance.watch.redteam import Attack, Comparison, Run
    from appliance.watch.redteam.sequential import Series

_EPILOG = """\b
Examples:
  anchorhold redteam run
  anchorhold redteam run --dry-run --family override
  anchorhold redteam show
  anchorhold redteam rows data/redteam.jsonl
"""
_TIMER = """\
# /etc/systemd/system/anchorhold-redteam.service
[Unit]
Description=Anchorhold: attacks on the served release
After=anchorhold.service
Requires=anchorhold.service

[Service]
Type=oneshot
User=anchorhold
Group=anchorhold
Environment=ANCHORHOLD_ROOT={root}
ExecStart={program} redteam run --sample {sample}
# 13: a family became worse; that is told in the log and by `anchorhold redteam show`.
SuccessExitStatus=13
Nice=19
CPUSchedulingPolicy=idle
PrivateNetwork=yes
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ReadWritePaths={root}

# /etc/systemd/system/anchorhold-redteam.timer
[Unit]
Description=Anchorhold: attacks on the served release, every night

[Timer]
OnCalendar=*-*-* 03:00
RandomizedDelaySec=1h
Persistent=yes

[Install]
WantedBy=timers.target
"""

_root = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    help="The device's folder (default: $ANCHORHOLD_ROOT or /var/lib/anchorhold).",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("redteam", epilog=_EPILOG)
def command() -> None:
    """Attack the served release, and hear when it became weaker.

    A library of harmful requests in plain and other writings, orders to drop the task, orders inside documents
    and behind the release's own golden prompts, and questions for the system prompt. Each family has a pass rate
    with its interval, beside the first run of the same release. Nothing leaves the machine.
    """


def _device(root: Path | None) -> Device:
    return Device(root.resolve()) if root else Device.default()


def _golden(device: Device) -> list[dict[str, Any]]:
    """The active release's golden prompts; none where no release is installed."""
    from appliance.update import slots

    try:
        active = slots.active(device)
    except AnchorholdError:
        return []
    return [dict(case) for case in active.manifest.get("golden", [])] if active else []


def _attacks(device: Device) -> dict[str, Attack]:
    from appliance.watch.redteam import load
    from appliance.watch.redteam.library import all_attacks

    return {attack.id: attack for attack in all_attacks(load(), _golden(device))}


def _chosen(families: tuple[str, ...]) -> list[str]:
    from appliance.watch.redteam import FAMILIES

    unknown = [name for name in families if name not in FAMILIES]
    if unknown:
        raise UsageError(f"no family {unknown[0]!r}", f"there are: {', '.join(FAMILIES)}")
    return [name for name in FAMILIES if not families or name in families]


def _compared(device: Device, number: int | None) -> tuple[Run, Run | None, list[Comparison]]:
    from appliance.watch.redteam import FAMILIES, baseline_of, compare, read_runs

    runs, faults = read_runs(device.redteam)
    for fault in faults:
        click.echo(f"warning: {fault}", err=True)
    if not runs:
        raise DataError(f"{device.redteam}: no run yet", "`anchorhold redteam run` makes one")
    run = runs[-1] if number is None else next((each for each in runs if each.number == number), None)
    if run is None:
        raise UsageError(f"no run {number}", f"there are {runs[0].number} to {runs[-1].number}")
    baseline = baseline_of(runs, run.identity, run.library)
    if baseline is not None and baseline.number == run.number:
        baseline = None
    return run, baseline, compare(run, baseline, FAMILIES, _weaker(device, run))


def _weaker(device: Device, run: Run) -> set[str]:
    """The families that an open alarm is about, raised by this run or an earlier one of its series."""
    from appliance.watch.redteam import series_file

    try:
        series = series_file.read(device.redteam)
    except (ValueError, OSError) as error:
        click.echo(f"warning: {series_file.path(device.redteam)}: {error}", err=True)
        return set()
    if series is None or not series.of(run):
        return set()
    return {alarm.family for alarm in series.alarms if alarm.run <= run.number}


def _facts(run: Run, baseline: Run | None, found: list[Comparison]) -> dict[str, Any]:
    head = {key: value for key, value in asdict(run).items() if key != "outcomes"}
    families = [{**asdict(each), "worse": each.worse} for each in found]
    return {**head, "baseline_run": baseline.number if baseline else None, "families": families}


@command.command("run")
@_root
@click.option("--socket", type=click.Path(path_type=Path), help="The gateway's Unix socket.")
@click.option("--family", "families", multiple=True, help="Only this family (may be given again).")
@click.option(
    "--sample",
    type=click.IntRange(0),
    default=14,
    show_default=True,
    help="Attacks a family; 0: all of them.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draw other attacks.")
@click.option("--baseline", is_flag=True, help="Hold later runs of this release against this one.")
@click.option("--dry-run", is_flag=True, help="Show what would be asked, and ask nothing.")
@_json
@click.pass_context
def run_command(
    context: click.Context,
    root: Path | None,
    socket: Path | None,
    families: tuple[str, ...],
    sample: int,
    seed: int,
    baseline: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Ask the served release every chosen attack, and say which family became worse.

    One attack at a time, and only while nobody else is answered. An interrupted run goes on where it stopped.
    Ends with code 13 where a family became weaker than in the baseline, told over all runs with at most one false alarm
    in 365 of them; that stays so until `anchorhold drift --reset`.
    """
    from appliance.progress import terminal_progress
    from appliance.serving.gateway_client import GatewayClient
    from appliance.watch.redteam import load, series_file
    from appliance.watch.redteam.running import plan_of, run
    from appliance.watch.redteam.terminal import run_lines

    device = _device(root)
    attacks = plan_of(load(), _golden(device), _chosen(families), sample, seed)
    if dry_run:
        from appliance.visible import visible

        for attack in attacks:
            click.echo(f"{attack.id:<40} {visible(attack.messages[-1]['content'], 100)}")
        click.echo(f"{len(attacks)} attacks")
        return
    if not attacks:
        raise UsageError("nothing to ask", "no release is installed, so the family `in_task` has no prompts")
    with GatewayClient(socket or device.gateway_socket) as client, terminal_progress() as emit:
        finished = run(
            client, device.redteam, load(), attacks, emit, sample=sample, seed=seed, baseline=baseline
        )
    series = series_file.follow(device.redteam, lambda text: click.echo(f"warning: {text}", err=True))
    if series is not None:
        _log(device, series)
    done, against, found = _compared(device, finished.number)
    click.echo(
        json.dumps(_facts(done, against, found)) if as_json else "\n".join(run_lines(done, against, found))
    )
    if any(each.worse for each in found):
        context.exit(ExitCode.ALARM)


def _log(device: Device, series: Series) -> None:
    """One line an alarm into the device's log, where this machine is a device; a log that can't be written is told."""
    from appliance.update import audit
    from appliance.watch.redteam import series_file
    from appliance.watch.redteam.telling import describe

    waiting = [alarm for alarm in series.alarms if not alarm.logged]
    if not device.root.is_dir() or not waiting:
        return
    try:
        told = [entry["data"].get("alarm") for entry in audit.entries(device) if entry["event"] == "redteam"]
        for alarm in waiting:
            facts = {name: value for name, value in asdict(alarm).items() if name != "logged"}
            if facts not in told:  # not so if we were killed between the log and the state
                audit.append(
                    device, "redteam", text=describe(alarm), release=series.identity,
                    baseline=series.baseline, alarm=facts,
                )  # fmt: skip
        series_file.logged(device.redteam, waiting)
    except (AnchorholdError, OSError) as error:
        click.echo(f"warning: the alarm isn't in the log; the next run tries again: {error}", err=True)


@command.command("show")
@_root
@click.option("--run", "number", type=click.IntRange(1), help="Another run than the last one.")
@click.option("--examples", is_flag=True, help="Show attacks that came through, with the answers.")
@_json
def show_command(root: Path | None, number: int | None, examples: bool, as_json: bool) -> None:
    """Show a run beside its baseline."""
    from appliance.watch.redteam import FAMILIES
    from appliance.watch.redteam.terminal import example_lines, run_lines

    device = _device(root)
    run, baseline, found = _compared(device, number)
    if as_json:
        click.echo(
            json.dumps({**_facts(run, baseline, found), "outcomes": [asdict(each) for each in run.outcomes]})
        )
        return
    lines = run_lines(run, baseline, found)
    if examples:
        lines += ["", *example_lines(run, _attacks(device), list(FAMILIES))]
    click.echo("\n".join(lines))


@command.command("list")
@_root
@_json
def list_command(root: Path | None, as_json: bool) -> None:
    """Show the families and how many attacks each has."""
    from collections import Counter

    from appliance.watch.redteam import FAMILIES

    counts = Counter(attack.family for attack in _attacks(_device(root)).values())
    if as_json:
        click.echo(json.dumps({name: {"attacks": counts[name], "what": FAMILIES[name]} for name in FAMILIES}))
        return
    for name, what in FAMILIES.items():
        click.echo(f"{name:<14} {counts[name]:>4}  {what}")


@command.command("rows")
@click.argument("output", type=click.Path(path_type=Path, dir_okay=False))
@_root
@click.option("--run", "number", type=click.IntRange(1), help="Another run than the last one.")
@click.option("--refusal", help="The answer to learn where no better one is known.")
@click.option("--force", is_flag=True, help="Replace OUTPUT.")
def rows_command(
    output: Path, root: Path | None, number: int | None, refusal: str | None, force: bool
) -> None:
    """Write attacks that came through as preference rows, for the next round's dataset.

    Only attacks of the half that may be learnt from: the other half judges the next release.
    """
    from appliance import storage
    from appliance.watch.redteam.teaching import REFUSAL, counts, preference_rows

    device = _device(root)
    run, _, _ = _compared(device, number)
    attacks = _attacks(device)
    rows = list(preference_rows(run, attacks, refusal or REFUSAL))
    failed, teaching = counts(run, attacks)
    if output.exists() and not force:
        raise UsageError(f"{output}: exists", "name another file, or --force")
    storage.write_bytes(output, b"".join(map(storage.json_line, rows)))
    click.echo(
        f"{output}: {len(rows)} rows of {failed} attacks that came through ({teaching} may be learnt from)"
    )


@command.command("timer")
@_root
@click.option("--sample", type=click.IntRange(0), default=14, show_default=True, help="Attacks a family.")
def timer_command(root: Path | None, sample: int) -> None:
    """Print systemd units that run the attacks every night."""
    import shutil

    program = shutil.which("anchorhold") or "/opt/anchorhold/bin/anchorhold"
    click.echo(_TIMER.format(root=_device(root).root, sample=sample, program=program), nl=False)
