"""Assembling a release: `build/release/` with release.json and the files that it lists.

release.json holds no time and no path, so equal inputs give equal bytes, and its digest is the release's.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__, storage
from appliance.errors import UpdateError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.registry import bill_of_materials, build_statement, gating, model_card
from appliance.registry import manifest as manifests
from appliance.registry import version as versions

_MIB = 1024 * 1024
_ENGINE_BYTES = 512 * _MIB  # caches and buffers of eight sequences of 2048 tokens, beside the model itself
_CONTEXT_STEP = 256  # tokens
_TURN_TOKENS = 16  # the opening of the answer's turn, which no row's length counts
_LIBRARIES = ("llama-cpp-python", "torch", "transformers", "peft", "tuf", "cryptography")


@dataclass(frozen=True)
class Release:
    """An assembled release: its folder, its checked manifest, and `digest`, the SHA-256 of release.json."""

    folder: Path
    digest: str
    manifest: manifests.Manifest


def _read(path: Path, verb: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UpdateError(f"{path}: missing", f"`anchorhold {verb}` makes it") from error
    except ValueError as error:
        raise UpdateError(f"{path}: damaged ({error})", f"run `anchorhold {verb}` again") from error


def _library_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # a builder without the training set may still release
    return found


def _template_digest(model: Path) -> str | None:
    from convert import gguf_file

    template = gguf_file.read(model).get("tokenizer.chat_template")
    return storage.sha256_bytes(template.encode()) if isinstance(template, str) else None


def _scores(results: dict[str, Any]) -> list[dict[str, Any]]:
    kept = ("key", "title", "rows", "exact", "valid", "ended", "f1")
    return [{name: system.get(name) for name in kept} for system in results.get("systems", [])]


def _training(facts: dict[str, Any]) -> dict[str, Any]:
    kept = ("adapter_sha256", "steps", "best_step", "best_loss", "rows", "tokens", "dtype")
    return {name: facts[name] for name in kept if name in facts}  # its timings differ from run to run


def _golden(project: Project) -> list[dict[str, Any]]:
    golden = _read(project.evaluation / "golden.json", "evaluate")
    if not isinstance(golden, list):
        raise UpdateError(
            f"{project.evaluation / 'golden.json'}: not a list", "run `anchorhold evaluate` again"
        )
    limit = project.config.evaluation.max_tokens
    return [{"messages": item["messages"], "answer": item["answer"], "max_tokens": limit} for item in golden]


def _context(card: dict[str, Any], max_tokens: int) -> int:
    """Tokens that the longest row and the longest answer need; at least what a device takes anyway."""
    longest = max((int(lengths["max"]) for lengths in card.get("tokens", {}).values()), default=0)
    need = -(-(longest + _TURN_TOKENS + max_tokens) // _CONTEXT_STEP) * _CONTEXT_STEP
    return max(manifests.DEFAULT_CONTEXT, need)


def _parameters(project: Project) -> dict[str, Any]:
    """What the builder chose; sections that name no folders of this machine."""
    settings = project.config
    return {
        "training": settings.training.model_dump(mode="json"),
        "convert": settings.convert.model_dump(mode="json"),
    }


def _write(folder: Path, name: str, data: bytes, role: str) -> dict[str, Any]:
    storage.write_bytes(folder / name, data)
    return {"name": name, "role": role, "sha256": storage.sha256_bytes(data), "bytes": len(data)}


def _place(source: Path, folder: Path, name: str, role: str) -> dict[str, Any]:
    destination = folder / name
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)  # another file system
    return _described(destination, role)


def _described(file: Path, role: str) -> dict[str, Any]:
    return {
        "name": file.name,
        "role": role,
        "sha256": storage.sha256_file(file),
        "bytes": file.stat().st_size,
    }


def _baseline(project: Project, folder: Path, emit: Emit) -> list[dict[str, Any]]:
    """What the device holds its inputs against, made of the training rows; nothing where they are too few or gone."""
    from appliance.watch import baseline

    if not (project.dataset / "train.jsonl").is_file():
        text = "no training rows are left here: the device will learn what is usual from its first requests"
        emit(Event("release", "warning", text))
        return []
    made = baseline.baseline_of(
        _prompts(project.dataset / "train.jsonl", baseline.MOST_ROWS),
        lambda done, total: emit(Event("release", "progress", "", done=done, total=total, unit="rows")),
    )
    if made is None:
        return []
    storage.write_bytes(folder / baseline.FILE_NAME, storage.canonical_json(made.to_json()))
    return [_described(folder / baseline.FILE_NAME, manifests.BASELINE_ROLE)]


def _prompts(path: Path, most: int) -> list[str]:
    """The last message of the user in each row; of more rows than `most`, an even choice."""
    try:
        with path.open("rb") as lines:
            step = max(1.0, sum(1 for _ in lines) / most)
            chosen = {int(number * step) for number in range(most)}
            lines.seek(0)
            rows = [json.loads(line) for number, line in enumerate(lines) if number in chosen]
        asked = [[turn["content"] for turn in row["messages"] if turn["role"] == "user"] for row in rows]
    except (ValueError, KeyError, TypeError) as error:
        raise UpdateError(f"{path}: damaged ({error})", "run `anchorhold dataset` again") from error
    return [turns[-1] for turns in asked if turns]


@dataclass(frozen=True)
class _Left:
    """What the stages before have left: the model with its entry in convert.json, and the JSON of each stage."""

    model: Path
    converted: dict[str, Any]
    results: dict[str, Any]
    card: dict[str, Any]
    training: dict[str, Any]
    golden: list[dict[str, Any]]


def _left(project: Project) -> _Left:
    """Read it, and see that it belongs together."""
    from appliance.conversion import ships

    kind = ships(project).type
    model = project.gguf(kind)
    converted = _read(project.model / "convert.json", "convert")["files"].get(kind)
    if converted is None or not model.is_file():
        raise UpdateError(f"{model}: missing", "`anchorhold convert` makes it")
    results = _read(project.evaluation / "results.json", "evaluate")
    measured = [s["file"]["sha256"] for s in results["systems"] if s.get("key") == results.get("shipped")]
    if measured != [converted["sha256"]]:
        raise UpdateError(f"{model}: not the file that was measured", "run `anchorhold evaluate` again")
    return _Left(
        model,
        converted,
        results,
        _read(project.dataset / "card.json", "dataset"),
        _read(project.training / "training.json", "train"),
        _golden(project),
    )


def _files(
    project: Project, left: _Left, judged: gating.Gating, folder: Path, emit: Emit
) -> list[dict[str, Any]]:
    """Put the files into `folder`; their entries in release.json."""
    wanted = [
        (left.model, left.model.name, "model", "convert"),
        (project.evaluation / "report.html", "report.html", "report", "evaluate"),
        (project.dataset / "card.json", "card.json", "card", "dataset"),
    ]
    if project.config.retrieval.documents:
        wanted.append((project.passages, project.passages.name, "passages", "build"))
    if judged.audit is not None:
        wanted += [(judged.audit / name, name, role, "audit") for name, role in gating.AUDIT_FILES]
    for source, _, _, verb in wanted:
        if not source.is_file():
            raise UpdateError(f"{source}: missing", f"`anchorhold {verb}` makes it")
    files = [_place(source, folder, name, role) for source, name, role, _ in wanted]
    if files[0]["sha256"] != left.converted["sha256"]:
        raise UpdateError(
            f"{left.model}: not the file that convert.json describes", "run `anchorhold convert` again"
        )
    return files + _baseline(project, folder, emit)


def _manifest(
    project: Project, left: _Left, judged: gating.Gating, files: list[dict[str, Any]], emit: Emit
) -> dict[str, Any]:
    """release.json, without a model card among its files yet."""
    from appliance import base_model

    settings = project.config
    context = _context(left.card, settings.evaluation.max_tokens)
    need = int(left.converted["bytes"]) + _ENGINE_BYTES * context // manifests.DEFAULT_CONTEXT
    raw = {
        "format": manifests.FORMAT,
        "name": settings.project.name,
        "version": settings.project.version,
        "description": settings.project.description,
        "system": settings.dataset.system,
        "files": files,
        "chat_template_sha256": _template_digest(left.model),
        "provenance": {
            "base": base_model.identity(base_model.resolve(settings.base.path, project.root, emit)),
            "dataset": left.card.get("digest"),
            "training": _training(left.training),
            "config": storage.sha256_json(settings.model_dump()),
            "model": left.converted,
        },
        "built_with": {"anchorhold": __version__, "libraries": _library_versions()},
        "evaluation": {
            "scorer": left.results.get("scorer"),
            "rows": left.results.get("rows"),
            "systems": _scores(left.results),
            **judged.to_json(),
        },
        "golden": left.golden,
        "needs": {
            "memory_bytes": -(-need // _MIB) * _MIB,
            "context": context,
            **({"machines": settings.release.machines} if settings.release.machines else {}),
            **({"devices": settings.release.devices} if settings.release.devices else {}),
        },
    }
    if left.results.get("held_to"):
        raw["schema"] = left.results["held_to"]
    if settings.retrieval.documents:
        raw["retrieval"] = {"top": settings.retrieval.top, "on": settings.retrieval.on}
    return raw


def assemble(project: Project, emit: Emit) -> Release:
    """Make `build/release/` from what the stages before have left.

    Raises:
        UpdateError: something is missing or doesn't belong together; the hint names the verb that makes it.
        GateError: a gate failed, and nobody waives it.
    """
    settings = project.config.project
    emit(Event("release", "started", f"assembling {settings.name} {settings.version}"))
    versions.parse(settings.version)
    left = _left(project)
    judged = gating.decide(project, str(left.converted["sha256"]), emit)
    folder = project.build / ".release.new"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = _files(project, left, judged, folder, emit)
    raw = _manifest(project, left, judged, files, emit)
    audit = next((_read(folder / file["name"], "audit") for file in files if file["role"] == "audit"), None)
    for name, text in model_card.render(raw, left.card, left.results, audit).items():
        files.append(_write(folder, name, text.encode(), model_card.ROLE))
    bom = bill_of_materials.make(raw, left.card, audit)
    files.append(_write(folder, bill_of_materials.FILE_NAME, bom, bill_of_materials.ROLE))
    statement = build_statement.make(raw, left.card, _parameters(project))
    files.append(_write(folder, build_statement.FILE_NAME, statement, build_statement.ROLE))
    data = storage.canonical_json(raw)
    manifest = manifests.parse(data)
    storage.write_bytes(folder / manifests.FILE_NAME, data)
    shutil.rmtree(project.release, ignore_errors=True)
    folder.replace(project.release)
    storage.fsync_folder(project.build)
    digest = storage.sha256_bytes(data)
    emit(
        Event("release", "finished", f"{manifest.name} {manifest.version}: {digest}", data={"digest": digest})
    )
    return Release(project.release, digest, manifest)
