"""Waiving a failed gate of the file that ships."""

from __future__ import annotations

import json
from typing import Any

from appliance.dataset.nearest import meant
from appliance.errors import UsageError
from appliance.paths import Project
from appliance.trust import waivers
from appliance.trust.unlocking import Secrets
from appliance.trust.waivers import Waiver


def _judged(project: Project) -> list[dict[str, Any]]:
    """Every gate that was judged, each with the model file that it was judged on."""
    found = []
    for path in (project.evaluation / "gates.json", project.audit / "gates.json"):
        if path.is_file():
            value = json.loads(path.read_bytes())
            found += [{**gate, "model": value["model"]} for gate in value["gates"]]
    return found


def waive(project: Project, gate: str, name: str, reason: str, secrets: Secrets) -> Waiver:
    """Sign a waiver of a gate that failed, and keep it.

    Raises:
        UsageError: no such gate was judged, or it passed.
        KeysError: no key, or a wrong passphrase or PIN.
    """
    judged = {entry["gate"]: entry for entry in _judged(project)}
    if gate not in judged:
        raise UsageError(
            f"no gate {gate!r} was judged{meant(gate, judged)}",
            f"there are: {', '.join(judged) or 'none yet'}",
        )
    if judged[gate]["passed"]:
        raise UsageError(f"{gate} passed: there is nothing to waive", "release it")
    waiver = waivers.sign(project.keys, secrets, gate, judged[gate]["model"], name, reason)
    waivers.add(project.waivers, waiver)
    return waiver
