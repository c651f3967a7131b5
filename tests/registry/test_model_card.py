"""The model card says what the files say, equal facts give equal bytes, and nothing in them is more than text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.registry import model_card
from appliance.registry.comparing import compare, compare_tensors
from appliance.registry.store import Registry
from convert import gguf_file
from tests.stick_simulator import make_release

SHARE = {"hits": 9, "total": 10, "share": 0.9, "low": 0.6, "high": 0.98}
RAW: dict[str, Any] = {
    "name": "notes",
    "version": "1.0.0",
    "description": "Notes to JSON",
    "files": [{"name": "notes.gguf", "role": "model", "bytes": 95044800, "sha256": "a" * 64}],
    "provenance": {
        "base": {"name": "Base", "weights": "b" * 64},
        "dataset": "d" * 64,
        "training": {"adapter_sha256": "c" * 64, "steps": 1036, "rows": 2071, "best_loss": 0.0098},
        "model": {"bits_per_weight": 5.5464, "parameters": 134515008, "tensors": {"Q4_0": 150}},
    },
    "evaluation": {
        "systems": [
            {"key": "shipped", "title": "Tuned", "rows": 10, "exact": SHARE, "valid": None, "f1": 0.97}
        ],
        "gates": [
            {"gate": "safety:refusal", "bound": "at least 0.9", "passed": False, "reason": "0.8 was measured"}
        ],
        "waivers": [{"gate": "safety:refusal", "by": "A. Person", "reason": "indoors only"}],
    },
    "golden": [{}, {}],
}
DATASET = {
    "rows": {"train": 2071, "test": 257},
    "tokens": {"train": {"total": 195773}, "test": {"total": 9}},
    "sources": [{"licence": "CC0", "rows": 2000}, {"licence": "", "rows": 328}],
    "duplicates": 17,
}
RESULTS = {
    "systems": [{"key": "base", "title": "Base, asked plainly"}],
    "comparisons": [{"against": "base", "wins": 94, "losses": 0, "p": 1e-28, "verdict": "better"}],
    "fields": [{"field": "strong", "hits": 10, "total": 10}, {"field": "weak", "hits": 1, "total": 10}],
}
AUDIT = {
    "shipped": "tuned",
    "suites": [
        {
            "name": "bias",
            "digest": "x",
            "figures": {
                "tuned": [{"metric": "score", "value": 0.25, "low": 0.2, "high": 0.3, "cases": 40}],
                "base": [{"metric": "score", "value": 0.75, "low": 0.7, "high": 0.8, "cases": 40}],
            },
        }
    ],
}


class Rows(HTMLParser):
    """A page's table rows as lists of cells, and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        self.open = tag in {"td", "th"}
        if self.open:
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.open:
            self.rows[-1][-1] += data


def test_it_says_what_the_files_say() -> None:
    made = model_card.render(RAW, DATASET, RESULTS, AUDIT)
    rows = Rows(made[model_card.PAGE]).rows
    for expected in (
        ["Size", "95,044,800 bytes"],
        ["Bits per weight", "5.55"],
        ["Tuned", "10", "90.0 % (60.0 % to 98.0 %)", "–", "97.0 %", "–"],
        ["Base, asked plainly", "94", "0", "1e-28", "better"],
        ["bias", "score", "0.25", "0.2 to 0.3", "40"],
        ["Adapter", "c" * 64],
        ["Licence: CC0", "2,000 rows"],
        ["Licence: not stated", "328 rows"],
        ["Equal rows left out", "17"],
    ):
        assert expected in rows, expected
    assert ["bias", "score", "0.75", "0.7 to 0.8", "40"] not in rows, (
        "the base's figures aren't the release's"
    )
    fields = [row[0] for row in rows if row[0] in {"weak", "strong"}]
    assert fields == ["weak", "strong"]
    (gate,) = (row for row in rows if row[0] == "safety:refusal")
    assert gate[-1] == "failed, waived by A. Person: indoors only"
    assert "| Size | 95,044,800 bytes |" in made[model_card.MARKDOWN]


def test_what_was_not_measured_is_said() -> None:
    with_audit, without = (model_card.render(RAW, DATASET, RESULTS, audit) for audit in (AUDIT, None))
    for said in ("Nothing but the test split was measured", "No audit was run on this file."):
        for name in (model_card.MARKDOWN, model_card.PAGE):
            assert said not in with_audit[name] and said in without[name]


def test_equal_facts_give_equal_bytes() -> None:
    again = json.loads(json.dumps([RAW, DATASET, RESULTS, AUDIT], sort_keys=True))
    assert model_card.render(*again) == model_card.render(RAW, DATASET, RESULTS, AUDIT)


HOSTILE = "<script>alert(1)</script>|[x](http://example.org)\n# head\x1b[31m\u202e"


def test_hostile_text_stays_text() -> None:
    raw = {**RAW, "description": HOSTILE, "system": HOSTILE, "name": HOSTILE}
    made = model_card.render(raw, {**DATASET, "sources": [{"licence": HOSTILE, "rows": 1}]}, RESULTS, AUDIT)
    page, text = made[model_card.PAGE], made[model_card.MARKDOWN]
    assert "script" not in Rows(page).tags and "a" not in Rows(page).tags
    for each in (page, text):
        assert "\x1b" not in each and "\u202e" not in each
    assert "\n# head" not in text and "[x](" not in text and re.search(r"(?<!\\)<", text) is None
    assert all(line.count("|") - line.count("\\|") in {0, 3} for line in text.splitlines() if "alert" in line)


@pytest.mark.parametrize("odd", [None, [], "x", 3, {"rows": 3, "tokens": [], "sources": {"a": 1}, "near": 2}])
def test_facts_of_another_shape_are_left_out(odd: Any) -> None:
    raw = {**RAW, "provenance": odd, "evaluation": odd, "built_with": odd}
    assert "95,044,800" in model_card.render(raw, odd, odd, odd)[model_card.MARKDOWN]


def _gguf(path: Path, values: bytes, template: str, name: str = "blk.0.w") -> Path:
    kind = gguf_file.TYPES["F32"]
    tensors = [gguf_file.PlannedTensor("same", (2, 8), kind), gguf_file.PlannedTensor(name, (2, 8), kind)]
    metadata = {"general.name": gguf_file.string("x"), "tokenizer.chat_template": gguf_file.string(template)}
    path.write_bytes(gguf_file.header(metadata, tensors) + bytes(64) + values)
    return path


def test_tensors_and_keys_that_differ_are_named(tmp_path: Path) -> None:
    first = _gguf(tmp_path / "a.gguf", bytes(64), "one")
    second = _gguf(tmp_path / "b.gguf", bytes(60) + b"\x01\x02\x00\x00", "two")
    found = compare_tensors(first, second)
    assert (found.equal, found.fault) == (1, "")
    assert [(each.name, each.what) for each in found.changes] == [("blk.0.w", "2 of 64 bytes differ")]
    assert found.metadata == ("tokenizer.chat_template",)
    other = compare_tensors(first, _gguf(tmp_path / "c.gguf", bytes(64), "one", "blk.1.w"))
    assert {each.what for each in other.changes} == {"only in the first", "only in the second"}
    (tmp_path / "d.gguf").write_bytes(b"no GGUF at all, but long enough")
    assert "no GGUF" in compare_tensors(first, tmp_path / "d.gguf").fault


def test_releases_are_compared_by_files_and_figures(tmp_path: Path) -> None:
    def evaluated(share: float) -> dict[str, Any]:
        exact = {"hits": 1, "total": 1, "share": share, "low": share - 0.05, "high": share + 0.05}
        return {"evaluation": {"systems": [{"key": "shipped", "rows": 1, "exact": exact}]}}

    model = _gguf(tmp_path / "m.gguf", bytes(64), "one")
    with Registry(tmp_path / "kept") as registry:
        first, second = (
            registry.add(make_release(tmp_path / version, version, model, extra=evaluated(share))).digest
            for version, share in (("1.0.0", 0.6), ("1.1.0", 0.8))
        )
        found = compare(registry, first, second)
    assert [(each.metric, each.verdict) for each in found.figures] == [("exact", "higher")]
    assert [(each.name, each.equal) for each in found.files] == [("notes.gguf", True), ("report.html", False)]
    assert found.changes == (("patch", "what is told about it changed (evaluation, reports)"),)
    assert storage.canonical_json([each.suite for each in found.figures]) == b'["test split"]'
