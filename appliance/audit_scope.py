"""What an audit has asked of a file, and whether that is what a release asks for today; from files and settings alone.

A release is made where nothing of the workshop may be imported, so what was asked crosses to it as digests
(docs/formats/suites.md, "gates.json").
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import UsageError
from appliance.paths import Project

SAMPLE = 100  # cases of a suite; an audit that asks fewer doesn't count for a release
STANDARD = Path(__file__).parent / "evaluation" / "suites" / "standard"
ENDINGS = (".jsonl", ".yaml", ".yml")
UNKNOWN = "unknown"
_ROW_FILES = ("train.jsonl", "test.jsonl", "canaries.jsonl")


@dataclass(frozen=True)
class Scope:
    """What an audit asked.

    Attributes:
        sample: cases of a suite at most; 0: all.
        system: SHA-256 of the project's system prompt.
        files: the project's suite files and their SHA-256.
        standard: one SHA-256 of the suites that ship with the product; empty: not asked.
        rows: one SHA-256 of the rows and settings that suites are made of; empty: not asked.
        data: names of public sets.
    """

    sample: int
    system: str
    files: Mapping[str, str]
    standard: str
    rows: str
    data: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For gates.json."""
        return {**asdict(self), "files": dict(self.files), "data": list(self.data)}


def suite_files(folder: Path) -> list[Path]:
    """The suite files in a folder, by name."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix in ENDINGS and path.is_file())


def own_files(project: Project) -> list[Path]:
    """The project's suite files: those in suites/, and those that its configuration names.

    Raises:
        UsageError: a pattern of the configuration matches no file.
    """
    found = {path.resolve(): path for path in suite_files(project.suites)}
    for pattern in project.config.evaluation.suites:
        matching = [path for path in sorted(project.root.glob(pattern)) if path.is_file()]
        if not matching:
            raise UsageError(f"evaluation.suites: {pattern!r} matches no file", "mend it in anchorhold.toml")
        found |= {path.resolve(): path for path in matching}
    return list(found.values())


def _rows(project: Project) -> str:
    """Of the dataset's rows and of what else the suites made of them hang on; empty where there are none."""
    files = {name: project.dataset / name for name in _ROW_FILES}
    if not files["train.jsonl"].is_file() or not files["test.jsonl"].is_file():
        return ""
    settings = project.config.evaluation
    return storage.sha256_json(
        {
            "files": {name: storage.sha256_file(path) for name, path in files.items() if path.is_file()},
            "scorer": settings.scorer,
            "max_tokens": settings.max_tokens,
            "gates": settings.gates.model_dump(include={"canaries", "int4_kl", "int4_top1"}),
        }
    )


def scope_of(
    project: Project,
    *,
    sample: int = SAMPLE,
    standard: bool = True,
    rows: bool = True,
    data: Sequence[str] = (),
) -> Scope:
    """The scope of an audit of the project's suites as they stand now.

    Args:
        project: whose suites, rows and settings are looked at.
        sample: cases of a suite at most; 0: all.
        standard, rows: whether the suites of the product, and those made of rows, are asked.
        data: names of the public sets that are asked.

    Raises:
        UsageError: a pattern of the configuration matches no file.
    """
    return Scope(
        sample,
        storage.sha256_bytes(project.config.dataset.system.encode()),
        {
            Path(os.path.relpath(path, project.root)).as_posix(): storage.sha256_file(path)
            for path in own_files(project)
        },
        storage.sha256_tree(STANDARD, "*.jsonl") if standard else "",
        _rows(project) if rows else "",
        tuple(sorted(data)),
    )


def read_scope(value: Any) -> Scope | None:
    """A scope of its JSON value; None where it is none."""
    try:
        files = {str(name): str(digest) for name, digest in value["files"].items()}
        standard, rows = str(value["standard"]), str(value["rows"])
        data = tuple(map(str, value["data"]))
        return Scope(int(value["sample"]), str(value["system"]), files, standard, rows, data)
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def standing_scope(project: Project, model: str) -> Scope | None:
    """What the verdicts that stand of a file rest on; None where there are none.

    Args:
        project: whose build/audit is looked at.
        model: SHA-256 of the file.

    Returns:
        The scope. Of verdicts that don't say it, as former versions wrote them, it is taken to hold every suite, so
        that nothing less takes their place.
    """
    try:
        value = json.loads((project.audit / "gates.json").read_bytes())
        if value["model"] != model:
            return None
        found = read_scope(value.get("asked"))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        found = None
    return found or Scope(SAMPLE, UNKNOWN, {}, UNKNOWN, UNKNOWN)


def lacking(project: Project, scope: Scope) -> list[str]:
    """What a scope lacks of what a release asks for today, in words; empty where it lacks nothing.

    The project's own suites always count. The product's, and those made of rows, count where the configuration
    requires an audit; where it doesn't, those made of rows have to be as they are now if they were asked.

    Raises:
        UsageError: a pattern of the configuration matches no file.
    """
    today = scope_of(project)
    required = project.config.evaluation.audit == "required"
    found = []
    if 0 < scope.sample < SAMPLE:
        found.append(f"it asked {scope.sample} cases of a suite at most, not {SAMPLE}")
    if scope.system != today.system:
        found.append("the system prompt has changed since")
    for name, digest in today.files.items():
        if name not in scope.files:
            found.append(f"{name} was not asked")
        elif scope.files[name] != digest:
            found.append(f"{name} has changed since")
    if required and scope.standard != today.standard:
        found.append(f"the standard suites {'have changed since' if scope.standard else 'were not asked'}")
    if today.rows and scope.rows != today.rows and (required or scope.rows):
        state = "have changed since, or their bounds" if scope.rows else "were not asked"
        found.append(f"the suites made of the dataset's rows {state}")
    return found


def taken_away(scope: Scope, standing: Scope | None) -> list[str]:
    """What a scope lacks of that on which verdicts of the same file stand, in words."""
    if standing is None:
        return []
    found = []
    if standing.standard and not scope.standard:
        found.append("the standard suites, which are judged already, were not asked")
    if standing.rows and not scope.rows:
        found.append("the suites made of the dataset's rows, which are judged already, were not asked")
    missing = [name for name in standing.data if name not in scope.data]
    if missing:
        found.append(f"public sets that are judged already were not asked: {', '.join(missing)} (`--data`)")
    return found
