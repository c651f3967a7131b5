"""The stop "convert": the base and the project's adapter become the GGUF files that ship."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from appliance import storage
from appliance.errors import ConversionError
from appliance.events import Emit, Event, ignore
from appliance.paths import Project

if TYPE_CHECKING:
    from convert.to_gguf import Conversion, Quantize

STAGE = "convert"
AUTO = "auto"


@dataclass(frozen=True)
class Choice:
    """Types of a file: one for its matrices, and (pattern over GGUF names, type) for those that take another."""

    type: str
    overrides: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return self.type + "".join(f", {pattern} as {kind}" for pattern, kind in self.overrides)

    @classmethod
    def of(cls, record: dict[str, Any]) -> Choice:
        """From what `asdict` made of one, read back from JSON."""
        return cls(record["type"], tuple((pattern, kind) for pattern, kind in record["overrides"]))


def frontier_file(project: Project) -> Path:
    """What was found when the types were measured."""
    return project.build / "frontier" / "frontier.json"


def ships(project: Project) -> Choice:
    """What the project's shipped file is made of.

    Raises:
        ConversionError: the configuration leaves it to the frontier, which has not been measured yet.
    """
    settings = project.config.convert
    if settings.type != AUTO:
        return Choice(settings.type, tuple(project.config.parts_of(settings.type).items()))
    try:
        record = json.loads(frontier_file(project).read_text(encoding="utf-8"))
        return Choice.of(record["chosen"])
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            "which type ships is not known yet",
            "`anchorhold convert` without --type measures the types and chooses one",
        ) from error


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
    overrides: dict[str, str] | None = None,
    name: str = "",
    metadata: dict[str, str] | None = None,
    pre: str = "",
    quantize: Quantize | None = None,
    like: Path | None = None,
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
            overrides=overrides,
            name=name,
            metadata=metadata,
            pre=pre,
            progress=progress,
            quantize=quantize or to_gguf.as_libggml,
            like=like,
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


def file_settings(project: Project) -> dict[str, Any]:
    """What all files of a project's tuned model have in common, as arguments of `write_gguf`.

    Raises:
        ConversionError: no adapter yet.
    """
    settings = project.config
    if not (project.adapter / "adapter_config.json").is_file():
        raise ConversionError(f"{project.adapter}: no adapter there", "`anchorhold train` makes it")
    metadata = {"general.version": settings.project.version}
    if settings.project.description:
        metadata["general.description"] = settings.project.description
    return {
        "adapter": project.adapter,
        "embeddings": settings.convert.embeddings,
        "name": settings.project.name,
        "metadata": metadata,
        "like": like_file(project),
    }


def like_file(project: Project) -> Path | None:
    """The model whose rounding is taken over where nothing was learnt (`convert.like`).

    Raises:
        UsageError: there is none of this name.
    """
    word = project.config.convert.like
    if not word:
        return None
    from appliance.update.delta_publishing import find_base

    return find_base(str(project.root / word) if (project.root / word).exists() else word)


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
    from appliance.rounding import Rounding

    settings = project.config.convert
    common: dict[str, Any] = {"embeddings": settings.embeddings} if base_only else file_settings(project)
    checkpoint = base_model.resolve(project.config.base.path, project.root, emit)
    shipped = Choice("F16") if base_only else ships(project)
    rounding = None if base_only else Rounding(project, checkpoint, emit)
    done: dict[str, Conversion] = {}
    rounded: dict[str, str] = {}
    for kind in dict.fromkeys(each.upper() for each in types or ("F16", shipped.type)):
        output = project.model / f"base-{kind.lower()}.gguf" if base_only else project.gguf(kind)
        overrides = dict(shipped.overrides) if kind == shipped.type else project.config.parts_of(kind)
        if rounding is not None:
            rounding.prepare(kind, overrides)
        done[kind] = write_gguf(
            checkpoint, output, **common, quantization=kind, overrides=overrides, quantize=rounding, emit=emit
        )
        rounded[kind] = rounding.name if rounding is not None else ""
    if not base_only:
        inputs = inputs_digest(project, checkpoint)
        files = _still_there(project, inputs) | {
            kind: as_data(each) | {"rounding": rounded[kind]} for kind, each in done.items()
        }
        record = {"format": 1, "inputs": inputs, "files": dict(sorted(files.items()))}
        storage.write_json(project.model / "convert.json", record)
    return done


def inputs_digest(project: Project, checkpoint: Path) -> str:
    """Of all that the files of every type are made from."""
    from appliance import base_model

    base = base_model.identity(checkpoint)
    rows = project.dataset / "train.jsonl"
    known = storage.sha256_file(rows) if project.config.compensates and rows.is_file() else ""
    return storage.sha256_json(
        {
            "base": [base[name] for name in ("weights", "config", "tokenizer")],
            "adapter": storage.sha256_tree(project.adapter),
            "embeddings": project.config.convert.embeddings,
            "ships": asdict(ships(project)),
            "rounding": [project.config.compensates, known],
            **({"like": storage.sha256_file(like)} if (like := like_file(project)) else {}),
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
