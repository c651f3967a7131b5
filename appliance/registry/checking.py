"""Is a registry what it says? Every record, every object's bytes, and the index against both."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance import storage
from appliance.errors import TrustError
from appliance.events import Emit, Event
from appliance.registry import manifest as manifests
from appliance.registry.store import Registry

_AGAIN = "add that release again from its folder (`anchorhold registry add`) or an export (`import`): it is put right"
_REBUILD = "`anchorhold registry verify --rebuild` makes the index again; nothing is lost by that"


@dataclass(frozen=True)
class Fault:
    """Something wrong: what and where, and what to do."""

    text: str
    todo: str


@dataclass
class Report:
    """What was found.

    Attributes:
        releases, objects, bytes: what was looked at.
        faults: what is wrong.
        unreferred: digest -> bytes of objects that no release refers to; no fault, gc takes them.
    """

    releases: int = 0
    objects: int = 0
    bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    unreferred: dict[str, int] = field(default_factory=dict)


def _needed(registry: Registry, report: Report) -> dict[str, tuple[int, list[str]]]:
    """Digest -> size and who needs it, of all objects but the release.json files, which are read here."""
    needed: dict[str, tuple[int, list[str]]] = {}
    for digest, change in sorted(registry.records.newest().items()):
        report.releases += 1
        try:
            registry.records.read(digest, change)
        except TrustError as error:
            report.faults.append(Fault(error.message, error.hint))
        try:
            data = registry.objects.read(digest, manifests.MAX_BYTES)
            manifest = manifests.parse(data)
        except TrustError as error:
            report.faults.append(Fault(f"release {digest}: {error.message}", _AGAIN))
            continue
        report.objects += 1
        report.bytes += len(data)
        for file in manifest.files:
            who = needed.setdefault(file.sha256, (file.bytes, []))[1]
            who.append(f"{manifest.name} {manifest.version} ({file.name})")
    return needed


def _object_fault(registry: Registry, digest: str, size: int, quick: bool) -> str:
    if not registry.objects.holds(digest):
        return "missing"
    if not registry.objects.holds(digest, size):
        return f"not {size} bytes long"
    if not quick and storage.sha256_file(registry.objects.path(digest)) != digest:
        return "damaged: its bytes aren't those that were added"
    return ""


def _object_faults(
    registry: Registry, needed: dict[str, tuple[int, list[str]]], quick: bool, emit: Emit
) -> Iterator[Fault]:
    total, done = sum(size for size, _ in needed.values()), 0
    for digest, (size, who) in sorted(needed.items()):
        fault = _object_fault(registry, digest, size, quick)
        if fault:
            more = f" and {len(who) - 1} more" if len(who) > 1 else ""
            yield Fault(f"object {digest} of {who[0]}{more}: {fault}", _AGAIN)
        done += size
        emit(Event("verify", "progress", done=done, total=total, unit="bytes"))


def verify(registry: Registry, emit: Emit, *, quick: bool = False) -> Report:
    """Look at everything.

    Args:
        quick: sizes of the files only, not their bytes; release.json files are read all the same.

    Raises:
        UsageError: no registry there.
    """
    report = Report()
    with registry.reading():
        needed = _needed(registry, report)
        emit(Event("verify", "started", f"reading {len(needed)} objects of {report.releases} releases"))
        report.faults += _object_faults(registry, needed, quick, emit)
        report.objects += len(needed)
        report.bytes += sum(size for size, _ in needed.values())
        releases = registry.records.newest()
        report.unreferred = {
            digest: size
            for digest, size in registry.objects.sizes().items()
            if digest not in needed and digest not in releases
        }
        fault = registry.index_fault()
        if fault:
            report.faults.append(Fault(f"{registry.index_path}: {fault}", _REBUILD))
    return report
