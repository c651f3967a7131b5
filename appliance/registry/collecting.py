"""Making room: releases that nobody needs any more, and objects that no release refers to.

A release goes by its record, durably, before any of its objects does; objects go while nobody adds. So a kill at any
moment leaves releases that are whole, and perhaps objects that the next collection takes.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.registry import manifest as manifests
from appliance.registry.records import Record
from appliance.registry.store import Registry

KEEP = 5  # releases of each name


@dataclass(frozen=True)
class Kept:
    """A release with what decides whether it stays."""

    record: Record
    manifest: manifests.Manifest

    @property
    def title(self) -> str:
        """Its name and version."""
        return f"{self.manifest.name} {self.manifest.version}"


@dataclass(frozen=True)
class Plan:
    """What goes.

    Attributes:
        releases: oldest first.
        objects: digest -> bytes.
        leftovers: files of killed writers, by count.
    """

    releases: tuple[Kept, ...]
    objects: dict[str, int]
    leftovers: int

    @property
    def bytes(self) -> int:
        """What becomes free, leftovers aside."""
        return sum(self.objects.values())


def choose(releases: list[Kept], keep: int) -> list[Kept]:
    """Which releases may go, oldest first. Pure.

    These stay: the `keep` added last of each name, all that are stable, all that went to a stick or a device.
    """
    seen: dict[str, int] = {}
    going = []
    for each in sorted(releases, key=lambda one: -one.record.number):
        seen[each.manifest.name] = seen.get(each.manifest.name, 0) + 1
        needed = each.record.channel == "stable" or each.record.sightings
        if seen[each.manifest.name] > keep and not needed:
            going.append(each)
    return going[::-1]


def referred(releases: list[Kept]) -> set[str]:
    """Digests of all objects that these releases are made of."""
    found = {each.record.release for each in releases}
    return found.union(file.sha256 for each in releases for file in each.manifest.files)


def read_all(registry: Registry) -> list[Kept]:
    """All releases, read from records and objects, not from the index.

    Raises:
        TrustError: one can't be read.
    """
    return [
        Kept(registry.records.read(digest, change), registry.manifest(digest))
        for digest, change in registry.records.newest().items()
    ]


def _plan(registry: Registry, keep: int) -> Plan:
    try:
        releases = read_all(registry)
    except TrustError as error:
        raise TrustError(
            f"nothing is removed while a release can't be read, for who knows what it refers to: {error.message}",
            error.hint,
        ) from error
    going = choose(releases, keep)
    gone = {each.record.release for each in going}
    needed = referred([each for each in releases if each.record.release not in gone])
    objects = {digest: size for digest, size in registry.objects.sizes().items() if digest not in needed}
    return Plan(tuple(going), objects, len(registry.objects.leftovers()))


def plan(registry: Registry, keep: int = KEEP) -> Plan:
    """What `collect` would remove.

    Objects of a release that is just being added count too; `collect` waits until it is in.

    Raises:
        TrustError: a release can't be read.
        UsageError: `keep` is under 1, or there is no registry.
    """
    if keep < 1:
        raise UsageError(f"--keep {keep}: at least the last release of each name stays", "give 1 or more")
    with registry.reading():
        return _plan(registry, keep)


def collect(registry: Registry, keep: int = KEEP) -> Plan:
    """Remove what `choose` names, and every object that no remaining release refers to.

    Raises:
        TrustError: a release can't be read; nothing was removed.
        UsageError: `keep` is under 1.
        StorageError: somebody is adding, and doesn't end.
    """
    if keep < 1:
        raise UsageError(f"--keep {keep}: at least the last release of each name stays", "give 1 or more")
    with registry.intake(alone=True):
        with registry.writing() as index:
            found = _plan(registry, keep)
            names = registry.records.names()
            for each in found.releases:
                registry.records.remove(each.record.release, names[each.record.release])
            registry.records.sync()
            with index.changing():
                for each in found.releases:
                    index.remove(each.record.release)
            storage.remove_leftovers(registry.records.folder)
        for digest in found.objects:
            registry.objects.remove(digest)
        for path in registry.objects.leftovers():
            path.unlink(missing_ok=True)
    return found
