"""After a release was made: it goes into the registry, and a version that should have been raised is told of."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.events import Emit, Event
from appliance.paths import registry_folder
from appliance.registry import version as versions
from appliance.registry.proposal import Proposal, propose
from appliance.registry.release import Release
from appliance.registry.store import Registry


@dataclass(frozen=True)
class Recorded:
    """What came of it.

    Attributes:
        new: whether the registry hadn't this release yet.
        proposal: the version that it should have had, where its own isn't above the last one's; else None.
    """

    new: bool
    proposal: Proposal | None


def record_release(release: Release, emit: Emit) -> Recorded:
    """Add an assembled release to the user's registry.

    Raises:
        StorageError: the registry can't be written.
        TrustError: a file isn't what release.json says.
    """
    with Registry(registry_folder()) as registry:
        former = [
            each for each in registry.index().listed(release.manifest.name) if each.digest != release.digest
        ]
        added = registry.add(release.folder)
        proposal = None
        # The list is by version, so its first is the highest; asked only of a release that wasn't there.
        if (
            added.new
            and former
            and versions.parse(former[0].version) >= versions.parse(release.manifest.version)
        ):
            proposal = propose(registry.manifest(former[0].digest), release.manifest)
    if added.new:
        emit(Event("release", "message", f"in the registry: {registry.folder}"))
    if proposal is not None:
        emit(Event("release", "warning", advice(release, proposal), data={"version": str(proposal.version)}))
    return Recorded(added.new, proposal)


def advice(release: Release, proposal: Proposal) -> str:
    """A proposal as a line for a person."""
    return (
        f"version {release.manifest.version} isn't above {proposal.last}, the highest in the registry; "
        f"{proposal} would say what changed: raise `version` in anchorhold.toml"
    )
