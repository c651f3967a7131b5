"""Sites: each may have keys of its own, which sign releases for that site's devices and for no other.

The targets role delegates to `site-NAME` whatever target path begins with `NAME.`; a site's release is therefore called
`NAME.something`. All here is pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from securesystemslib.signer import Key
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Snapshot, TargetFile, Targets

from appliance.errors import KeysError, TrustError, UsageError
from appliance.trust import sealing

PREFIX = "site-"
_SITE = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_HINT = "ask whoever made the stick; nothing on this device has changed"


def check_site(site: str) -> str:
    """`site`, if it can be a site's name.

    Raises:
        UsageError: it can't.
    """
    if not _SITE.fullmatch(site):
        raise UsageError(f"{site!r}: no name of a site", "up to 32 of a-z 0-9 _ -, a letter or digit first")
    return site


def role_of(site: str) -> str:
    """The TUF role that signs for a site."""
    return PREFIX + check_site(site)


def pattern_of(site: str) -> str:
    """The target paths that a site's keys may sign."""
    return f"{check_site(site)}.*"


def delegate(targets: Targets, site: str, keys: Sequence[Key], threshold: int) -> None:
    """Let `keys` sign for `site`, in place of whoever could before.

    Raises:
        KeysError: a threshold that can't be met, or one key twice.
    """
    role, own = role_of(site), {sealing.canonical(key).keyid for key in keys}
    if len(own) != len(keys) or not 1 <= threshold <= len(keys):
        raise KeysError(
            f"{site}: {threshold} of {len(own)} keys can't sign", "give as many different keys as must sign"
        )
    withdraw(targets, site)
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None
    targets.delegations.keys.update({key.keyid: key for key in keys})
    targets.delegations.roles[role] = DelegatedRole(
        role, [key.keyid for key in keys], threshold, terminating=True, paths=[pattern_of(site)]
    )


def withdraw(targets: Targets, site: str) -> None:
    """Let nobody but the targets keys sign for `site`."""
    if targets.delegations is None or not targets.delegations.roles:
        return
    roles = targets.delegations.roles
    roles.pop(role_of(site), None)
    used = {keyid for role in roles.values() for keyid in role.keyids}
    targets.delegations.keys = {k: key for k, key in targets.delegations.keys.items() if k in used}
    if not roles:
        targets.delegations = None


def find(targets: Targets, site: str) -> DelegatedRole | None:
    """Who may sign for `site`; None if it has no keys of its own.

    Raises:
        TrustError: the role covers other paths than the site's.
    """
    role = (targets.delegations.roles or {}).get(role_of(site)) if targets.delegations else None
    if role is not None and role.paths != [pattern_of(site)]:
        raise TrustError(f"{role.name} covers other paths than {pattern_of(site)}", _HINT)
    return role


def check_files(site: str, targets: Targets, delegated: Targets) -> dict[str, TargetFile]:
    """What a site's own metadata, its signatures verified, adds to what the targets role signed.

    Args:
        site: whose.
        targets: of the targets role; what it signed can't be replaced.
        delegated: of the site's role.

    Raises:
        TrustError: a path or release of another site, one that the targets role signed, or a further delegation.
    """
    role = find(targets, site)
    if role is None:
        raise TrustError(f"nobody may sign for {site}", _HINT)
    if delegated.delegations is not None:
        raise TrustError(f"{role.name} lets others sign, which it may not", _HINT)
    for path, entry in delegated.targets.items():
        fields: Any = (entry.custom or {}).get("anchorhold", {})
        name = fields.get("name", f"{site}.") if isinstance(fields, dict) else None
        if not role.is_delegated_path(path) or not isinstance(name, str) or not name.startswith(f"{site}."):
            raise TrustError(f"{path!r}: {role.name} signed what is not of {site}", _HINT)
        if path in targets.targets:
            raise TrustError(f"{path!r}: signed by {role.name} and by the targets keys", _HINT)
    return dict(delegated.targets)


def verify(
    site: str, targets: Targets, snapshot: Snapshot, data: bytes, now: datetime | None
) -> Metadata[Targets]:
    """A site's own metadata, if it can be believed.

    Args:
        site: whose.
        targets, snapshot: verified.
        data: of `VERSION.site-NAME.json`, the version as `version_of` tells it.
        now: to judge expiry by; None for whoever is about to sign anew.

    Raises:
        TrustError: not signed by enough of the site's keys, another version than the snapshot's, expired, or it holds
            what it may not.
    """
    role, version = role_of(site), version_of(site, snapshot)
    try:
        metadata = Metadata[Targets].from_bytes(data)
        if not isinstance(metadata.signed, Targets) or version is None:
            raise ValueError("no targets metadata that the snapshot names")
        targets.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        if metadata.signed.version != version:
            raise ValueError(f"version {metadata.signed.version}, but the snapshot names {version}")
        if now is not None and metadata.signed.is_expired(now):
            raise ValueError("it has expired")
    except (tuf_errors.RepositoryError, ValueError) as error:
        raise TrustError(f"what is signed for {site} can't be trusted: {error}", _HINT) from error
    check_files(site, targets, metadata.signed)
    return metadata


def version_of(site: str, snapshot: Snapshot) -> int | None:
    """Which version of a site's metadata belongs to a snapshot; None: the site has nothing of its own."""
    listed = snapshot.meta.get(f"{role_of(site)}.json")
    return None if listed is None else listed.version
