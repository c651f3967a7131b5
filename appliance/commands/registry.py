"""`anchorhold registry`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.commands.common import project_option

if TYPE_CHECKING:
    from appliance.registry.store import Added, Registry

_EPILOG = """\b
Example:
  anchorhold registry list
  anchorhold registry show station@stable
  anchorhold registry diff station@1.0.0 station
  anchorhold registry promote station@1.1.0
"""
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("registry", epilog=_EPILOG)
@click.option(
    "--registry",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The registry's folder (default: $ANCHORHOLD_REGISTRY, else ~/.local/share/anchorhold/registry).",
)
@click.pass_context
def command(ctx: click.Context, folder: Path | None) -> None:
    """Keep releases: what each was made of, how it did, and where it went.

    `anchorhold release` and `build` add what they make. RELEASE is NAME (the one added last), NAME@VERSION,
    NAME@stable, or the beginning of a digest. Nothing in it is lost by a kill or by two programs at once.
    """
    ctx.obj = folder


def _open(ctx: click.Context) -> Registry:
    from appliance.paths import registry_folder
    from appliance.registry.store import Registry

    registry = Registry(ctx.obj or registry_folder())
    ctx.call_on_close(registry.close)
    return registry


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _how(added: Added) -> str:
    if added.new:
        return "added"
    return f"was there, damaged files put right ({added.files})" if added.files else "was there already"


@command.command("list")
@click.argument("name", default="")
@click.option("--channel", type=click.Choice(["candidate", "stable"]), help="Only releases of this channel.")
@_json_option
@click.pass_context
def list_releases(ctx: click.Context, name: str, channel: str | None, as_json: bool) -> None:
    """List the releases, all or those called NAME: by name, the newest version first."""
    from dataclasses import asdict

    registry = _open(ctx)
    index = registry.index()
    found = index.listed(name, channel or "")
    if as_json:
        lines = ",\n".join(json.dumps(asdict(each), ensure_ascii=False) for each in found)
        click.echo(f"[{lines}]")
    elif found:
        width = max(len(each.name) for each in found)
        click.echo(
            "\n".join(
                f"{each.name:<{width}}  {each.version:<10} {each.channel:<9}  {each.added}  "
                f"{_megabytes(each.bytes):>10}  {each.digest[:12]}"
                for each in found
            )
        )
    else:
        click.echo(f"no releases in {registry.folder}", err=True)
    for digest, reason in index.unreadable().items():
        click.echo(f"warning: release {digest[:12]} can't be read: {reason}", err=True)


@command.command()
@click.argument("source", required=False, type=click.Path(path_type=Path, file_okay=False))
@project_option
@click.option(
    "--parent", "parents", multiple=True, help="A release that it follows (default: the last of its name)."
)
@click.pass_context
def add(ctx: click.Context, source: Path | None, folder: Path, parents: tuple[str, ...]) -> None:
    """Add the release in the folder SOURCE (default: the project's build/release).

    Each file is checked against release.json. A release that is there already is left as it is, but for damaged files,
    which are put right.
    """
    if source is None:
        from appliance.paths import Project

        source = Project.open(folder).release
    with _open(ctx) as registry:
        known = [registry.find(word).digest for word in parents] or None
        added = registry.add(source, parents=known)
    what = (
        "added"
        if added.new
        else f"was there already, {added.files} files put right"
        if added.files
        else "is there"
    )
    click.echo(f"{added.manifest.name} {added.manifest.version} {what}: {added.digest}")


@command.command()
@click.argument("release")
@click.option(
    "--to", "channel", type=click.Choice(["candidate", "stable"]), default="stable", show_default=True
)
@click.pass_context
def promote(ctx: click.Context, release: str, channel: str) -> None:
    """Put RELEASE into a channel, where it is the newest from now on (`--to candidate` takes it back)."""
    from appliance.registry.records import CHANNELS

    with _open(ctx) as registry:
        found = registry.find(release)
        record = registry.promote(found.digest, next(each for each in CHANNELS if each == channel))
    click.echo(f"{found.name} {found.version} is {record.channel}: {found.digest}")


@command.command()
@click.argument("release")
@_json_option
@click.pass_context
def show(ctx: click.Context, release: str, as_json: bool) -> None:
    """Show what RELEASE was made of, where it went, and its model card."""
    from dataclasses import asdict

    from appliance.registry import model_card
    from appliance.registry.lineage import ancestors, edges
    from appliance.registry.lineage_lines import release_lines
    from appliance.visible import visible

    with _open(ctx) as registry:
        found = registry.find(release)
        manifest, record = registry.manifest(found.digest), registry.record(found.digest)
        if as_json:
            _print_json(
                {
                    **asdict(found),
                    "record": asdict(record),
                    "made_of": ancestors(manifest),
                    "lineage": [list(edge) for edge in edges(record, manifest)],
                    "files": [asdict(file) for file in manifest.files],
                    "evaluation": manifest.raw.get("evaluation"),
                }
            )
            return
        click.echo(f"{found.name} {found.version}  {found.channel}, added {found.added}")
        for line in release_lines(registry, found.digest):
            click.echo(visible(line, 0))
        click.echo()
        for line in model_card.of(registry, manifest).splitlines():
            click.echo(visible(line, 0))


@command.command()
@click.argument("thing")
@_json_option
@click.pass_context
def lineage(ctx: click.Context, thing: str, as_json: bool) -> None:
    """Show what THING came of, and what came of it: a release, the beginning of any digest, a stick or a device.

    Datasets and bases lead to adapters, these to model files, these to releases, and these to the sticks and devices
    that they went to.
    """
    from appliance.registry.lineage_lines import graph_of, tree_lines
    from appliance.visible import visible

    with _open(ctx) as registry:
        found = graph_of(registry, thing)
        if as_json:
            _print_json(
                {"nodes": [list(node) for node in found.nodes], "edges": [list(e) for e in found.edges]}
            )
            return
        for line in tree_lines(registry, found):
            click.echo(visible(line, 0))


@command.command()
@click.argument("release")
@click.option("--device", help="A device that runs it.")
@click.option("--stick", help="A stick that it was copied to.")
@click.option("--by", default="", help="Who says so.")
@click.pass_context
def sight(ctx: click.Context, release: str, device: str | None, stick: str | None, by: str) -> None:
    """Note that RELEASE went somewhere that the registry wasn't told of.

    `anchorhold stick write` tells it by itself, and `install` on a machine that has a registry. Told again, the place
    gets its new time.
    """
    from appliance.errors import UsageError
    from appliance.registry.records import Sighting
    from appliance.registry.store import now

    name = (device or stick or "").strip()
    if not name or (device and stick):
        raise UsageError("name one place", "give --device NAME or --stick NAME")
    with _open(ctx) as registry:
        found = registry.find(release)
        registry.sight(found.digest, Sighting("device" if device else "stick", name, now(), by))
    click.echo(f"{found.name} {found.version}: {'device' if device else 'stick'} {name}")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


@command.command()
@click.argument("first")
@click.argument("second")
@_json_option
@click.pass_context
def diff(ctx: click.Context, first: str, second: str, as_json: bool) -> None:
    """Compare two releases: what changed, how the figures moved, which bytes differ.

    A figure is called higher or lower only where the 95 % intervals don't meet, and only if both were asked the same.
    """
    from dataclasses import asdict

    from appliance.registry.comparing import compare
    from appliance.visible import visible

    with _open(ctx) as registry:
        one, other = registry.find(first), registry.find(second)
        found = compare(registry, one.digest, other.digest)
    if as_json:
        _print_json({"first": one.digest, "second": other.digest, **asdict(found)})
        return
    click.echo(f"first   {one.name} {one.version}  {one.digest}")
    click.echo(f"second  {other.name} {other.version}  {other.digest}")
    for size, text in found.changes:
        click.echo(f"{size:<7} {visible(text, 0)}")
    if not found.changes:
        click.echo("nothing differs but the version" if one.digest != other.digest else "the same release")
    if found.figures:
        click.echo("\nfigures                                        first   second")
    for each in found.figures:
        label = visible(f"{each.suite} · {each.system} · {each.metric}", 44)
        click.echo(f"  {label:<44} {_figure(each.first):>6}   {_figure(each.second):>6}  {each.verdict}")
    click.echo("\nfiles")
    for file in found.files:
        sizes = " -> ".join("none" if size is None else f"{size} bytes" for size in (file.first, file.second))
        click.echo(f"  {visible(file.name):<28} {'equal' if file.equal else 'differs'}  {sizes}")
    tensors = found.tensors
    if tensors.fault:
        click.echo(f"\ntensors: not compared: {visible(tensors.fault, 0)}")
    elif tensors.changes or tensors.metadata or tensors.equal:
        click.echo(f"\ntensors: {tensors.equal} equal, {len(tensors.changes)} differ")
        for change in tensors.changes:
            click.echo(f"  {visible(change.name):<32} {change.what}")
        for key in tensors.metadata:
            click.echo(f"  metadata {visible(key)} differs")


@command.command()
@click.option(
    "--keep", type=int, default=5, show_default=True, help="Releases of each name to keep, the last ones."
)
@click.option("--delete", is_flag=True, help="Do it. Without this nothing is changed.")
@_json_option
@click.pass_context
def gc(ctx: click.Context, keep: int, delete: bool, as_json: bool) -> None:
    """Say which releases and objects nobody needs any more; with --delete, remove them.

    The last releases of each name stay, and every one that is stable or went to a stick or a device. An object goes
    only if no remaining release refers to it. Whoever adds meanwhile waits.
    """
    from appliance.registry.collecting import collect, plan

    with _open(ctx) as registry:
        found = collect(registry, keep) if delete else plan(registry, keep)
    if as_json:
        _print_json(
            {
                "deleted": delete,
                "releases": [
                    {
                        "digest": each.record.release,
                        "name": each.manifest.name,
                        "version": each.manifest.version,
                    }
                    for each in found.releases
                ],
                "objects": sorted(found.objects),
                "bytes": found.bytes,
                "leftovers": found.leftovers,
            }
        )
        return
    for each in found.releases:
        click.echo(f"{'removed' if delete else 'would remove'} {each.title}  {each.record.release}")
    click.echo(f"{len(found.releases)} releases, {len(found.objects)} objects, {_megabytes(found.bytes)}")
    if not delete and (found.releases or found.objects or found.leftovers):
        click.echo("nothing was changed; `anchorhold registry gc --delete` does it")


@command.command("export")
@click.argument("release")
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def export_release(ctx: click.Context, release: str, target: Path) -> None:
    """Write RELEASE as the new folder TARGET, to take elsewhere; every file is checked on the way."""
    from appliance.registry.carrying import export_release as export

    with _open(ctx) as registry:
        manifest = export(registry, registry.find(release).digest, target)
    click.echo(f"{target}: {manifest.name} {manifest.version}, {len(manifest.files)} files")


@command.command("import")
@click.argument("source", type=click.Path(path_type=Path, file_okay=False))
@click.pass_context
def import_release(ctx: click.Context, source: Path) -> None:
    """Take in the exported release in the folder SOURCE, as a candidate; every file is checked."""
    from appliance.registry.carrying import import_release as take_in

    with _open(ctx) as registry:
        added = take_in(registry, source)
    click.echo(f"{added.manifest.name} {added.manifest.version} {_how(added)}: {added.digest}")


@command.command()
@click.option("--quick", is_flag=True, help="Sizes only: don't read every byte.")
@click.option("--rebuild", is_flag=True, help="First make the index again from records and objects.")
@_json_option
@click.pass_context
def verify(ctx: click.Context, quick: bool, rebuild: bool, as_json: bool) -> None:
    """Check every record, every object's bytes and the index; say what is wrong and what to do.

    Ends with exit code 8 where something is wrong.
    """
    from dataclasses import asdict

    from appliance.errors import ExitCode
    from appliance.progress import terminal_progress
    from appliance.registry.checking import verify as check
    from appliance.visible import visible

    with _open(ctx) as registry, terminal_progress() as emit:
        if rebuild:
            registry.rebuild()
        report = check(registry, emit, quick=quick)
    if as_json:
        _print_json(asdict(report))
    else:
        for fault in report.faults:
            click.echo(f"fault: {visible(fault.text, 0)}\n  {visible(fault.todo, 0)}")
        click.echo(
            f"{report.releases} releases, {report.objects} objects, {_megabytes(report.bytes)}: "
            + (
                f"{len(report.faults)} {'fault' if len(report.faults) == 1 else 'faults'}"
                if report.faults
                else "all as it should be"
            )
        )
        if report.unreferred:
            size = _megabytes(sum(report.unreferred.values()))
            click.echo(
                f"{len(report.unreferred)} objects belong to no release ({size}): `anchorhold registry gc`"
            )
    if report.faults:
        ctx.exit(int(ExitCode.TRUST))
