"""Deltas of a release on their way to a stick: made of models that devices have, signed as targets of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tuf.api.metadata import TargetFile

from appliance.errors import UpdateError, UsageError
from appliance.events import Emit, Event
from appliance.paths import registry_folder
from appliance.registry import manifest as manifests
from appliance.registry.store import Registry
from appliance.trust import limits
from appliance.update import delta_making, parts
from appliance.update.target_files import DELTA_ROLE, custom_of, target_path

_SPARE = 64 * limits.KIB  # what a delta of the largest size grows by at most when it is encrypted


def find_base(word: str) -> Path:
    """The model that `word` names: a GGUF file, a release's folder, or a release in the user's registry.

    Raises:
        UsageError: none of them.
        TrustError: the release's folder isn't one.
    """
    path = Path(word)
    if path.is_dir() and (path / manifests.FILE_NAME).is_file():
        return path / manifests.parse((path / manifests.FILE_NAME).read_bytes()).model.name
    if path.is_file():
        return path
    if not registry_folder().is_dir():
        raise UsageError(f"{word}: no such file", "give a GGUF file, a release's folder, or NAME@VERSION")
    with Registry(registry_folder()) as registry:
        manifest = registry.manifest(registry.find(word).digest)
        return registry.objects.path(manifest.model.sha256)


class Workplace:
    """A folder for deltas while a stick is written; made when it is needed."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    def __enter__(self) -> Workplace:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Of a new file."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="anchorhold-delta-"))
        return self._folder / name


def _result_chunks(entries: parts.Entries, path: str) -> list[str]:
    """Signed digests of each 64 MiB of the file with this target path, whether it is whole or in parts."""
    found = [(piece.offset, custom_of(entry)["chunks"]) for piece, entry in _whole(entries, path).values()]
    return [chunk for _, chunks in sorted(found) for chunk in chunks]


def _whole(entries: parts.Entries, path: str) -> parts.Entries:
    return {
        name: each for name, each in entries.items() if name == path or custom_of(each[1]).get("of") == path
    }


def add(
    entries: parts.Entries,
    release: Path,
    manifest: manifests.Manifest,
    bases: Sequence[Path],
    workplace: Workplace,
    emit: Emit,
    *,
    whole: bool,
) -> None:
    """Add to `entries` what makes the release's model of each of `bases`; one that saves nothing is left out.

    Args:
        entries: of the release by target path; changed.
        release: its folder.
        workplace: where the deltas lie until they are on the stick.
        emit: told what each comes to.
        whole: False takes the model itself out.

    Raises:
        ModelError: a base or the model is no GGUF file.
        UpdateError: no delta is left, and the model was to stay out.
    """
    model = manifest.model
    path = target_path(manifest.name, manifest.version, model.name)
    chunks, added = _result_chunks(entries, path), 0
    for number, base in enumerate(bases):
        output = workplace.path(f"{number}.delta")
        emit(Event("stick", "message", f"making a delta from {base.name}"))
        made = delta_making.make(base, release / model.name, output)
        if made.head.sha256 != model.sha256:
            raise UpdateError(
                f"{release / model.name}: not what release.json says", "run `anchorhold release` again"
            )
        share = made.bytes / model.bytes
        if made.head.base_sha256 == model.sha256:
            emit(Event("stick", "warning", f"{base}: is the release's own model, so no delta is made"))
            continue
        if made.bytes >= model.bytes or made.bytes + _SPARE > limits.PART_BYTES:
            text = f"{base}: a delta would take {made.bytes} bytes, the model {model.bytes}: it is left out"
            emit(Event("stick", "warning", text))
            continue
        custom = {
            "role": DELTA_ROLE,
            "of": path,
            "base": made.head.base_sha256,
            "base_bytes": made.head.base_bytes,
            "result_chunks": chunks,
        }
        described = parts.describe(output, f"{path}.delta-{made.head.base_sha256[:12]}", custom)
        entries.update(described.pieces)
        added += 1
        differing = len(made.tensors)
        text = f"delta from {base.name}: {made.bytes} bytes, {share:.1%} of the model; {differing} tensors differ"
        emit(
            Event(
                "stick",
                "message",
                text,
                data={"bytes": made.bytes, "share": share, "tensors": list(made.tensors)},
            )
        )
    if whole:
        return
    if not added:
        raise UpdateError("there is no delta to go onto the stick alone", "leave --delta-only out")
    for name in _whole(entries, path):
        if custom_of(entries[name][1])["role"] != DELTA_ROLE:
            del entries[name]


def remove_release(files: dict[str, TargetFile], manifest: manifests.Manifest) -> dict[str, TargetFile]:
    """Take what lies on a stick of a release already out of its files, and return it.

    A path that another release on the stick may claim (their names and files' names run together) stays, so that
    `parts.check_names` refuses it.
    """
    listed = (manifests.FILE_NAME, *(file.name for file in manifest.files))
    releases = [custom_of(entry) for entry in files.values() if custom_of(entry).get("role") == "manifest"]
    others = tuple(
        target_path(custom["name"], custom["version"], "")
        for custom in releases
        if (custom["name"], custom["version"]) != (manifest.name, manifest.version)
    )
    paths = {target_path(manifest.name, manifest.version, name) for name in listed}
    paths = {path for path in paths if not path.startswith(others)}
    former = [name for name in files if name in paths or custom_of(files[name]).get("of") in paths]
    return {name: files.pop(name) for name in former}
