"""What came of what: base and dataset → adapter → GGUF → release → sticks and devices. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.registry.facts import table, text
from appliance.registry.manifest import Manifest
from appliance.registry.records import Record

Edge = tuple[str, str, str, str]
"""(kind above, digest above, kind, digest or name)."""


def ancestors(manifest: Manifest) -> dict[str, str]:
    """Kind -> digest of what a release was made of, as far as its release.json tells: "base" (its weights),
    "dataset", "adapter", "model" (the GGUF)."""
    provenance = table(manifest.raw, "provenance")
    found = {
        "base": text(provenance, "base", "weights"),
        "dataset": text(provenance, "dataset"),
        "adapter": text(provenance, "training", "adapter_sha256"),
        "model": manifest.model.sha256,
    }
    return {kind: digest for kind, digest in found.items() if digest}


def edges(record: Record, manifest: Manifest) -> Iterator[Edge]:
    """The lineage of one release, as edges from what came before to what came of it."""
    known = ancestors(manifest)
    model, release = known["model"], record.release
    adapter = known.get("adapter")
    for kind in ("base", "dataset"):
        if kind in known:
            # Without an adapter that is told of, the file itself is what came of them.
            yield (kind, known[kind], "adapter", adapter) if adapter else (kind, known[kind], "model", model)
    if adapter:
        yield ("adapter", adapter, "model", model)
    yield ("model", model, "release", release)
    for parent in record.parents:
        yield ("release", parent, "release", release)
    for sighting in record.sightings:
        yield ("release", release, sighting.kind, sighting.name)
