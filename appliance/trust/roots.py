"""Root metadata, which names who may sign what: the first version, the following ones, and whether a step holds.

All here is pure: keys and metadata in, metadata or an error out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from securesystemslib.signer import Key
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import Metadata, Role, Root, Targets

from appliance.errors import KeysError, TrustError
from appliance.trust import sealing

ROLES = ("root", "targets", "snapshot", "timestamp")
MODEL_SIGNING = "model-signing"  # signs OMS bundles; no role of TUF's, so it stands in a field of ours
MODEL_SIGNING_FIELD = "x-anchorhold-model-signing"
REACHED_FIELD = "x-anchorhold-root"  # in the timestamp: the newest root version when it was signed
ROOT_DAYS = 3650


@dataclass(frozen=True)
class Shortfall:
    """A rule that metadata must meet, and how far it does.

    Attributes:
        rule: whose signatures, in words.
        threshold: how many are needed.
        signed, unsigned: keys as people know them (`label`).
    """

    rule: str
    threshold: int
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]

    @property
    def missing(self) -> int:
        """How many signatures more; 0 if the rule is met."""
        return max(0, self.threshold - len(self.signed))

    def __str__(self) -> str:
        have = f"{len(self.signed)} of {self.threshold} signatures by {self.rule}"
        if not self.missing:
            return have
        return f"{have}: {self.missing} missing, of {', '.join(self.unsigned) or 'nobody: no key is left'}"


def label(key: Key) -> str:
    """A key for people: the beginning of its id, and who holds it if that is known."""
    name = key.unrecognized_fields.get(sealing.NAME_FIELD)
    return f"{key.keyid[:8]} ({name})" if isinstance(name, str) and name else str(key.keyid[:8])


def check_distinct(root: Root) -> None:
    """See that no role counts one key as two: TUF's ids are only names, so one key can have several.

    Raises:
        TrustError: a role names one key under two ids.
    """
    for role, rule in root.roles.items():
        try:
            own = {sealing.canonical(root.keys[keyid]).keyid for keyid in rule.keyids}
        except (ValueError, KeyError) as error:
            raise TrustError(
                f"root version {root.version}: a key of {role} can't be read", "don't trust it"
            ) from error
        if len(own) != len(rule.keyids):
            raise TrustError(f"root version {root.version}: {role} counts one key twice", "don't trust it")


def _check_rules(root: Root) -> None:
    for role, rule in root.roles.items():
        if not rule.keyids:
            raise KeysError(f"{role} would have no key left", f"`anchorhold keys rotate {role}` replaces one")
        if not 1 <= rule.threshold <= len(rule.keyids):
            raise KeysError(
                f"{role}: {rule.threshold} signatures of {len(rule.keyids)} keys can't be had",
                "give another --threshold, or add a key first",
            )
    check_distinct(root)


def model_signing_keys(root: Root) -> dict[str, Key]:
    """The keys that may sign OMS bundles, by id; none in a root of before there were any.

    Raises:
        TrustError: the field is malformed.
    """
    field = root.unrecognized_fields.get(MODEL_SIGNING_FIELD, {})
    try:
        return {keyid: Key.from_dict(keyid, copy.deepcopy(value)) for keyid, value in field.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrustError(
            f"root version {root.version}: `{MODEL_SIGNING_FIELD}` is damaged", "don't trust it"
        ) from error


def first(keys: Mapping[str, Sequence[Key]], thresholds: Mapping[str, int], now: datetime) -> Root:
    """The first root of a publisher.

    Args:
        keys: of each role, and of `model-signing`.
        thresholds: how many of a role's keys must sign; 1 where nothing is said.
        now: it expires ten years later.

    Raises:
        KeysError: a threshold that can't be met, or a key that was given twice.
        TrustError: one key under two ids.
    """
    for role in ROLES:
        if len({key.keyid for key in keys[role]}) != len(keys[role]):
            raise KeysError(f"{role}: a key was given twice", "one key never counts as two")
        if thresholds.get(role, 1) < 1:
            raise KeysError(f"{role}: no signature would be needed", "at least one must sign")
    root = Root(
        version=1,
        expires=now + timedelta(days=ROOT_DAYS),
        consistent_snapshot=True,
        roles={role: Role([key.keyid for key in keys[role]], thresholds.get(role, 1)) for role in ROLES},
        keys={key.keyid: key for role in ROLES for key in keys[role]},
    )
    if keys.get(MODEL_SIGNING):
        root.unrecognized_fields[MODEL_SIGNING_FIELD] = {
            key.keyid: key.to_dict() for key in keys[MODEL_SIGNING]
        }
    _check_rules(root)
    return root


def _holders(root: Root, keyid: str) -> list[str]:
    roles = [role for role in ROLES if keyid in root.roles[role].keyids]
    return roles + [MODEL_SIGNING] * (keyid in model_signing_keys(root))


def resolve(root: Root, text: str) -> str:
    """The full id of the one key in `root` whose id begins with `text`.

    Raises:
        KeysError: none, or several.
    """
    known = {*root.keys, *model_signing_keys(root)}
    found = sorted(keyid for keyid in known if keyid.startswith(text.lower()))
    if len(found) != 1 or len(text) < 6:
        raise KeysError(
            f"{text}: {'several keys begin' if found else 'no key of the root begins'} so",
            "`anchorhold keys show` lists them; give at least 6 characters of the id",
        )
    return found[0]


def following(
    before: Root,
    now: datetime,
    *,
    add: Iterable[tuple[str, Key]] = (),
    remove: Iterable[str] = (),
    thresholds: Mapping[str, int] | None = None,
) -> Root:
    """The next version of a root.

    Args:
        before: the present one.
        now: the new one expires ten years later.
        add: (role, key).
        remove: full key ids, taken out of every role.
        thresholds: those that change.

    Raises:
        KeysError: a key that isn't there, or a threshold that can't be met.
        TrustError: one key twice.
    """
    root = copy.deepcopy(before)
    root.version += 1
    root.expires = now + timedelta(days=ROOT_DAYS)
    models = {keyid: key.to_dict() for keyid, key in model_signing_keys(root).items()}
    for role, key in add:
        if role == MODEL_SIGNING:
            models[key.keyid] = key.to_dict()
        elif key.keyid in root.roles[role].keyids:
            raise KeysError(f"{label(key)} is a key of {role} already", "one key never counts as two")
        else:
            root.add_key(key, role)
    for keyid in remove:
        for role in _holders(before, keyid):
            if role == MODEL_SIGNING:
                models.pop(keyid, None)
            else:
                root.revoke_key(keyid, role)
    if models or MODEL_SIGNING_FIELD in root.unrecognized_fields:
        root.unrecognized_fields[MODEL_SIGNING_FIELD] = models
    for role, threshold in (thresholds or {}).items():
        root.roles[role].threshold = threshold
    _check_rules(root)
    return root


def shortfalls(role: str, metadata: Metadata[Any], authority: Root | Targets | None) -> list[Shortfall]:
    """Every rule that `metadata` must meet, met or not.

    Args:
        role: of the metadata.
        metadata: with the signatures so far; those that don't hold aren't counted.
        authority: who says which keys may sign: the root before (for a root), the root of trust, or the
            targets that delegate. None for the first root.
    """
    rules: list[tuple[str, Root | Targets]] = []
    if authority is not None:
        rules.append((f"the {role} keys of {authority.type} version {authority.version}", authority))
    if isinstance(metadata.signed, Root):
        rules.append((f"the root keys of root version {metadata.signed.version} itself", metadata.signed))
    found = []
    for words, rule in rules:
        result = rule.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
        signed, unsigned = (
            tuple(label(key) for key in keys.values()) for keys in (result.signed, result.unsigned)
        )
        found.append(Shortfall(words, result.threshold, signed, unsigned))
    return found


def parse(data: bytes) -> Metadata[Root]:
    """Root metadata, its signatures not looked at.

    Raises:
        TrustError: it is none.
    """
    try:
        metadata = Metadata[Root].from_bytes(data)
    except (tuf_errors.RepositoryError, ValueError) as error:
        raise TrustError(f"not a root of trust: {error}", "give a root.json") from error
    if not isinstance(metadata.signed, Root):
        raise TrustError("this isn't root metadata", "give a root.json")
    return metadata


def check_step(before: Root | None, data: bytes) -> Root:
    """The root in `data`, if it may follow `before`: one version higher, and signed by both roots' thresholds.

    Args:
        before: None for the first root that is looked at, which then need only be signed by itself.
        data: root metadata.

    Raises:
        TrustError: it may not.
    """
    metadata = parse(data)
    root = metadata.signed
    if before is not None and root.version != before.version + 1:
        raise TrustError(
            f"root version {root.version} can't follow version {before.version}: a version is missing between them",
            "bring every root version since, in one folder",
        )
    check_distinct(root)
    for rule in shortfalls(Root.type, metadata, before):
        if rule.missing:
            raise TrustError(f"root version {root.version}: {rule}", "it isn't to be trusted")
    return root


def check_reached(timestamp: Mapping[str, Any], root: int) -> None:
    """See that the roots on a stick lead as far as they did when it was signed.

    TUF by itself takes the last root that it finds: whoever removes the newer ones from a stick hides a revocation.

    Args:
        timestamp: fields of the signed timestamp that TUF doesn't know.
        root: version of the last root that was found and verified.

    Raises:
        TrustError: a later root was out already, and isn't on the stick.
    """
    reached = timestamp.get(REACHED_FIELD, 0)
    if isinstance(reached, bool) or not isinstance(reached, int) or reached > root:
        raise TrustError(
            f"the stick's roots end at version {root}, though version {reached} was out when it was signed",
            "a root was removed from the stick, or lost: ask for it to be written again",
        )
