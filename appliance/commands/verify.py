"""`anchorhold verify`."""

from __future__ import annotations

from pathlib import Path

import click

_EPILOG = """\b
Example:
  anchorhold verify --project examples/workorders       # build/release of a project
  anchorhold verify /media/usb                          # a stick, on a device
  anchorhold verify exported-release --trust root.json  # a release's folder, anywhere
"""


@click.command("verify", epilog=_EPILOG)
@click.argument("path", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--project", "folder", type=click.Path(file_okay=False, path_type=Path), help="Whose keys to trust."
)
@click.option(
    "--trust", type=click.Path(dir_okay=False, path_type=Path), help="The root of trust to judge by."
)
@click.option("--root", type=click.Path(file_okay=False, path_type=Path), help="The device's folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(
    path: Path | None, folder: Path | None, trust: Path | None, root: Path | None, as_json: bool
) -> None:
    """Check the OMS signature (model.sig) of a release: on a stick, or in a folder.

    Every file is hashed and compared with what was signed; nothing may be changed, missing or added. The key must be
    one that the root of trust names for models: of --trust, of --project, or of this device. Other tools that know
    OpenSSF Model Signing can check the same file with the public key that --json shows.
    """
    import json
    import tempfile

    from appliance.errors import UsageError
    from appliance.paths import Device, Project
    from appliance.registry import signature
    from appliance.trust import keys, roots
    from appliance.update import model_signature
    from appliance.update.stick import check as check_stick

    project = Project.open(folder) if folder is not None else None
    place = path or (project.release if project is not None else None)
    if place is None:
        raise UsageError("what is to be verified?", "give a stick, a release's folder, or --project")
    if trust is None and project is not None:
        trust = project.keys / keys.ROOT_FILE
    device = Device(root) if root else Device.default()
    if (place / "metadata").is_dir():
        with tempfile.TemporaryDirectory(prefix="anchorhold-verify-") as nowhere:
            judge = device if trust is None else Device(Path(nowhere))  # a root that is given is no device's
            report = check_stick(place, judge, trust=trust, deep=True)
        named = roots.model_signing_keys(model_signature.newest_root(report))
        manifest, found = report.manifest, model_signature.check_stick(report)
        if found is None:
            raise UsageError(f"{place}: {report.name} {report.version} brings no model.sig", "write it anew")
        bundle = found
    else:
        trusted = model_signature.root_in(trust) if trust else model_signature.device_root(device)
        named = roots.model_signing_keys(trusted)
        manifest, bundle = signature.verify_folder(place, named)
    facts = {
        "release": f"{manifest.name} {manifest.version}",
        "files": len(bundle.files),
        "signed as": bundle.name,
        "key": bundle.hint,
        "public keys": [str(key.keyval["public"]) for key in named.values()],
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"{facts['release']}: model.sig holds; its {facts['files']} files are what was signed")
