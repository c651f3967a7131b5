"""The ML-BOM and the provenance statement: they fit their schemas, tell what is known, and are the same again."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError
from referencing import Registry, Resource

from appliance.registry import bill_of_materials, build_statement

SCHEMAS = Path(__file__).with_name("schemas")
RAW: dict[str, Any] = {
    "format": "anchorhold-release/1",
    "name": "notes",
    "version": "1.2.0",
    "description": "notes to work orders",
    "files": [
        {"name": "notes-q4_0.gguf", "role": "model", "sha256": "aa" * 32, "bytes": 1000},
        {"name": "report.html", "role": "report", "sha256": "bb" * 32, "bytes": 10},
    ],
    "provenance": {
        "base": {
            "name": "SmolLM2 135M", "architecture": "LlamaForCausalLM", "weights": "01" * 32, "config": "02" * 32,
            "tokenizer": "03" * 32, "source": "04" * 32,
        },
        "dataset": "05" * 32,
        "training": {"adapter_sha256": "06" * 32, "steps": 12, "rows": 600, "best_loss": 0.25},
        "config": "07" * 32,
        "model": {"type": "Q4_0", "bits_per_weight": 4.66},
    },
    "built_with": {"anchorhold": "0.1.0", "libraries": {"torch": "2.13.0+cpu", "llama-cpp-python": "0.3.36"}},
    "evaluation": {
        "systems": [
            {"key": "shipped", "rows": 140, "f1": 0.91, "exact": {"share": 0.8, "low": 0.7, "high": 0.9, "total": 140}},
            {"key": "base", "rows": 140, "f1": 0.1},
        ]
    },
    "needs": {"memory_bytes": 600_000_000, "context": 2048},
}  # fmt: skip
CARD: dict[str, Any] = {
    "digest": "05" * 32,
    "rows": {"train": 600, "valid": 40, "test": 140},
    "files": {"train": "08" * 32, "valid": "09" * 32, "test": "0a" * 32},
    "split": "by the groups of rows",
    "sources": [
        {"name": "orders.csv", "sha256": "0b" * 32, "rows": 700, "format": "csv", "licence": "CC-BY-4.0"},
        {"name": "more.jsonl", "sha256": "0c" * 32, "rows": 80, "format": "jsonl", "licence": ""},
    ],
}
PARAMETERS = {"training": {"epochs": 2.0, "rank": 16}, "convert": {"type": "Q4_0", "overrides": None}}
BARE: dict[str, Any] = {
    **RAW, "description": "", "provenance": {}, "evaluation": {}, "needs": {}, "built_with": {"anchorhold": "0.1.0"},
}  # fmt: skip


@cache
def cyclonedx() -> Draft7Validator:
    schemas = {path.name: json.loads(path.read_bytes()) for path in SCHEMAS.glob("*SNAPSHOT*.json")}
    base = "http://cyclonedx.org/schema/"
    known: Registry[Any] = Registry().with_resources(
        (base + name, Resource.from_contents(each)) for name, each in schemas.items()
    )
    return Draft7Validator(schemas["bom-1.6.SNAPSHOT.schema.json"], registry=known)


@cache
def slsa() -> Draft202012Validator:
    return Draft202012Validator(json.loads((SCHEMAS / "slsa-provenance-v1.schema.json").read_bytes()))


def bom(raw: dict[str, Any] = RAW, card: dict[str, Any] = CARD) -> dict[str, Any]:
    value = json.loads(bill_of_materials.make(raw, card))
    assert isinstance(value, dict)
    return value


def statement(raw: dict[str, Any] = RAW, card: dict[str, Any] = CARD) -> dict[str, Any]:
    value = json.loads(build_statement.make(raw, card, PARAMETERS))
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("raw", [RAW, BARE], ids=["all", "bare"])
@pytest.mark.parametrize("card", [CARD, {}], ids=["card", "no-card"])
def test_they_fit_their_schemas(raw: dict[str, Any], card: dict[str, Any]) -> None:
    cyclonedx().validate(bom(raw, card))
    slsa().validate(statement(raw, card))


@pytest.mark.parametrize(
    "change",
    [
        lambda b, s: (b.update(more=1), s.update(more=1)),
        lambda b, s: (b.pop("bomFormat"), s.pop("subject")),
        lambda b, s: (
            b["metadata"]["component"]["hashes"][0].update(content="xyz"),
            s["subject"][0]["digest"].update(sha256="xyz"),
        ),
        lambda b, s: (b["components"][0].update(type="model"), s["predicate"]["runDetails"]["builder"].pop("id")),
        lambda b, s: (
            b["metadata"]["component"]["modelCard"].update(x=1),
            s["predicate"]["buildDefinition"]["resolvedDependencies"][0].pop("digest"),
        ),
    ],
    ids=range(5),
)  # fmt: skip
def test_the_schemas_find_what_is_wrong(change: Any) -> None:
    """Else the test above could not fail."""
    wrong_bom, wrong_statement = bom(), statement()
    change(wrong_bom, wrong_statement)
    for validator, value in ((cyclonedx(), wrong_bom), (slsa(), wrong_statement)):
        with pytest.raises(ValidationError):
            validator.validate(value)


def test_equal_facts_give_equal_bytes_and_others_others() -> None:
    shuffled = json.loads(json.dumps(RAW, sort_keys=True))
    turned = {**CARD, "sources": CARD["sources"][::-1]}
    assert bill_of_materials.make(shuffled, turned) == bill_of_materials.make(RAW, CARD)
    assert build_statement.make(shuffled, turned, PARAMETERS) == build_statement.make(RAW, CARD, PARAMETERS)
    other = copy.deepcopy(RAW)
    other["provenance"]["base"]["config"] = "ff" * 32
    assert bom(other)["serialNumber"] != bom()["serialNumber"]
    assert statement(other) != statement()


def test_what_the_bom_tells() -> None:
    told = bom()
    model = told["metadata"]["component"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": "aa" * 32}]
    metrics = model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"type": "f1", "value": "0.91", "slice": "test split"} in metrics
    assert next(each for each in metrics if each["type"] == "exact")["confidenceInterval"] == {
        "lowerBound": "0.7",
        "upperBound": "0.9",
    }
    assert len(metrics) == 2, "the base's figures are not the model's"
    by_ref = {component["bom-ref"]: component for component in told["components"]}
    assert by_ref["base"]["hashes"][0]["content"] == "04" * 32
    assert by_ref["adapter"]["hashes"][0]["content"] == "06" * 32
    assert by_ref["pkg:pypi/torch@2.13.0%2Bcpu"]["version"] == "2.13.0+cpu"
    data = {each["name"]: each for each in by_ref["dataset"]["components"]}
    assert data["orders.csv"]["licenses"] == [{"license": {"name": "CC-BY-4.0"}}]
    assert "licenses" not in data["more.jsonl"]
    assert data["train.jsonl"]["hashes"][0]["content"] == "08" * 32
    refs = {model["bom-ref"], *by_ref}
    for dependency in told["dependencies"]:
        assert {dependency["ref"], *dependency["dependsOn"]} <= refs


def test_what_the_statement_tells() -> None:
    told = statement()
    assert told["subject"] == [{"name": "notes-q4_0.gguf", "digest": {"sha256": "aa" * 32}}]
    definition = told["predicate"]["buildDefinition"]
    assert definition["externalParameters"] == {"name": "notes", "version": "1.2.0", **PARAMETERS}
    digests = {each["name"]: each.get("digest") for each in definition["resolvedDependencies"]}
    assert digests["base"] == {"sha256": "04" * 32, "files": "01" * 32}
    assert digests["dataset"] == {"rows": "05" * 32}
    assert digests["source/orders.csv"] == {"sha256": "0b" * 32}
    byproducts = {
        each["name"]: each["digest"]["sha256"] for each in told["predicate"]["runDetails"]["byproducts"]
    }
    assert byproducts == {"report.html": "bb" * 32, "adapter": "06" * 32}
