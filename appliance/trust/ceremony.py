"""Signing by several people on machines of their own: what is to be signed as a file that says in words what it is.

The words are made again from the metadata wherever the file is read, and a file whose words differ is refused: what a
person reads is what they sign.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from securesystemslib.signer import Key, Signer
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Root, Targets

from appliance import storage
from appliance.errors import KeysError, ThresholdError, TrustError
from appliance.trust import clock, limits, roots

FORMAT = "anchorhold-to-sign/1"
MAX_BYTES = 2 * limits.TARGETS_BYTES
_FILES_TOLD = 200
_HINT = "ask for the file again: `anchorhold keys export` writes it"


@dataclass(frozen=True)
class Request:
    """Metadata that waits for signatures.

    Attributes:
        role: whose it is.
        metadata: root or targets, with the signatures so far.
        authority: what says who may sign: the root before, the root of trust, or the targets that delegate; None for
            the first root.
    """

    role: str
    metadata: Metadata[Any]
    authority: Metadata[Any] | None

    @property
    def name(self) -> str:
        """Role and version."""
        return f"{self.role} version {self.metadata.signed.version}"

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes that are signed: to be compared between people, by voice."""
        return storage.sha256_bytes(self.metadata.signed_bytes)

    def shortfalls(self) -> list[roots.Shortfall]:
        """Each rule that it must meet."""
        return roots.shortfalls(self.role, self.metadata, self.authority.signed if self.authority else None)

    @property
    def complete(self) -> bool:
        """Whether all rules are met."""
        return not any(rule.missing for rule in self.shortfalls())

    def allowed(self) -> dict[str, Key]:
        """Keys whose signatures count, by id."""
        found: dict[str, Key] = {}
        for rule in (self.authority.signed if self.authority else None, self.metadata.signed):
            if rule is None or (rule is self.metadata.signed and not isinstance(rule, Root)):
                continue
            for keyid in rule.get_delegated_role(self.role).keyids:
                found[keyid] = rule.get_key(keyid)
        return found


def _root_words(root: Root, before: Root | None) -> list[str]:
    words = []
    for role in roots.ROLES:
        rule = root.roles[role]
        words.append(f"{role}: {rule.threshold} of {len(rule.keyids)} keys must sign")
        words += [f"  {keyid}  {roots.label(root.keys[keyid])}" for keyid in rule.keyids]
    words.append("model signing (OMS): any of")
    words += [f"  {keyid}  {roots.label(key)}" for keyid, key in roots.model_signing_keys(root).items()]
    if before is None:
        return [*words, "the first root: nothing was trusted before it"]
    words.append(f"against root version {before.version}:")
    changes = []
    for role in roots.ROLES:
        old, new = before.roles[role], root.roles[role]
        changes += [f"  {role} gains {roots.label(root.keys[k])}" for k in new.keyids if k not in old.keyids]
        changes += [
            f"  {role} loses {roots.label(before.keys[k])}" for k in old.keyids if k not in new.keyids
        ]
        if old.threshold != new.threshold:
            changes.append(f"  {role}: {new.threshold} must sign instead of {old.threshold}")
    former, models = roots.model_signing_keys(before), roots.model_signing_keys(root)
    changes += [f"  model signing gains {roots.label(models[k])}" for k in models if k not in former]
    changes += [f"  model signing loses {roots.label(former[k])}" for k in former if k not in models]
    return words + (changes or ["  nothing but version and expiry"])


def _targets_words(targets: Targets) -> list[str]:
    releases, files = [], []
    for path, entry in targets.targets.items():
        fields = (entry.custom or {}).get("anchorhold", {})
        if fields.get("role") == "manifest":
            told = f"{fields.get('name')} {fields.get('version')} (release {fields.get('counter')})"
            releases.append(f"release {told}: digest {entry.hashes.get('sha256')}")
        files.append(f"  {path}: {entry.length} bytes, sha256 {entry.hashes.get('sha256')}")
    words = [*releases, f"{len(files)} files:", *files[:_FILES_TOLD]]
    if len(files) > _FILES_TOLD:
        words.append(f"  and {len(files) - _FILES_TOLD} more")
    roles = (targets.delegations.roles or {}) if targets.delegations else {}
    for name, role in roles.items():
        words.append(
            f"{name}: {role.threshold} of {len(role.keyids)} keys may sign {', '.join(role.paths or [])}"
        )
        assert targets.delegations is not None
        words += [f"  {keyid}  {roots.label(targets.delegations.keys[keyid])}" for keyid in role.keyids]
    return words


def describe(request: Request) -> list[str]:
    """What is to be signed, in lines of words. Signatures so far aren't in it."""
    signed = request.metadata.signed
    words = [
        f"to be signed: {request.name}",
        f"valid until {clock.to_text(signed.expires)}",
        f"sha256 of what is signed: {request.digest}",
    ]
    before = request.authority.signed if request.authority is not None else None
    if isinstance(signed, Root):
        words += _root_words(signed, before)
    else:
        words += _targets_words(signed)
    words += [f"needs {rule.threshold} signatures by {rule.rule}" for rule in request.shortfalls()]
    return [word if word.isprintable() else ascii(word) for word in words]


def to_bytes(request: Request) -> bytes:
    """The content of the file that goes to who must sign."""
    value = {
        "format": FORMAT,
        "about": describe(request),
        "role": request.role,
        "metadata": request.metadata.to_dict(),
        "authority": request.authority.to_dict() if request.authority is not None else None,
    }
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def parse(data: bytes) -> Request:
    """The inverse of `to_bytes`; which signatures hold is asked of the result.

    Raises:
        TrustError: no such file, or its words are not of what would be signed.
    """
    try:
        if len(data) > MAX_BYTES:
            raise ValueError(f"larger than {MAX_BYTES} bytes")
        value = json.loads(data)
        if value["format"] != FORMAT:
            raise ValueError("another format")
        # from_dict takes the dictionaries that it is given apart.
        metadata = Metadata[Any].from_dict(copy.deepcopy(value["metadata"]))
        told = value["authority"]
        authority = None if told is None else Metadata[Any].from_dict(copy.deepcopy(told))
        role = value["role"]
        kinds = (Root,) if role == Root.type else (Targets,)
        if not isinstance(metadata.signed, kinds):
            raise ValueError("another kind of metadata than it says")
        if authority is None and role != Root.type:
            raise ValueError("it lacks what says who may sign")
        if authority is not None and not isinstance(authority.signed, (*kinds, Root)):
            raise ValueError("what says who may sign is of another kind")
        request = Request(role, metadata, authority)
        words = describe(request)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        tuf_errors.RepositoryError,
        TrustError,
    ) as error:
        raise TrustError(f"not a file of something to sign: {error}", _HINT) from error
    if value.get("about") != words:
        raise TrustError("the file's words are not about what would be signed", "don't sign it; " + _HINT)
    return request


def with_signature(request: Request, signer: Signer) -> Request:
    """`request` with one signature more.

    Raises:
        KeysError: the signer's key doesn't count here.
    """
    if signer.public_key.keyid not in request.allowed():
        raise KeysError(
            f"{roots.label(signer.public_key)}: not one of the keys that may sign {request.name}",
            "`anchorhold keys show` lists the keys of a folder",
        )
    metadata = copy.deepcopy(request.metadata)
    metadata.sign(signer, append=True)
    return replace(request, metadata=metadata)


def merge(request: Request, others: Sequence[Request]) -> Request:
    """`request` with the signatures of other copies of it.

    Raises:
        TrustError: another was of something else, or a signature doesn't hold or doesn't count.
    """
    metadata = copy.deepcopy(request.metadata)
    allowed = request.allowed()
    for other in others:
        if other.role != request.role or other.digest != request.digest:
            raise TrustError(
                f"signatures of {other.name} ({other.digest[:16]}…), but {request.name} ({request.digest[:16]}…) waits",
                "import what was exported last; signatures of anything else don't fit",
            )
        for keyid, signature in other.metadata.signatures.items():
            key = allowed.get(keyid)
            if key is None:
                raise TrustError(f"{keyid[:8]}: not a key that may sign {request.name}", _HINT)
            try:
                key.verify_signature(signature, request.metadata.signed_bytes)
            except Exception as error:
                raise TrustError(f"{roots.label(key)}: the signature doesn't hold", _HINT) from error
            metadata.signatures[keyid] = signature
    return replace(request, metadata=metadata)


def require(request: Request) -> None:
    """See that all thresholds are met.

    Raises:
        ThresholdError: it says how many signatures are missing, and whose.
    """
    short = [rule for rule in request.shortfalls() if rule.missing]
    if short:
        raise ThresholdError(
            f"{request.name}: " + "; ".join(str(rule) for rule in short),
            "nothing was published. `anchorhold keys export FILE`, have FILE signed with `anchorhold keys sign`, "
            "then `anchorhold keys import`",
        )
