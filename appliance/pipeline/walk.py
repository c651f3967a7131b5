"""Walk the road: skip what is still good, run the rest, remember what was run."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.errors import UsageError
from appliance.events import Event
from appliance.paths import Project
from appliance.pipeline.road import STAGES, Journey, Stage, code_digest

_WORDS = {
    "config": "the configuration",
    "schema": "the schema",
    "redaction": "what is redacted",
    "writer": "the writer of pairs",
    "tokenizer": "the tokenizer",
    "base": "the base model",
    "train": "the training rows",
    "valid": "the validation rows",
}
_NAMED = 3  # things that a reason names


@dataclass(frozen=True)
class Decision:
    """Whether a stage must run, why, and the digest of each thing that it is made from."""

    stage: Stage
    run: bool
    reason: str
    inputs: dict[str, str]


def _read_state(project: Project) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads(project.state.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}  # the state only saves work: without it everything is simply made again
    return state


def _fingerprint(project: Project, path: Path) -> dict[str, Any]:
    inside = path.is_relative_to(project.root)
    return {
        "path": str(path.relative_to(project.root) if inside else path),
        "sha256": storage.sha256_file(path),
    }


def _digests(project: Project, checkpoint: Path, stage: Stage) -> dict[str, str]:
    """A digest for each thing that a stage is made from; one a file where they are files of the user's."""
    inputs = dict(stage.inputs(project, checkpoint))
    files = inputs.pop("files", {})
    named = {_WORDS.get(key, key): storage.sha256_json(value) for key, value in inputs.items()}
    return {"the program": code_digest(stage.packages), **named, **files}


def _changed(before: Any, now: dict[str, str]) -> str:
    """What differs, in words."""
    if not isinstance(before, dict):
        return "the program"  # one digest of all, as former versions kept it
    names = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def outdated(project: Project, checkpoint: Path, name: str) -> str:
    """What of a stage's inputs changed since it last finished; empty where nothing did, or where it never finished."""
    stage = next(stage for stage in STAGES if stage.name == name)
    recorded = _read_state(project).get(name)
    if recorded is None:
        return ""
    now = _digests(project, checkpoint, stage)
    return "" if recorded["inputs"] == now else _changed(recorded["inputs"], now)


def decide(project: Project, checkpoint: Path, stage: Stage, force: bool = False) -> Decision:
    """Compare a stage's inputs and outputs with what was recorded when it last finished."""
    digest = _digests(project, checkpoint, stage)
    recorded = _read_state(project).get(stage.name)
    if force:
        return Decision(stage, True, "asked for", digest)
    if recorded is None:
        return Decision(stage, True, "never finished", digest)
    if recorded["inputs"] != digest:
        return Decision(stage, True, f"its inputs changed: {_changed(recorded['inputs'], digest)}", digest)
    for output in recorded["outputs"]:
        path = project.root / output["path"]
        if not path.is_file():
            return Decision(stage, True, f"{output['path']} is missing", digest)
        if storage.sha256_file(path) != output["sha256"]:
            return Decision(stage, True, f"{output['path']} was changed", digest)
    return Decision(stage, False, "unchanged", digest)


@contextlib.contextmanager
def only_one(project: Project) -> Iterator[None]:
    """Hold the project's lock.

    Raises:
        UsageError: another program works in it.
    """
    project.build.mkdir(parents=True, exist_ok=True)
    with (project.build / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"{project.root}: another build is running here", "wait for it or stop it"
            ) from error
        yield


def _run(journey: Journey, stage: Stage, action: Callable[[], object] | None = None) -> None:
    project = journey.project
    if action is None:
        stage.run(journey)
    else:
        action()
    if any(not path.is_file() for path in stage.outputs(project)):
        return  # a verb asked for a part of the stage's work only
    record = {
        # Taken after the run, which may itself settle an input (the keys' state, say).
        "inputs": decide(project, journey.checkpoint, stage, True).inputs,
        "outputs": [_fingerprint(project, path) for path in stage.outputs(project)],
    }
    storage.write_json(project.state, {**_read_state(project), stage.name: record})


def run_stage(journey: Journey, name: str, action: Callable[[], object] | None = None) -> None:
    """Run one stage, whatever its state, as `walk` would: alone in the project, and remembered.

    Args:
        journey: as for `walk`.
        name: the stage.
        action: does the stage's work in its place, with options that a verb has and a walk has not.
    """
    with only_one(journey.project):
        _run(journey, next(stage for stage in STAGES if stage.name == name), action)


def walk(journey: Journey, *, until: str = "", force: str = "") -> list[str]:
    """Run every stage that is not still good, in order.

    Args:
        journey: the project, its base, and who gets the events.
        until: the last stage to consider; empty for all.
        force: run this stage even if it is unchanged.

    Returns:
        Names of the stages that ran.
    """
    ran: list[str] = []
    project, checkpoint, emit = journey.project, journey.checkpoint, journey.emit
    with only_one(project):
        for stage in STAGES:
            decision = decide(project, checkpoint, stage, stage.name == force)
            if decision.run:
                _run(replace(journey, restart=True) if stage.name == force else journey, stage)
                ran.append(stage.name)
            else:
                emit(Event(stage.name, "skipped", stage.help))
            if stage.name == until:
                break
    return ran
