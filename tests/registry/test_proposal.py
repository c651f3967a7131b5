"""The next version: as large a step as the largest change, with its reason; what a comparison calls a difference."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from appliance.registry import manifest as manifests
from appliance.registry.comparing import verdict
from appliance.registry.measures import Measure
from appliance.registry.proposal import propose


def raw() -> dict[str, Any]:
    return {
        "format": manifests.FORMAT,
        "name": "notes",
        "version": "1.4.2",
        "files": [{"name": "a.gguf", "role": "model", "bytes": 1, "sha256": "0" * 64}],
        "golden": [],
        "description": "one",
        "system": "Be brief.",
        "schema": '{"type":"object"}',
        "chat_template_sha256": "1" * 64,
        "provenance": {
            "base": {"name": "base", "weights": "2" * 64, "config": "3" * 64, "tokenizer": "4" * 64},
            "dataset": "5" * 64,
            "training": {"adapter_sha256": "6" * 64, "steps": 9},
            "config": "7" * 64,
            "model": {"tensors": {"Q4_0": 150, "F32": 61}},
        },
    }


def parsed(value: dict[str, Any]) -> manifests.Manifest:
    return manifests.parse(json.dumps(value).encode())


def put(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        for key in keys[:-1]:
            made = made[key]
        made[keys[-1]] = value

    return change


BASE = put("provenance", "base", "weights", value="9" * 64)
TEMPLATE = put("chat_template_sha256", value="9" * 64)
SCHEMA = put("schema", value='{"type":"object","properties":{}}')
DATA = put("provenance", "dataset", value="9" * 64)
TRAINING = put("provenance", "training", "steps", value=10)
TYPES = put("provenance", "model", "tensors", value={"Q8_0": 211})
WORDS = put("description", value="two")


@pytest.mark.parametrize(
    ("changes", "version", "reason"),
    [
        ([BASE], "2.0.0", "another base model"),
        ([put("provenance", "base", "tokenizer", value="9" * 64)], "2.0.0", "the tokenizer changed"),
        ([TEMPLATE], "2.0.0", "the chat template changed"),
        ([SCHEMA], "2.0.0", "the schema changed"),
        ([put("schema", value="")], "2.0.0", "the schema is gone"),
        ([DATA], "1.5.0", "the data changed"),
        ([TRAINING], "1.5.0", "it was trained anew"),
        ([put("system", value="")], "1.5.0", "the system prompt changed"),
        ([TYPES], "1.4.3", "the quantization changed from 150 Q4_0, 61 F32 to 211 Q8_0"),
        ([WORDS], "1.4.3", "what is told about it changed (description)"),
        ([put("provenance", "config", value="9" * 64)], "1.4.3", "(configuration)"),
        ([BASE, DATA, TYPES], "2.0.0", "another base model"),
        ([DATA, TRAINING, TYPES], "1.5.0", "the data changed, it was trained anew"),
    ],
)
def test_the_largest_change_decides(changes: list[Any], version: str, reason: str) -> None:
    new = raw()
    for change in changes:
        change(new)
    proposal = propose(parsed(raw()), parsed(new))
    assert proposal is not None
    assert str(proposal.version) == version
    assert reason in str(proposal) and proposal.size in str(proposal)


def test_another_version_or_name_of_the_base_alone_is_no_change() -> None:
    new = copy.deepcopy(raw())
    new["version"] = "3.0.0"
    new["provenance"]["base"]["name"] = "called otherwise"
    assert propose(parsed(raw()), parsed(new)) is None


@pytest.mark.parametrize("provenance", [None, [], {"base": [], "model": {"tensors": [1]}, "training": "x"}])
def test_a_release_that_tells_little_is_compared_all_the_same(provenance: Any) -> None:
    new = {**raw(), "provenance": provenance}
    assert propose(parsed(new), parsed(raw())) is not None
    assert propose(parsed(new), parsed(new)) is None


def figure(value: float, low: float | None, high: float | None, asked: str = "a") -> Measure:
    return Measure("suite", "shipped", "exact", value, low, high, 100, asked)


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (figure(0.5, 0.4, 0.6), figure(0.7, 0.61, 0.8), "higher"),
        (figure(0.7, 0.61, 0.8), figure(0.5, 0.4, 0.6), "lower"),
        (figure(0.5, 0.4, 0.6), figure(0.6, 0.5, 0.7), "no difference shown"),
        (figure(0.5, None, None), figure(0.9, None, None), "no difference shown"),
        (figure(0.5, 0.4, 0.6), figure(0.5, 0.4, 0.6), "equal"),
        (figure(0.5, 0.4, 0.6), figure(0.9, 0.8, 1.0, "b"), "not comparable"),
        (None, figure(0.9, 0.8, 1.0), "not comparable"),
    ],
)
def test_a_difference_is_said_only_where_the_intervals_part(
    first: Measure | None, second: Measure | None, said: str
) -> None:
    assert verdict(first, second) == said
