"""How a release was built: an in-toto Statement v1 with SLSA's provenance v1 as its predicate. Pure.

It claims level 1 of SLSA's build track: it exists and says how the file was made. The workshop is its own builder, so
nobody else vouches for it; it is signed with the release, as every other file. It holds no time: equal facts give equal
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance import storage
from appliance.registry import bill_of_materials
from appliance.registry.facts import entries, table, text
from appliance.registry.manifest import is_digest

FILE_NAME = "provenance.intoto.json"
ROLE = "provenance"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:anchorhold:build:1"  # docs/formats/release.md says what its parameters are
BUILDER = "urn:anchorhold:workshop"


def _descriptor(name: str, digest: Mapping[str, str], **more: object) -> list[dict[str, Any]]:
    told = {algorithm: value for algorithm, value in digest.items() if is_digest(value)}
    return [{"name": name, "digest": told, **more}] if told else []


def _dependencies(raw: dict[str, Any], card: dict[str, Any]) -> list[dict[str, Any]]:
    base = table(raw, "provenance", "base")
    # `rows` and `files` are digests over other digests, as docs/formats say: never called sha256.
    found = _descriptor("base", {"sha256": text(base, "source"), "files": text(base, "weights")})
    found += _descriptor("base/config.json", {"sha256": text(base, "config")})
    found += _descriptor("base/tokenizer", {"files": text(base, "tokenizer")})
    found += _descriptor("dataset", {"rows": text(raw, "provenance", "dataset")})
    for name, digest in sorted(table(card, "files").items()):
        found += _descriptor(f"dataset/{name}.jsonl", {"sha256": str(digest)})
    for source in sorted(
        entries(card, "sources"), key=lambda each: (text(each, "name"), text(each, "sha256"))
    ):
        found += _descriptor(f"source/{text(source, 'name')}", {"sha256": text(source, "sha256")})
    for name, version in sorted(table(raw, "built_with", "libraries").items()):
        found.append({"name": name, "uri": bill_of_materials.purl(name, str(version))})
    return found


def make(raw: dict[str, Any], card: dict[str, Any], parameters: Mapping[str, Any]) -> bytes:
    """The statement of a release.

    Args:
        raw: its release.json, with every file but this one.
        card: of the dataset.
        parameters: what the builder chose: sections of anchorhold.toml without paths.
    """
    model = next(file for file in entries(raw, "files") if file["role"] == "model")
    others = [file for file in entries(raw, "files") if file is not model]
    training = table(raw, "provenance", "training")
    byproducts = [{"name": file["name"], "digest": {"sha256": file["sha256"]}} for file in others]
    adapter = text(training, "adapter_sha256")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": model["name"], "digest": {"sha256": model["sha256"]}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"name": raw["name"], "version": raw["version"], **parameters},
                "internalParameters": {
                    "config": text(raw, "provenance", "config"),
                    "training": {name: value for name, value in training.items() if name != "adapter_sha256"},
                    "model": table(raw, "provenance", "model"),
                },
                "resolvedDependencies": _dependencies(raw, card),
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER,
                    "version": {"anchorhold": text(raw, "built_with", "anchorhold")},
                },
                "byproducts": byproducts + _descriptor("adapter", {"sha256": adapter}),
            },
        },
    }
    return storage.canonical_json(statement)
