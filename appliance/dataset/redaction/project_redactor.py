"""From `[dataset.redact]` and the project's folder to a redactor: the key, the decisions, the tagger."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from appliance import storage
from appliance.dataset.redaction.finding import Options
from appliance.dataset.redaction.redactor import Decision, Redactor
from appliance.errors import ConfigError, DataError
from appliance.paths import Project

_KEY_BYTES = 32


def dataset_key(project: Project) -> bytes:
    """The project's redaction key, made when it is first needed; readable by its owner alone.

    Raises:
        DataError: the file holds no key.
    """
    path = project.redaction_key
    if not path.exists():
        storage.write_text(path, secrets.token_hex(_KEY_BYTES) + "\n", 0o600)
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except ValueError as error:
        raise DataError(f"{path}: not a redaction key", "remove it, and a new one is made") from error
    if len(key) < _KEY_BYTES:
        raise DataError(f"{path}: not a redaction key", "remove it, and a new one is made")
    return key


def read_decisions(project: Project) -> dict[str, Decision]:
    """What a person decided: the id of a finding or of a value, and `keep` or `redact`.

    Raises:
        DataError: a line that says something else.
    """
    path = project.redaction_decisions
    decisions: dict[str, Decision] = {}
    if not path.is_file():
        return decisions
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            known, decision = str(entry["id"]), entry["decision"]
        except (ValueError, KeyError, TypeError, RecursionError):
            known, decision = "", ""
        if decision not in ("keep", "redact") or not re.fullmatch(r"[0-9a-f]{16}", known):
            raise DataError(
                f"{path}:{number}: no decision",
                'a line is {"id": "<id or value_id of redactions.jsonl>", "decision": "keep"}, or "redact"',
            )
        decisions[known] = decision
    return decisions


def redactor_for(project: Project) -> Redactor | None:
    """The redactor that the project asks for; None where it asks for none.

    Raises:
        ConfigError: the tagger's folder holds no token classifier.
        DataError: a broken key or decisions file.
    """
    section = project.config.dataset.redact
    if section.mode == "off":
        return None
    tagger = None
    if section.tagger:
        from appliance.dataset.redaction.tagger import CheckpointTagger

        folder = project.root / section.tagger
        if not folder.is_dir():
            raise ConfigError(
                f"dataset.redact.tagger: {folder}: no such folder", "name a folder with a token classifier"
            )
        tagger = CheckpointTagger.load(folder)
    options = Options(
        kinds=frozenset(section.kinds),
        min_score=section.min_score,
        allowed_values=frozenset(value.lower() for value in section.allow),
        allowed_patterns=tuple(re.compile(pattern) for pattern in section.allow_patterns),
        tagger=tagger,
    )
    from appliance.dataset.cleaning import clean_text

    system = project.config.dataset.system
    return Redactor(
        section.mode,
        dataset_key(project),
        options,
        read_decisions(project),
        clean_text(system) if system else "",
    )


def redaction_inputs(project: Project) -> dict[str, Any]:
    """Digests of the files that redaction depends on, for the pipeline; empty where it is off."""
    section = project.config.dataset.redact
    if section.mode == "off":
        return {}
    files = {"key": project.redaction_key, "decisions": project.redaction_decisions}
    digests = {name: storage.sha256_file(path) if path.is_file() else "" for name, path in files.items()}
    folder = project.root / section.tagger
    digests["tagger"] = storage.sha256_tree(folder) if section.tagger and folder.is_dir() else ""
    return digests
