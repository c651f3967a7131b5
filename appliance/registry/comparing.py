"""Two releases side by side: what changed, how the figures moved, and which bytes differ."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from appliance.errors import AnchorholdError
from appliance.registry import manifest as manifests
from appliance.registry import measures, proposal
from appliance.registry.manifest import Manifest, ReleaseFile
from appliance.registry.measures import Measure
from appliance.registry.store import Registry

Verdict = Literal["higher", "lower", "no difference shown", "not comparable", "equal"]


@dataclass(frozen=True)
class Moved:
    """One figure in both releases.

    Attributes:
        suite, system, metric: which.
        first, second: the figures; None where it wasn't measured.
        verdict: of the second against the first. "higher" and "lower" are said only where the 95 % intervals don't
            meet, which is stricter than a paired test; "not comparable" where other cases were asked.
    """

    suite: str
    system: str
    metric: str
    first: float | None
    second: float | None
    verdict: Verdict


@dataclass(frozen=True)
class FileChange:
    """A file by its role and name; sizes in bytes, None where there is no such file."""

    name: str
    role: str
    first: int | None
    second: int | None
    equal: bool


@dataclass(frozen=True)
class TensorChange:
    """A tensor that differs.

    Attributes:
        name: in the GGUF.
        what: in words, such as "Q4_0 -> Q8_0" or "12 of 4096 bytes differ".
    """

    name: str
    what: str


@dataclass(frozen=True)
class Tensors:
    """What a comparison of two GGUF files found.

    Attributes:
        equal: how many tensors are the same.
        changes: those that aren't.
        metadata: keys whose values differ.
        fault: why nothing could be compared; empty if it could.
    """

    equal: int = 0
    changes: tuple[TensorChange, ...] = ()
    metadata: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two releases side by side; `changes` are (size of the version step, what changed)."""

    changes: tuple[tuple[str, str], ...]
    figures: tuple[Moved, ...]
    files: tuple[FileChange, ...]
    tensors: Tensors = field(default_factory=Tensors)


def verdict(first: Measure | None, second: Measure | None) -> Verdict:
    """How the second figure stands to the first; pure."""
    if first is None or second is None or first.asked != second.asked:
        return "not comparable"
    if first.value == second.value:
        return "equal"
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return "no difference shown"
    if second.low > first.high:
        return "higher"
    return "lower" if second.high < first.low else "no difference shown"


def moved(first: list[Measure], second: list[Measure]) -> tuple[Moved, ...]:
    """Every figure that either release has, in the first's order; pure."""
    one = {(each.suite, each.system, each.metric): each for each in first}
    other = {(each.suite, each.system, each.metric): each for each in second}
    found = []
    for key in dict.fromkeys([*one, *other]):
        was, now = one.get(key), other.get(key)
        values = (was.value if was else None, now.value if now else None)
        found.append(Moved(*key, *values, verdict(was, now)))
    return tuple(found)


def file_changes(first: Manifest, second: Manifest) -> tuple[FileChange, ...]:
    """Every file of either release; the models are one file, whatever they are called. Pure."""

    def by_key(manifest: Manifest) -> dict[tuple[str, str], ReleaseFile]:
        return {(each.role, "" if each.role == "model" else each.name): each for each in manifest.files}

    one, other = by_key(first), by_key(second)
    found = []
    for key in dict.fromkeys([*one, *other]):
        was, now = one.get(key), other.get(key)
        same = was is not None and now is not None and was.sha256 == now.sha256
        name = now.name if now else was.name if was else ""
        found.append(FileChange(name, key[0], was.bytes if was else None, now.bytes if now else None, same))
    return tuple(found)


def _tensor_changes(first: Any, second: Any) -> Iterator[TensorChange]:
    import numpy as np

    for name in dict.fromkeys([*first.tensors, *second.tensors]):
        was, now = first.tensors.get(name), second.tensors.get(name)
        if was is None or now is None:
            yield TensorChange(name, "only in the second" if was is None else "only in the first")
        elif was.type.name != now.type.name:
            yield TensorChange(name, f"{was.type.name} -> {now.type.name}")
        elif was.shape != now.shape:
            yield TensorChange(name, f"shape {list(was.shape)} -> {list(now.shape)}")
        elif not np.array_equal(was.data, now.data):
            count = int(np.count_nonzero(was.data != now.data))
            yield TensorChange(name, f"{count} of {was.data.size} bytes differ")


def compare_tensors(first: Path, second: Path) -> Tensors:
    """Compare two GGUF files tensor by tensor, and key by key."""
    from appliance.conversion import reported_errors
    from convert import gguf_file

    try:
        with reported_errors():
            one, other = gguf_file.read(first), gguf_file.read(second)
    except AnchorholdError as error:
        return Tensors(fault=error.message)
    changes = tuple(_tensor_changes(one, other))
    names = one.tensors.keys() | other.tensors.keys()
    keys = sorted(
        key
        for key in one.metadata.keys() | other.metadata.keys()
        if one.metadata.get(key) != other.metadata.get(key)
    )
    return Tensors(len(names) - len(changes), changes, tuple(keys))


def audit_of(registry: Registry, manifest: Manifest) -> Any:
    """The parsed audit.json that a release brings, or None.

    Raises:
        TrustError: its object is missing or damaged.
    """
    file = manifests.audit_of(manifest.raw)
    if file is None:
        return None
    try:
        return json.loads(registry.objects.read(file.sha256, manifests.MAX_AUDIT_BYTES))
    except (ValueError, RecursionError):
        return None


def compare(registry: Registry, first: str, second: str) -> Comparison:
    """Compare two releases by their digests.

    Raises:
        TrustError: a release.json is missing or damaged.
    """
    with registry.reading():
        one, other = registry.manifest(first), registry.manifest(second)
        figures = moved(
            measures.of_release(one.raw, audit_of(registry, one)),
            measures.of_release(other.raw, audit_of(registry, other)),
        )
        tensors = Tensors()
        if one.model.sha256 != other.model.sha256:
            paths = [registry.objects.path(each.model.sha256) for each in (one, other)]
            tensors = compare_tensors(*paths)
    return Comparison(tuple(proposal.changes(one, other)), figures, file_changes(one, other), tensors)
