"""Sites of a publisher: who may sign for each (`sites.json` beside the keys), and what a stick holds for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from securesystemslib.signer import Key, Signer
from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets

from appliance import storage
from appliance.errors import KeysError, PassphraseError, TokenError, TrustError, UsageError
from appliance.events import Emit, Event
from appliance.regular_file import open_regular
from appliance.trust import client, delegation, limits
from appliance.trust.folder import read_inside
from appliance.trust.unlocking import Secrets

FILE_NAME = "sites.json"
FORMAT = "anchorhold-sites/1"


@dataclass(frozen=True)
class Site:
    """Who may sign for a site: `threshold` of `keys`."""

    threshold: int
    keys: tuple[Key, ...]


def read(folder: Path) -> dict[str, Site]:
    """The sites of the publisher whose keys lie in `folder`; none before the first was named.

    Raises:
        KeysError: damaged.
    """
    path = folder / FILE_NAME
    try:
        with open_regular(path) as stream:
            value = json.loads(stream.read(limits.TARGETS_BYTES))
        if value["format"] != FORMAT:
            raise ValueError("another format")
        return {
            delegation.check_site(name): Site(
                int(site["threshold"]),
                tuple(Key.from_dict(keyid, dict(key)) for keyid, key in site["keys"].items()),
            )
            for name, site in value["sites"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise KeysError(f"{path}: damaged ({error})", "restore it from a backup of the keys") from error


def write(folder: Path, sites: Mapping[str, Site]) -> None:
    """Keep who may sign for which site; devices hear of it with the next stick that the targets keys sign.

    Raises:
        KeysError: a threshold that can't be met.
    """
    delegated(sites)
    value = {
        name: {"threshold": site.threshold, "keys": {key.keyid: key.to_dict() for key in site.keys}}
        for name, site in sites.items()
    }
    storage.write_json(folder / FILE_NAME, {"format": FORMAT, "sites": value}, mode=0o600)


def delegated(sites: Mapping[str, Site]) -> Targets:
    """Targets metadata without files that lets the keys of `sites` sign.

    Raises:
        KeysError: a threshold that can't be met.
    """
    targets = Targets()
    for name in sorted(sites):
        delegation.delegate(targets, name, sites[name].keys, sites[name].threshold)
    return targets


def of_release(name: str, sites: Mapping[str, Site]) -> str | None:
    """The site that a release called `name` is for; None: for all."""
    site, dot, _ = name.partition(".")
    return site if dot and site in sites else None


def on_stick(
    stick: Path,
    before: client.Verified,
    sites: Mapping[str, Site],
    now: datetime,
    emit: Emit,
    *,
    resigned: str | None,
) -> dict[str, Metadata[Targets]]:
    """What a stick holds for each site, as far as those who may sign for it now have signed it.

    Args:
        stick: its folder.
        before: its verified metadata.
        sites: who may sign.
        now: what has expired by then is left out.
        emit: told of what is left out.
        resigned: the site whose metadata is signed anew, so that its expiry doesn't matter.
    """
    signed = Metadata[Snapshot].from_bytes(before.metadata["snapshot.json"]).signed
    targets = delegated(sites)
    targets.targets = dict(before.files)
    found = {}
    for site in sorted(sites):
        version = delegation.version_of(site, signed)
        if version is None:
            continue
        name = f"metadata/{version}.{delegation.role_of(site)}.json"
        try:
            data = read_inside(stick, name, limits.TARGETS_BYTES)
            found[site] = delegation.verify(site, targets, signed, data, None if site == resigned else now)
        except (TrustError, FileNotFoundError) as error:
            emit(Event("stick", "warning", f"what was signed for {site} leaves the stick: {error}"))
    return found


def read_back(stick: Path, verified: client.Verified, now: datetime) -> dict[str, TargetFile]:
    """The files of every site that a stick's metadata names, checked as each site's device does.

    Raises:
        TrustError: something of a site can't be believed.
    """
    files: dict[str, TargetFile] = {}
    targets = Metadata[Targets].from_bytes(verified.metadata["targets.json"]).signed
    for role in (targets.delegations.roles or {}) if targets.delegations else {}:
        files.update(files_of(stick, verified, role.removeprefix(delegation.PREFIX), now))
    return files


def files_of(
    stick: Path, verified: client.Verified, site: str, now: datetime | None
) -> dict[str, TargetFile]:
    """What is signed for `site` on a stick, beside what is signed for all; nothing where it has no keys or no release.

    Args:
        stick: its folder.
        verified: its metadata.
        site: the device's own.
        now: to judge expiry by.

    Raises:
        TrustError: it can't be believed.
    """
    return signed_for(stick, verified, site, now)[0]


def signed_for(
    stick: Path, verified: client.Verified, site: str, now: datetime | None
) -> tuple[dict[str, TargetFile], tuple[str, ...]]:
    """`files_of`, and the ids of the keys that signed them."""
    targets = Metadata[Targets].from_bytes(verified.metadata["targets.json"]).signed
    snapshot = Metadata[Snapshot].from_bytes(verified.metadata["snapshot.json"]).signed
    version = delegation.version_of(site, snapshot)
    if version is None or delegation.find(targets, site) is None:
        return {}, ()
    name = f"metadata/{version}.{delegation.role_of(site)}.json"
    try:
        data = read_inside(stick, name, limits.TARGETS_BYTES)
    except FileNotFoundError as error:
        raise TrustError(
            f"{name} is missing: the stick isn't whole", "ask for it to be written again"
        ) from error
    metadata = delegation.verify(site, targets, snapshot, data, now)
    role = delegation.role_of(site)
    result = targets.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    return dict(metadata.signed.targets), tuple(sorted(result.signed))


def unlock(folder: Path, secrets: Secrets) -> dict[str, list[Signer]]:
    """Signers of all sites whose keys lie in `folder` and can be opened, by role."""
    from appliance.trust import keys  # a device that looks at a stick opens none

    found = {}
    for site, rule in read(folder).items():
        role = delegation.role_of(site)
        with contextlib.suppress(PassphraseError, TokenError):  # the site's own people have theirs
            found[role] = keys.open_role(folder, secrets, role, [key.keyid for key in rule.keys])
    return found
