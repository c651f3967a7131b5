"""Which version should come next, and why: what a release changes against the one before. Pure.

major: the base, the chat template or the schema changed: who calls the model must look at their calls.
minor: the data, the training or the system prompt changed: it answers the same calls otherwise.
patch: the quantization or what is told about it changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from appliance.registry import version as versions
from appliance.registry.facts import part
from appliance.registry.manifest import Manifest, schema_of, system_of

Size = Literal["major", "minor", "patch"]
_ORDER: tuple[Size, ...] = ("major", "minor", "patch")
Change = tuple[Size, str]


@dataclass(frozen=True)
class Proposal:
    """What the new release should be called.

    Attributes:
        last: the version it was compared with.
        version: the proposed one.
        size: of the largest change.
        reasons: every change of that size, in words; the smaller ones are left out.
    """

    last: versions.Version
    version: versions.Version
    size: Size
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.version} ({self.size}: {', '.join(self.reasons)})"


def _kind(raw: dict[str, Any]) -> str:
    """The quantization as people read it: "150 Q4_0, 61 Q8_0, 61 F32"."""
    tensors = part(raw, "provenance", "model", "tensors")
    if not isinstance(tensors, dict) or not tensors:
        return "unknown types"
    counts = sorted(tensors.items(), key=lambda item: (-item[1] if isinstance(item[1], int) else 0, item[0]))
    return ", ".join(f"{count} {name}" for name, count in counts)


def _base_changes(last: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for key, text in (
        ("weights", "another base model"),
        ("config", "the base model's configuration changed"),
        ("tokenizer", "the tokenizer changed"),
    ):
        if part(last, "provenance", "base", key) != part(new, "provenance", "base", key):
            yield "major", text
            return  # another base brings all of it


def changes(last: Manifest, new: Manifest) -> Iterator[Change]:
    """What differs between two releases, each with the size of version step that it asks for."""
    one, other = last.raw, new.raw
    yield from _base_changes(one, other)
    if one.get("chat_template_sha256") != other.get("chat_template_sha256"):
        yield "major", "the chat template changed"
    former, now = schema_of(one), schema_of(other)
    # As text too: the order of properties is part of what a program reads.
    if one.get("schema", "") != other.get("schema", ""):
        text = (
            "the schema changed"
            if former and now
            else "there is a schema now"
            if now
            else "the schema is gone"
        )
        yield "major", text
    if part(one, "provenance", "dataset") != part(other, "provenance", "dataset"):
        yield "minor", "the data changed"
    if system_of(one) != system_of(other):
        yield "minor", "the system prompt changed"
    if part(one, "provenance", "training") != part(other, "provenance", "training"):
        yield "minor", "it was trained anew"
    types = _kind(one), _kind(other)
    if types[0] != types[1]:
        yield "patch", f"the quantization changed from {types[0]} to {types[1]}"
    elif last.model.sha256 != new.model.sha256:
        yield "patch", "the model file changed"
    told = {"format", "name", "version", "schema", "chat_template_sha256", "system", "provenance", "files"}
    rest = sorted(key for key in (one.keys() | other.keys()) - told if one.get(key) != other.get(key))
    if part(one, "provenance", "config") != part(other, "provenance", "config"):
        rest.append("configuration")
    if _others(last) != _others(new):
        rest.append("reports")
    if rest:
        yield "patch", f"what is told about it changed ({', '.join(rest)})"


def _others(manifest: Manifest) -> dict[str, str]:
    return {file.name: file.sha256 for file in manifest.files if file.role != "model"}


def propose(last: Manifest, new: Manifest) -> Proposal | None:
    """The version that `new` should have, coming after `last`; None if nothing differs but the version."""
    found = list(changes(last, new))
    if not found:
        return None
    size = min((each for each, _ in found), key=_ORDER.index)
    former = versions.parse(last.version)
    reasons = tuple(text for each, text in found if each == size)
    return Proposal(former, versions.propose_next(former, size), size, reasons)
