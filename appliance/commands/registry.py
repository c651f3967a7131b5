"""`anchorhold registry`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.commands.common import project_option

if TYPE_CHECKING:
    from appliance.registry.store import Registry

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
