"""The ML-BOM of a release: what the model was made of and how it did, as CycloneDX 1.6 JSON. Pure.

Made of release.json's facts and the dataset's card. Equal facts give equal bytes: it holds no time, and its serial
number is made of the rest.
"""

from __future__ import annotations

import uuid
from typing import Any

from appliance import storage
from appliance.registry import measures
from appliance.registry.facts import count, entries, table, text
from appliance.registry.manifest import is_digest

FILE_NAME = "bom.cdx.json"
ROLE = "bom"
SPEC_VERSION = "1.6"
_SPACE = uuid.UUID("6f9a2a4e-2f0b-5f0e-9d4c-1d8f6f2f7a10")  # of our serial numbers
_MOST_SOURCES = 1000
MODEL, BASE, ADAPTER, DATASET = "model", "base", "adapter", "dataset"


def _properties(**facts: object) -> list[dict[str, str]]:
    told = {name.replace("_", "-"): value for name, value in facts.items() if value not in ("", None)}
    return [{"name": f"anchorhold:{name}", "value": str(value)} for name, value in told.items()]


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}] if is_digest(sha256) else []


def _present(component: dict[str, Any]) -> dict[str, Any]:
    """Without what isn't known."""
    return {name: value for name, value in component.items() if value not in ("", None, [], {})}


def _number(value: float) -> str:
    return f"{value:.6g}"


def _metric(measure: measures.Measure) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": measure.metric, "value": _number(measure.value), "slice": measure.suite}
    if measure.low is not None and measure.high is not None:
        metric["confidenceInterval"] = {
            "lowerBound": _number(measure.low),
            "upperBound": _number(measure.high),
        }
    return metric


def _model_card(raw: dict[str, Any], audit: Any) -> dict[str, Any]:
    figures = [_metric(each) for each in measures.of_release(raw, audit) if each.system == measures.SHIPPED]
    training = table(raw, "provenance", "training")
    parameters = {
        "approach": {"type": "supervised"},
        "task": "text-generation",
        "architectureFamily": "decoder-only transformer",
        "modelArchitecture": text(raw, "provenance", "base", "architecture"),
        "datasets": [{"ref": DATASET}],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "text"}],
    }
    card = {
        "modelParameters": _present(parameters),
        "quantitativeAnalysis": {"performanceMetrics": figures} if figures else {},
        "properties": _properties(
            quantization=text(raw, "provenance", "model", "type"),
            bits_per_weight=table(raw, "provenance", "model").get("bits_per_weight"),
            training_steps=training.get("steps"),
            training_rows=training.get("rows"),
            training_tokens=training.get("tokens"),
            memory_bytes=count(raw, "needs", "memory_bytes") or None,
            context_tokens=count(raw, "needs", "context") or None,
        ),
    }
    return _present(card)


def _source(source: dict[str, Any]) -> dict[str, Any]:
    licence = text(source, "licence")
    return _present(
        {
            "type": "data",
            "bom-ref": f"source:{text(source, 'sha256') or text(source, 'name')}",
            "name": text(source, "name"),
            "hashes": _hashes(text(source, "sha256")),
            "licenses": [{"license": {"name": licence}}] if licence else [],
            "properties": _properties(rows=source.get("rows"), format=text(source, "format")),
        }
    )


def _dataset(raw: dict[str, Any], card: dict[str, Any]) -> dict[str, Any]:
    rows = table(card, "rows")
    splits = [
        _present(
            {"type": "data", "bom-ref": f"split:{name}", "name": f"{name}.jsonl", "hashes": _hashes(digest)}
        )
        for name, digest in sorted(table(card, "files").items())
        if isinstance(digest, str)
    ]
    sources = {text(each, "sha256") or text(each, "name"): each for each in entries(card, "sources")}
    listed = [_source(sources[key]) for key in sorted(sources)[:_MOST_SOURCES]]
    data = {"type": "dataset", "name": "examples", "description": text(card, "split")}
    return _present(
        {
            "type": "data",
            "bom-ref": DATASET,
            "name": f"{raw['name']}-dataset",
            "data": [_present(data)],
            "components": splits + listed,
            "properties": _properties(
                rows_digest=text(raw, "provenance", "dataset"),
                **{f"{name}_rows": value for name, value in sorted(rows.items())},
            ),
        }
    )


def _base(raw: dict[str, Any]) -> dict[str, Any]:
    base = table(raw, "provenance", "base")
    return _present(
        {
            "type": "machine-learning-model",
            "bom-ref": BASE,
            "name": text(base, "name") or "base",
            "hashes": _hashes(text(base, "source")),
            "properties": _properties(
                weights_digest=text(base, "weights"),
                config_sha256=text(base, "config"),
                tokenizer_digest=text(base, "tokenizer"),
            ),
        }
    )


def _libraries(raw: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "type": "library",
            "bom-ref": purl(name, version),
            "name": name,
            "version": version,
            "purl": purl(name, version),
        }
        for name, version in sorted(table(raw, "built_with", "libraries").items())
        if isinstance(version, str)
    ]


def purl(name: str, version: str) -> str:
    """The package URL of a Python distribution."""
    return f"pkg:pypi/{name.lower().replace('_', '-')}@{version.replace('+', '%2B')}"


def make(raw: dict[str, Any], card: dict[str, Any], audit: Any = None) -> bytes:
    """The ML-BOM of a release.

    Args:
        raw: its release.json, the BOM itself not yet among its files.
        card: of the dataset.
        audit: its audit.json, if it has one.
    """
    model = next(file for file in entries(raw, "files") if file["role"] == "model")
    adapter = text(raw, "provenance", "training", "adapter_sha256")
    components = [_base(raw), _dataset(raw, card)]
    if adapter:
        components.append(
            _present(
                {
                    "type": "machine-learning-model",
                    "bom-ref": ADAPTER,
                    "name": f"{raw['name']}-adapter",
                    "hashes": _hashes(adapter),
                }
            )
        )
    components += _libraries(raw)
    subject = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": raw["name"],
        "version": raw["version"],
        "description": text(raw, "description"),
        "hashes": _hashes(model["sha256"]),
        "modelCard": _model_card(raw, audit),
        "properties": _properties(file=model["name"], bytes=model["bytes"]),
    }
    tool = {"type": "application", "name": "anchorhold", "version": text(raw, "built_with", "anchorhold")}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {"tools": {"components": [_present(tool)]}, "component": _present(subject)},
        "components": components,
        "dependencies": [
            {"ref": MODEL, "dependsOn": [component["bom-ref"] for component in components]},
            *([{"ref": ADAPTER, "dependsOn": [BASE, DATASET]}] if adapter else []),
        ],
    }
    bom["serialNumber"] = f"urn:uuid:{uuid.uuid5(_SPACE, storage.sha256_json(bom))}"
    return storage.canonical_json(bom)
