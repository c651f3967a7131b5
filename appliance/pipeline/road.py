"""The stages of a build: what each depends on, what it leaves, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__, storage
from appliance.conversion import AUTO, frontier_file, like_file, ships
from appliance.events import Emit
from appliance.paths import Project
from appliance.trust.unlocking import Secrets

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Journey:
    """What every stage of one walk gets.

    Attributes:
        project: the project.
        checkpoint: the base's folder.
        emit: gets the events.
        secrets: open the signing keys; None where no stick is to be written.
        restart: a forced training begins again instead of going on from its checkpoint.
        checkpoint_seconds: time between the training's checkpoints.
        strict: the dataset stops on the first bad row.
        accept_days: train even what would take more than a day.
    """

    project: Project
    checkpoint: Path
    emit: Emit
    secrets: Secrets | None = None
    restart: bool = False
    checkpoint_seconds: float = 60.0
    strict: bool = False
    accept_days: bool = False


@dataclass(frozen=True)
class Stage:
    """One stop.

    Attributes:
        name: the stop's name, and the verb that runs it alone.
        help: what it does, for a dry run.
        packages: source folders or files below `appliance`'s parent whose change makes the result stale.
        inputs: everything else that the result depends on, as digests and values.
        outputs: the files that it leaves.
        run: does it.
    """

    name: str
    help: str
    packages: tuple[str, ...]
    inputs: Callable[[Project, Path], Inputs]
    outputs: Callable[[Project], list[Path]]
    run: Callable[[Journey], None]


def code_digest(packages: tuple[str, ...]) -> str:
    """Digest of the sources of `packages`, so that a changed program never passes off an old result."""
    root = Path(__file__).resolve().parents[2]
    parts = {
        name: [storage.sha256_tree(root / name, pattern) for pattern in ("*.py", "*.cpp")]
        if (root / name).is_dir()
        else storage.sha256_file(root / name)
        for name in packages
    }
    return storage.sha256_json({"version": __version__, **parts})


def _digest(path: Path) -> str:
    return storage.sha256_file(path) if path.is_file() else "missing"


def _base(checkpoint: Path) -> Any:
    from appliance.base_model import identity

    return identity(checkpoint)


def _sources(project: Project) -> Inputs:
    from appliance.dataset import source_files
    from appliance.dataset.redaction import redaction_inputs

    files = {name: storage.sha256_file(path) for path, name, _ in source_files(project)}
    return {
        "files": files,
        "schema": _schema(project),
        "config": project.config.dataset.model_dump(),
        "redaction": redaction_inputs(project),
        "writer": _writer(project),
    }


def _writer(project: Project) -> str:
    """The digest of the model that writes pairs; empty where none does."""
    if not project.config.dataset.pairs.writer:
        return ""
    from appliance.dataset.pairs.writing import writer_model

    return storage.sha256_file(writer_model(project))


def _schema(project: Project) -> str:
    path = project.config.dataset.schema_path
    return _digest(project.root / path) if path else ""


def _splits(project: Project, *names: str) -> Inputs:
    return {name: _digest(project.dataset / f"{name}.jsonl") for name in names}


def _dataset(journey: Journey) -> None:
    from appliance.dataset import prepare

    prepare(journey.project, journey.emit, strict=journey.strict, checkpoint=journey.checkpoint)


def _train(journey: Journey) -> None:
    from appliance.training import train

    train(
        journey.project,
        journey.checkpoint,
        journey.emit,
        restart=journey.restart,
        checkpoint_seconds=journey.checkpoint_seconds,
        code=code_digest(("appliance/training",)),
        accept_days=journey.accept_days,
    )


def _convert(journey: Journey) -> None:
    from appliance.conversion import convert_project

    if journey.project.config.convert.type == AUTO:
        from appliance.evaluation.frontier import measure_frontier

        measure_frontier(journey.project, journey.checkpoint, journey.emit)
    convert_project(journey.project, emit=journey.emit)


def _asked(project: Project) -> Inputs:
    """What the choice of a type rests on, where it is chosen."""
    if project.config.convert.type != AUTO:
        return {}
    return {
        **_splits(project, "valid"),
        "config": project.config.evaluation.model_dump(),
        "code": code_digest(("appliance/evaluation",)),
    }


def _shipped_type(project: Project) -> str:
    return ships(project).type


def _evaluate(journey: Journey) -> None:
    from appliance.evaluation import evaluate

    evaluate(journey.project, journey.emit)
    if _audits(journey.project):
        from appliance.evaluation.auditing import run_audit

        run_audit(journey.project, journey.checkpoint, journey.emit)


def _audits(project: Project) -> bool:
    """Whether a build audits: suites are named, or no release goes without."""
    return bool(project.config.evaluation.suites) or project.config.evaluation.audit == "required"


def _suites(project: Project) -> Inputs:
    """Files of suites that a build runs."""
    if not _audits(project):
        return {}
    patterns = [*project.config.evaluation.suites, "suites/*"]
    return {
        path.relative_to(project.root).as_posix(): _digest(path)
        for pattern in patterns
        for path in sorted(project.root.glob(pattern))
        if path.is_file()
    }


def _audit(project: Project) -> Inputs:
    """What a release looks at of an audit, where there is one: its verdicts, and whether they are of today's suites."""
    from appliance.audit_scope import scope_of

    path = project.audit / "gates.json"
    return {
        "gates": _digest(path),
        "found": _digest(project.audit / "audit.json"),
        "asked": scope_of(project).to_json() if path.is_file() else None,
    }


def index_documents(project: Project, emit: Emit) -> int:
    """Write the index of the documents that travel with the release; how many passages, 0 where none are named.

    Raises:
        DataError: a document that is named isn't there, or none of them says anything.
    """
    from appliance.dataset import BadRow, document_passages
    from appliance.errors import DataError
    from appliance.events import Event
    from appliance.retrieval import PassageIndex

    if not project.config.retrieval.documents:
        project.passages.unlink(missing_ok=True)
        return 0

    def skipped(bad: BadRow) -> None:
        emit(Event("release", "warning", str(bad)))

    patterns = project.config.retrieval.documents
    count = PassageIndex.build(project.passages, document_passages(project, patterns, skipped))
    if not count:
        project.passages.unlink(missing_ok=True)
        raise DataError(
            f"{project.root}: no passage in {', '.join(patterns)}", "correct `retrieval.documents`"
        )
    emit(Event("release", "message", f"{count} passages of documents travel along"))
    return count


def _documents(project: Project) -> Inputs:
    from appliance.dataset.reading import file_name, find_files

    if not project.config.retrieval.documents:
        return {}
    found = find_files(project.root, project.config.retrieval.documents, "documents", own=project.own)
    files = {file_name(path, project.root): storage.sha256_file(path) for path in found}
    return {"files": files, "pairs": project.config.dataset.pairs.passage_tokens}


def _release(journey: Journey) -> None:
    from appliance.registry.recording import record_release
    from appliance.registry.release import assemble

    index_documents(journey.project, journey.emit)
    record_release(assemble(journey.project, journey.emit), journey.emit)


def _stick(journey: Journey) -> None:
    from appliance.update.publish import publish_project

    project = journey.project
    # A stick folder inside the project has not left the workshop: the same version may be written anew.
    at_home = project.stick.resolve().is_relative_to(project.root)
    publish_project(
        project,
        project.stick,
        journey.emit,
        secrets=journey.secrets,
        replace=at_home,
        leaves=not at_home,
    )


STAGES: tuple[Stage, ...] = (
    Stage(
        "dataset",
        "read, clean and split the examples",
        ("appliance/dataset", "appliance/chat_template.py", "appliance/page_style.py"),
        lambda project, base: {**_sources(project), "tokenizer": _digest(base / "tokenizer.json")},
        lambda project: [
            project.dataset / name
            for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "card.html", "card.json")
        ],
        _dataset,
    ),
    Stage(
        "train",
        "fine-tune the base with LoRA",
        ("appliance/training", "convert/libggml.py", "convert/lora.py", "convert/type_mix.py"),
        lambda project, base: {
            **_splits(project, "train", "valid"),
            "base": _base(base),
            "config": project.config.training.model_dump(),
            "grid": project.config.grid,
        },
        lambda project: [
            project.adapter / "adapter_model.safetensors",
            project.adapter / "adapter_config.json",
            project.training / "training.json",
            project.training / "curve.svg",
        ],
        _train,
    ),
    Stage(
        "convert",
        "base + adapter to GGUF",
        (
            "convert",
            "appliance/conversion.py",
            "appliance/base_model.py",
            "appliance/rounding.py",
            "appliance/calibration.py",
        ),
        lambda project, base: {
            "adapter": _digest(project.adapter / "adapter_model.safetensors"),
            "base": _base(base),
            "config": project.config.convert.model_dump(),
            "parts": list(
                project.config.parts_of(project.config.convert.type).items()
            ),  # the first that matches decides
            "like": _digest(found) if (found := like_file(project)) else "",
            "asked": _asked(project),
            "measured": _splits(project, "train") if project.config.compensates else {},
            "project": project.config.project.model_dump(),
        },
        lambda project: [
            project.gguf("F16"),
            project.gguf(_shipped_type(project)),
            project.model / "convert.json",
            *([frontier_file(project)] if project.config.convert.type == AUTO else []),
        ],
        _convert,
    ),
    Stage(
        "evaluate",
        "measure the file that ships",
        ("appliance/evaluation", "appliance/serving/engine", "appliance/page_style.py"),
        lambda project, base: {
            **_splits(project, "train", "test"),
            "model": _digest(project.model / "convert.json"),
            "base": _base(base),
            "config": project.config.evaluation.model_dump(),
            "golden": project.config.release.golden,
            "schema": _schema(project),
            "suites": _suites(project),
        },
        lambda project: [
            *(
                project.evaluation / name
                for name in ("results.json", "report.html", "golden.json", "gates.json")
            ),
            *(project.audit / name for name in ("audit.json", "gates.json") if _audits(project)),
        ],
        _evaluate,
    ),
    Stage(
        "release",
        "put model, report and provenance together",
        ("appliance/registry", "appliance/retrieval", "appliance/watch"),
        lambda project, base: {
            "model": _digest(project.model / "convert.json"),
            "report": _digest(project.evaluation / "report.html"),
            "results": _digest(project.evaluation / "results.json"),
            "card": _digest(project.dataset / "card.json"),
            "gates": _digest(project.evaluation / "gates.json"),
            "audit": _audit(project),
            "waivers": _digest(project.waivers),
            "base": _base(base),
            "project": project.config.project.model_dump(),
            "retrieval": project.config.retrieval.model_dump(),
            "documents": _documents(project),
        },
        lambda project: [project.release / "release.json"],
        _release,
    ),
    Stage(
        "stick",
        "sign it and write the stick",
        ("appliance/trust", "appliance/update"),
        lambda project, _base: {
            "release": _digest(project.release / "release.json"),
            "root": _digest(project.keys / "root.json"),
            "sites": _digest(project.keys / "sites.json"),
            "config": project.config.release.model_dump(),
        },
        lambda project: sorted(path for path in project.stick.rglob("*") if path.is_file()),
        _stick,
    ),
)
