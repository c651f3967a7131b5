"""The stop "convert": the base and the project's adapter become the GGUF files that ship."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import storage
from appliance.errors import ConversionError
from appliance.events import Emit, Event, ignore
from appliance.paths import Project

if TYPE_CHECKING:
    from convert.to_gguf import Conversion

STAGE = "convert"


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
    """Turn the convert package's error into the product's."""
    from convert.errors import ConvertError

    try:
        yield
    except ConvertError as error:
        raise ConversionError(error.message, error.hint) from error


def write_gguf(
    checkpoint: Path,
    output: Path,
    *,
    adapter: Path | None = None,
    quantization: str = "Q4_0",
    embeddings: str = "Q8_0",
    name: str = "",
    metadata: dict[str, str] | None = None,
    pre: str = "",
    emit: Emit = ignore,
) -> Conversion:
    """`convert.to_gguf.convert` with the product's events and errors.

    Raises:
        ConversionError: the model or adapter can't be converted; nothing was written.
    """
    from convert import to_gguf

    def progress(tensor: str, done: int, total: int) -> None:
        emit(Event(STAGE, "progress", tensor, done, total, "weights"))

    emit(Event(STAGE, "started", f"writing {output.name} as {quantization}"))
    with reported_errors():
        written = to_gguf.convert(
            checkpoint,
            output,
            adapter=adapter,
            quantization=quantization,
            embeddings=embeddings,
            name=name,
            metadata=metadata,
            pre=pre,
            progress=progress,
        )
    emit(Event(STAGE, "finished", describe(written), data=as_data(written)))
    return written


def describe(written: Conversion) -> str:
    """One line for a person."""
    types = ", ".join(f"{count} {name}" for name, count in sorted(written.tensors.items()))
    size = f"{written.bytes / 1e6:.1f} MB, {written.bits_per_weight:.2f} bits per weight"
    return f"{written.path.name}: {size} ({types} tensors), {written.seconds:.1f} s"


def as_data(written: Conversion) -> dict[str, Any]:
    """What is recorded of a file in build/model/convert.json; equal for equal files."""
    return {
        "file": written.path.name,
        "sha256": written.sha256,
        "bytes": written.bytes,
        "bits_per_weight": round(written.bits_per_weight, 4),
        "parameters": written.parameters,
        "tensors": dict(sorted(written.tensors.items())),
    }


def convert_project(
    project: Project, types: Sequence[str] = (), *, base_only: bool = False, emit: Emit = ignore
) -> dict[str, Conversion]:
    """Convert a project's base with its adapter.

    Args:
        project: its adapter must have been trained.
        types: quantization types; by default F16 (to measure what INT4 loses) and the one that ships.
        base_only: leave the adapter out and write `base-TYPE.gguf`, for measuring against.
        emit: progress.

    Returns:
        By type. Unless `base_only`, build/model/convert.json lists the files too (docs/formats.md), beside those of
        other types made of the same base, adapter and settings.

    Raises:
        ConversionError: no adapter yet, or one that doesn't fit.
    """
    from appliance import base_model

    settings = project.config
    adapter = None if base_only else project.adapter
    if adapter is not None and not (adapter / "adapter_config.json").is_file():
        raise ConversionError(f"{adapter}: no adapter there", "`anchorhold train` makes it")
    checkpoint = base_model.resolve(settings.base.path, project.root, emit)
    done: dict[str, Conversion] = {}
    for kind in dict.fromkeys(each.upper() for each in types or ("F16", settings.convert.type)):
        output = project.model / f"base-{kind.lower()}.gguf" if base_only else project.gguf(kind)
        metadata = {} if base_only else {"general.version": settings.project.version}
        if not base_only and settings.project.description:
            metadata["general.description"] = settings.project.description
        done[kind] = write_gguf(
            checkpoint,
            output,
            adapter=adapter,
            quantization=kind,
            embeddings=settings.convert.embeddings,
            name="" if base_only else settings.project.name,
            metadata=metadata,
            emit=emit,
        )
    if not base_only:
        inputs = _inputs_digest(project, checkpoint, adapter)
        files = _still_there(project, inputs) | {kind: as_data(each) for kind, each in done.items()}
        record = {"format": 1, "inputs": inputs, "files": dict(sorted(files.items()))}
        storage.write_json(project.model / "convert.json", record)
    return done


def _inputs_digest(project: Project, checkpoint: Path, adapter: Path | None) -> str:
    """Of all that the files of every type are made from."""
    from appliance import base_model

    base = base_model.identity(checkpoint)
    return storage.sha256_json(
        {
            "base": [base[name] for name in ("weights", "config", "tokenizer")],
            "adapter": storage.sha256_tree(adapter) if adapter is not None else "",
            "embeddings": project.config.convert.embeddings,
            "project": project.config.project.model_dump(),
        }
    )


def _still_there(project: Project, inputs: str) -> dict[str, Any]:
    """What convert.json says of files that are as it says, and that would be made of the same today."""
    try:
        record = json.loads((project.model / "convert.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}  # it only lists; what it no longer tells of is converted again
    if record.get("inputs") != inputs:
        return {}
    return {
        kind: entry
        for kind, entry in record["files"].items()
        if project.gguf(kind).is_file() and storage.sha256_file(project.gguf(kind)) == entry["sha256"]
    }
