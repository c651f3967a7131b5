"""What is measured: the base, asked plainly and with examples, and the tuned files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.config import EvaluationSection
from appliance.dataset import Row, is_canary
from appliance.errors import EvaluationError
from appliance.events import Emit
from appliance.paths import Project, cache_folder

Messages = list[dict[str, Any]]

BASE = "base"
BASE_SHOTS = "base_shots"
BASE_TOLD = "base_told"
TUNED_FULL = "tuned_f16"
SHIPPED = "shipped"


@dataclass(frozen=True)
class ModelFile:
    """A GGUF as it is measured.

    Attributes:
        path: where it is; only `name` is ever written down.
        sha256: of the file.
        bytes: its size.
        bits_per_weight: the true ones, over all weights; 0 when convert.json doesn't tell.
        called: its name where it lies under another one.
    """

    path: Path
    sha256: str
    bytes: int
    bits_per_weight: float = 0.0
    called: str = ""

    @property
    def name(self) -> str:
        """File name."""
        return self.called or self.path.name


@dataclass(frozen=True)
class System:
    """A model file and the way it is asked.

    Attributes:
        key: stable name in results.json.
        title: for people.
        file: what answers.
        prompt: row -> the conversation to answer.
        free: answers as it likes, where the others are held to the project's schema.
    """

    key: str
    title: str
    file: ModelFile
    prompt: Callable[[Row], Messages]
    free: bool = False


def plain_prompt(row: Row) -> Messages:
    """The row's conversation without its answer."""
    return [dict(message) for message in row.prompt]


def choose_examples(train: Sequence[Row], shots: int) -> list[Row]:
    """The training rows shown to the few-shot baseline: the first `shots` by the hash of their id."""
    shown = [row for row in train if not is_canary(row)]
    return sorted(shown, key=lambda row: storage.sha256_bytes(row.id.encode()))[:shots]


def few_shot_prompt(row: Row, examples: Sequence[Row], schema: dict[str, Any] | None) -> Messages:
    """The row asked with all the help that a prompt can give: schema in the system turn, then examples."""
    return with_examples(plain_prompt(row), examples, schema)


def with_examples(own: Messages, examples: Sequence[Row], schema: dict[str, Any] | None) -> Messages:
    """A conversation with all the help that a prompt can give: schema in the system turn, then examples."""
    own = [dict(message) for message in own]
    system = own.pop(0)["content"] if own[0]["role"] == "system" else ""
    if schema is not None:
        text = json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
        system = f"{system}\n\nAnswer only with JSON that satisfies this JSON Schema:\n{text}".strip()
    messages: Messages = [{"role": "system", "content": system}] if system else []
    for example in examples:
        messages += [dict(message) for message in example.messages if message["role"] != "system"]
    return messages + own


def _measured(path: Path, emit_hint: str) -> ModelFile:
    if not path.is_file():
        raise EvaluationError(f"{path}: no such file", emit_hint)
    return ModelFile(path, storage.sha256_file(path), path.stat().st_size)


def converted(project: Project) -> dict[str, Any]:
    """What convert.json says; empty where it can't be read."""
    try:
        record = json.loads((project.model / "convert.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def tuned_file(project: Project, quantization: str) -> ModelFile:
    """A converted file of the project, with its true bits per weight from convert.json.

    Raises:
        EvaluationError: not converted yet, or convert.json tells of another file.
    """
    path = project.gguf(quantization)
    hint = "convert the adapter first with `anchorhold convert`"
    file = _measured(path, hint)
    try:
        record = converted(project)["files"][quantization]
    except KeyError as error:
        raise EvaluationError(
            f"{project.model / 'convert.json'}: tells nothing of {path.name}", hint
        ) from error
    if record["sha256"] != file.sha256:
        raise EvaluationError(f"{path}: not the file that convert.json tells of; it was changed since", hint)
    return ModelFile(path, file.sha256, file.bytes, float(record["bits_per_weight"]))


def base_file(checkpoint: Path, emit: Emit, kind: str = "F16") -> ModelFile:
    """The base as a GGUF of one type, converted once and kept in the cache folder."""
    from appliance.base_model import identity
    from appliance.conversion import write_gguf

    who = storage.sha256_json(identity(checkpoint))[:16]
    path = cache_folder() / "base" / f"{who}-{kind.lower()}.gguf"
    if not path.is_file():
        write_gguf(checkpoint, path, quantization=kind, embeddings=kind, name="base", emit=emit)
    bits = {"F16": 16.0, "Q8_0": 8.5}.get(kind, 0.0)
    return ModelFile(path, storage.sha256_file(path), path.stat().st_size, bits)


def plan_systems(
    project: Project, checkpoint: Path, train: Sequence[Row], schema: dict[str, Any] | None, emit: Emit
) -> list[System]:
    """The systems to measure, the shipped one last.

    Raises:
        EvaluationError: a tuned file is missing.
    """
    from appliance.conversion import ships

    settings: EvaluationSection = project.config.evaluation
    shipped = ships(project).type
    systems = []
    if settings.baselines:
        base = base_file(checkpoint, emit)
        systems.append(System(BASE, "Base, asked plainly", base, plain_prompt, free=True))
        if settings.shots or schema is not None:
            examples = choose_examples(train, settings.shots)
            shown = " and ".join(
                filter(None, ["schema" if schema else "", f"{len(examples)} examples" if examples else ""])
            )
            systems.append(
                System(
                    BASE_SHOTS,
                    f"Base, with {shown} in the prompt",
                    base,
                    lambda row: few_shot_prompt(row, examples, schema),
                )
            )
    if shipped != "F16":
        systems.append(System(TUNED_FULL, "Tuned, F16", tuned_file(project, "F16"), plain_prompt))
    systems.append(System(SHIPPED, f"Tuned, {shipped} (ships)", tuned_file(project, shipped), plain_prompt))
    return systems
