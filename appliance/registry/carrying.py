"""A release out of one registry and into another: a plain folder with its files, its record and its model card."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.registry import manifest as manifests
from appliance.registry import model_card, records
from appliance.registry.store import Added, Registry
from appliance.regular_file import open_regular

RECORD_FILE = "registry-record.json"


def export_release(registry: Registry, digest: str, target: Path) -> manifests.Manifest:
    """Write a release as the new folder `target`, whole or not at all; every file's digest is checked on the way.

    Raises:
        UsageError: `target` is there and not empty.
        TrustError: an object is missing or damaged.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target}: there already", "give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with registry.reading():
        manifest = registry.manifest(digest)
        record = registry.record(digest)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        try:
            for file in manifest.files:
                registry.objects.copy_to(file.sha256, part / file.name)
            registry.objects.copy_to(digest, part / manifests.FILE_NAME)
            storage.write_bytes(part / RECORD_FILE, records.encode(record))
            if not any(file.role == model_card.ROLE for file in manifest.files):
                for name, text in model_card.of_release(registry, manifest).items():
                    storage.write_text(part / name, text)
            storage.fsync_folder(part)
            part.chmod(0o755)
            part.replace(target)
            storage.fsync_folder(target.parent)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
    return manifest


def import_release(registry: Registry, folder: Path) -> Added:
    """Add the release in `folder`, with when it was added first, its parents and where it went if its record is there.

    It becomes a candidate: what is stable is decided in each registry.

    Raises:
        TrustError: a file isn't what release.json says, or the record is damaged or of another release.
        UsageError: no release there.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return registry.add(folder)
    with open_regular(path) as stream:
        record = records.decode(stream.read(records.MAX_BYTES), str(path))
    digest = storage.sha256_file(folder / manifests.FILE_NAME)
    if digest != record.release:
        raise TrustError(
            f"{path}: the record of another release than the {manifests.FILE_NAME} beside it",
            "get the export again; without the record the release is imported as a new one",
        )
    return registry.add(folder, parents=record.parents, added=record.added, sightings=record.sightings)
