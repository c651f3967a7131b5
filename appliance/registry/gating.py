"""Whether what was measured may be released: every gate passed, or waived by name for this very file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.audit_scope import lacking, read_scope
from appliance.errors import GateError, UpdateError
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.trust import waivers as signed
from appliance.trust.waivers import Waiver

AUDIT_FILES = (("report-card.html", "report-card"), ("audit.json", "audit"))
"""(file of build/audit, its role in a release)."""


@dataclass(frozen=True)
class Gating:
    """What a release says about its gates.

    Attributes:
        gates: as gates.json has them, the evaluation's first.
        waived: waivers of those that failed.
        audit: the folder of an audit of this file; None without one.
    """

    gates: tuple[dict[str, Any], ...]
    waived: tuple[Waiver, ...]
    audit: Path | None

    def to_json(self) -> dict[str, Any]:
        """For release.json."""
        return {"gates": list(self.gates), "waivers": [waiver.to_json() for waiver in self.waived]}


def _read(path: Path, verb: str) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise UpdateError(f"{path}: missing", f"`anchorhold {verb}` makes it") from error
    except ValueError as error:
        raise UpdateError(f"{path}: damaged ({error})", f"run `anchorhold {verb}` again") from error
    gates = value.get("gates") if isinstance(value, dict) else None
    if not isinstance(gates, list) or not all(
        isinstance(gate, dict)
        and isinstance(gate.get("passed"), bool)
        and all(isinstance(gate.get(key), str) for key in ("gate", "bound", "reason"))
        for gate in gates
    ):
        raise UpdateError(f"{path}: holds no gates", f"run `anchorhold {verb}` again")
    return value


def refuse_failed(gates: Sequence[dict[str, Any]], waivers: Sequence[Waiver], model: str) -> list[Waiver]:
    """The waivers that are needed; pure.

    Args:
        gates: all that were judged.
        waivers: whose signatures hold.
        model: SHA-256 of the file that is to be released.

    Raises:
        GateError: a gate failed that nobody waives for this file.
    """
    by_gate = {waiver.gate: waiver for waiver in waivers if waiver.model == model}
    failed = [gate for gate in gates if not gate["passed"]]
    open_gates = [gate for gate in failed if gate["gate"] not in by_gate]
    if open_gates:
        lines = "".join(
            f"\n  {gate['gate']}: {gate['reason']}; asked: {gate['bound']}" for gate in open_gates
        )
        count = "1 gate" if len(open_gates) == 1 else f"{len(open_gates)} gates"
        first = open_gates[0]["gate"]
        raise GateError(
            f"not released: {count} failed:{lines}",
            f'train or measure again, or answer for it: `anchorhold audit waive {first} --by NAME --reason "…"`',
        )
    return [by_gate[gate["gate"]] for gate in failed]


def _outdated(project: Project, audited: Mapping[str, Any]) -> list[str]:
    """Why the verdicts of an audit aren't those that a release asks for today, in words."""
    scope, files = read_scope(audited.get("asked")), audited.get("files")
    if scope is None or not isinstance(files, dict):
        return ["it doesn't say what it asked, as former versions didn't"]
    found = lacking(project, scope)
    for name, _ in AUDIT_FILES:
        path = project.audit / name
        if not path.is_file() or storage.sha256_file(path) != files.get(name):
            found.append(f"{name} is not the one that these verdicts were written with")
    return found


def _audited(project: Project, model: str, emit: Emit) -> list[dict[str, Any]] | None:
    """The audit's verdicts on the file; None where there was no audit of it, and none is asked for."""
    settings = project.config.evaluation
    path = project.audit / "gates.json"
    audited = _read(path, "audit") if path.is_file() else {}
    if audited.get("model") == model:
        wrong = _outdated(project, audited)
        if wrong:
            lines = "".join(f"\n  {each}" for each in wrong)
            raise GateError(
                f"not released: the audit of this file is not what is asked for today:{lines}",
                "run `anchorhold audit` with all its suites; what has not changed is not asked again",
            )
        return list(audited["gates"])
    if settings.audit == "required" or settings.suites:
        state = "the audit is of another file" if audited else "there is no audit of this file"
        raise GateError(f"not released: {state}", "run `anchorhold audit`")
    other = "; the one of another file is left out" if audited else ""
    text = (
        f"no audit was run on this file{other}: nothing but its test split is known; see `anchorhold audit`"
    )
    emit(Event("release", "warning", text))
    return None


def decide(project: Project, model: str, emit: Emit) -> Gating:
    """Judge what evaluation and audit left of the file whose SHA-256 is `model`.

    That no audit was run on the file is told as a warning.

    Raises:
        GateError: a gate failed and isn't waived; an audit is required and there is none of this file; or there is
            one of it, and suites or settings have changed since.
        UpdateError: the evaluation's gates are missing or of another file.
        TrustError: a waiver's signature doesn't hold.
    """
    measured = _read(project.evaluation / "gates.json", "evaluate")
    if measured.get("model") != model:
        raise UpdateError(
            f"{project.evaluation / 'gates.json'}: judges another file", "run `anchorhold evaluate` again"
        )
    audited = _audited(project, model, emit)
    gates = [*measured["gates"], *(audited or ())]
    waived = refuse_failed(gates, signed.read(project.waivers, project.keys), model)
    return Gating(tuple(gates), tuple(waived), None if audited is None else project.audit)
