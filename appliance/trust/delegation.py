"""Sites: each may have keys of its own, which sign releases for that site's devices and for no other.

The targets role delegates to `site-NAME` whatever target path begins with `NAME.`; a site's release is therefore called
`NAME.something`. Pure but for `load`, which lets python-tuf read what a stick holds for a site.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from securesystemslib.signer import Key
from tuf.api import exceptions as tuf_errors
from tuf.api.metadata import DelegatedRole, Delegations, TargetFile, Targets
from tuf.ngclient import Updater

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


def load(updater: Updater, site: str) -> tuple[Targets, dict[str, TargetFile]] | None:
    """The metadata and files of `site` behind an updater that has been refreshed; None if the site has no keys.

    python-tuf checks signatures, threshold, version and expiry, as for every other role. Metadata of other sites
    isn't looked at.

    Raises:
        TrustError: not signed by the site's keys, expired, missing, or it holds what it may not.
    """
    trusted = updater._trusted_set
    targets = trusted.targets
    if find(targets, site) is None:
        return None
    try:
        updater.get_targetinfo(f"{site}.")  # no file is called so: it makes python-tuf load the role
        delegated = trusted[role_of(site)]
    except (tuf_errors.RepositoryError, tuf_errors.DownloadError, KeyError) as error:
        raise TrustError(f"what is signed for {site} can't be trusted: {error}", _HINT) from error
    assert isinstance(delegated, Targets)
    return delegated, check_files(site, targets, delegated)
