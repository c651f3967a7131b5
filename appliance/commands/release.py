"""`anchorhold release`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.commands.common import project_option
from appliance.commands.key_options import secrets_options

if TYPE_CHECKING:
    from appliance.trust.unlocking import Secrets

_EPILOG = """\b
Example:
  anchorhold release --project examples/workorders
"""


@click.command("release", epilog=_EPILOG)
@project_option
@secrets_options
def command(folder: Path, secrets: Secrets) -> None:
    """Put model, report and provenance together under one version.

    Writes build/release/ with release.json, whose SHA-256 is the release's digest: made again from equal
    inputs it is the same. Where there is a key that signs models, and its passphrase or PIN needn't be asked for,
    it is signed in the OMS format (model.sig, which `anchorhold verify` checks); `anchorhold stick write` does the
    same, and signs what devices trust. The version is the one in anchorhold.toml.
    """
    from appliance.base_model import resolve
    from appliance.events import Event
    from appliance.paths import Project
    from appliance.pipeline import Journey, run_stage
    from appliance.pipeline.road import index_documents
    from appliance.registry import version
    from appliance.registry.recording import Recorded, advice, record_release
    from appliance.registry.release import Release, assemble
    from appliance.registry.signature import sign_folder
    from appliance.trust import keys

    project = Project.open(folder)
    checkpoint = resolve(project.config.base.path, project.root)
    made: list[tuple[Release, Recorded]] = []

    def tell(event: Event) -> None:
        if event.kind == "warning":
            click.echo(f"warning: {event.text}", err=True)

    def action() -> None:
        index_documents(project, tell)
        release = assemble(project, tell)
        made.append((release, record_release(release, tell)))

    run_stage(Journey(project, checkpoint, tell), "release", action)
    ((release, recorded),) = made
    if (project.keys / keys.ROOT_FILE).exists():
        key = keys.unlock_model_signing(project.keys, secrets, at_hand=True)
        if key is not None:
            sign_folder(release.folder, key)
    click.echo(f"{release.manifest.name} {release.manifest.version}")
    click.echo(f"digest  {release.digest}")
    for file in release.manifest.files:
        click.echo(f"{file.role:<7} {file.name}  {file.bytes} bytes")
    if recorded.proposal is not None:
        click.echo(advice(release, recorded.proposal))
        return
    following = version.propose_next(version.parse(release.manifest.version))
    click.echo(f"the next release could be {following}")
