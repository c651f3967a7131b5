"""Gates that somebody answers for: a line each in waivers.jsonl, bound to one model file and signed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from securesystemslib.signer import Signature

from appliance import storage
from appliance.errors import KeysError, TrustError, UsageError
from appliance.trust import client, keys
from appliance.trust.unlocking import Secrets

ROLE = "targets"
_TYPE = "anchorhold-waiver/1"
_LONGEST = 2000  # characters of a reason


@dataclass(frozen=True)
class Waiver:
    """One gate of one model file, waived.

    Attributes:
        gate: as the gates' file names it.
        model: SHA-256 of the file that it is waived for; another file needs another waiver.
        name: who answers for it.
        reason: why.
        keyid, signature: of the `targets` key, over the rest.
    """

    gate: str
    model: str
    name: str
    reason: str
    keyid: str
    signature: str

    def to_json(self) -> dict[str, str]:
        """A line of the file."""
        return asdict(self)


def _signed_bytes(gate: str, model: str, name: str, reason: str) -> bytes:
    return storage.canonical_json(
        {"_type": _TYPE, "gate": gate, "model": model, "name": name, "reason": reason}
    )


def sign(folder: Path, secrets: Secrets, gate: str, model: str, name: str, reason: str) -> Waiver:
    """A waiver signed with the project's `targets` key.

    Raises:
        UsageError: without a name or a reason.
        KeysError: no key, or a wrong passphrase or PIN.
    """
    name, reason = " ".join(name.split()), " ".join(reason.split())
    if not name or not reason or len(reason) > _LONGEST:
        raise UsageError(
            "a waiver needs the name of a person and a reason", "give both with --by and --reason"
        )
    signers = keys.unlock(folder, secrets, (ROLE,))[ROLE]
    if not signers:
        raise KeysError(f"{folder}: no {ROLE} key here", "a waiver is signed where one is")
    signer = signers[0]
    signature = signer.sign(_signed_bytes(gate, model, name, reason))
    return Waiver(gate, model, name, reason, signature.keyid, signature.signature)


def add(path: Path, waiver: Waiver) -> None:
    """Append a waiver durably; one of the same gate and model is replaced."""
    kept = [
        line for line in _lines(path) if (line.get("gate"), line.get("model")) != (waiver.gate, waiver.model)
    ]
    data = b"".join(storage.json_line(line) for line in [*kept, waiver.to_json()])
    storage.write_bytes(path, data)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise TrustError(
                f"{path}:{number}: not JSON: {error}", "take the line out and waive again"
            ) from error
        if not isinstance(entry, dict):
            raise TrustError(f"{path}:{number}: not an object", "take the line out and waive again")
        found.append(entry)
    return found


def read(path: Path, folder: Path) -> list[Waiver]:
    """The waivers in a file, each with a signature that holds.

    Args:
        path: waivers.jsonl; none there is no waiver.
        folder: the project's keys, whose root says which key signs.

    Raises:
        TrustError: a line that can't be read, or isn't signed by that key.
    """
    lines = _lines(path)
    if not lines:
        return []
    root = client.check_root(keys.root_bytes(folder))
    allowed = set(root.roles[ROLE].keyids)
    found = []
    for number, line in enumerate(lines, 1):
        names = ("gate", "model", "name", "reason", "keyid", "signature")
        if sorted(line) != sorted(names) or not all(isinstance(line[name], str) for name in names):
            raise TrustError(f"{path}:{number}: not a waiver", "`anchorhold audit waive` writes them")
        waiver = Waiver(**line)
        try:
            if waiver.keyid not in allowed:
                raise ValueError("not signed with the project's key")
            root.keys[waiver.keyid].verify_signature(
                Signature(waiver.keyid, waiver.signature),
                _signed_bytes(waiver.gate, waiver.model, waiver.name, waiver.reason),
            )
        except Exception as error:
            raise TrustError(
                f"{path}:{number}: the signature of the waiver of {waiver.gate} doesn't hold",
                "nobody may change a waiver: take the line out and waive again",
            ) from error
        found.append(waiver)
    return found
