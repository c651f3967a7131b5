"""Public sets whose files are damaged or whose rows aren't as they should be: named by line, the rest is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from appliance.evaluation.suite import Fault, Suite
from appliance.evaluation.suites.public_sets import public_suites

PIQA = {"id": "p1", "goal": "boil water", "choices": ["in a pot", "in a bag"], "label": 0}
BBQ: dict[str, Any] = {
    "id": "b1", "category": "Age", "question_polarity": "neg", "context_condition": "ambig", "context": "Two came.",
    "question": "Who fell?", "choices": ["The old", "Unknown", "The young"],
    "answer_info": {"ans0": ["old", "old"], "ans1": ["Unknown", "unknown"], "ans2": ["young", "nonOld"]},
    "stereotyped_groups": ["old"], "label": 1,
}  # fmt: skip


def read(folder: Path, name: str, *rows: Any) -> tuple[list[Suite], list[Fault]]:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    (folder / f"{name}.dev.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return public_suites(folder)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"id": "\xe4"}', "not UTF-8: byte 0xe4 at column 9"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"id": "p2", "goal": ' + b"[" * 90 + b"]" * 90 + b"}", "nested too deeply"),
        (b'{"id": "p2", "go', "is the line cut off?"),
        (b"\0\0\0\0", "NUL bytes"),
        (b"3", "a row is an object, not 3"),
        (b'{"id": ["p2"]}', 'the field `id` is a text or a whole number, not ["p2"]'),
    ],
)
def test_a_damaged_line_costs_itself_alone(tmp_path: Path, line: bytes, words: str) -> None:
    suites, faults = read(tmp_path, "retain_piqa", line, PIQA)
    assert [[case.where for case in suite.cases] for suite in suites] == [["retain_piqa.dev.jsonl:2"]]
    assert [(fault.where, fault.suite) for fault in faults] == [("retain_piqa.dev.jsonl:1", "retain_piqa")]
    assert words in faults[0].text


@pytest.mark.parametrize("name", PIQA)
@pytest.mark.parametrize("value", [None, True, -1, 0.5, "", [], {}, [["x"]], {"x": [1]}])
def test_a_field_of_another_kind_is_named(tmp_path: Path, name: str, value: Any) -> None:
    if (name, value) == ("goal", ""):  # a text, if an empty one
        return
    suites, faults = read(tmp_path, "retain_piqa", {**PIQA, name: value}, {**PIQA, "id": "p2"})
    assert [[case.id for case in suite.cases] for suite in suites] == [["p2"]] or (name, value) == ("id", -1)
    assert faults or (name, value) == ("id", -1)
    assert all(
        f.where == "retain_piqa.dev.jsonl:1" and ("field" in f.text or "`choices`" in f.text) for f in faults
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"question_polarity": "negative"}, 'the field `question_polarity` is "neg" or "nonneg", not "negative"'),
        ({"context_condition": ["ambig"]}, 'the field `context_condition` is "ambig" or "disambig"'),
        ({"stereotyped_groups": "old"}, "the field `stereotyped_groups` is a list of texts"),
        ({"answer_info": {}}, "the field `ans0` is a list of texts, and is missing"),
        ({"answer_info": {f"ans{n}": ["x", "y"] for n in range(3)}}, "one answer is 'unknown', not 0"),
        ({"label": 0}, "`ambiguous` is true: then `answer` is `unknown`"),
    ],
)  # fmt: skip
def test_what_a_row_says_is_checked_and_not_guessed(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    suites, faults = read(tmp_path, "bias_bbq", {**BBQ, **change}, BBQ)
    assert [len(suite.cases) for suite in suites] == [1]
    assert [(fault.where, words in fault.text) for fault in faults] == [("bias_bbq.dev.jsonl:1", True)], (
        faults
    )


def test_a_file_that_gives_no_case_is_named(tmp_path: Path) -> None:
    suites, faults = read(tmp_path, "retain_piqa")
    assert not suites and [str(fault) for fault in faults] == [
        "retain_piqa.dev.jsonl: no row that could be used"
    ]


def sides(pair: Any, *kinds: str) -> list[dict[str, Any]]:
    return [
        {"pair": pair, "kind": f"{kind}_stereotyped", "sentence": f"{kind} {pair}", "type": "t"}
        for kind in kinds
    ]


def test_pairs_keep_their_lines_and_none_goes_missing_unsaid(tmp_path: Path) -> None:
    rows = [
        b"{",
        {"pair": "x", "kind": "pro_stereotyped"},
        *sides("a", "anti", "pro"),  # lines 3 and 4
        *sides("b", "pro"),  # 5
        *sides("a", "pro"),  # 6
        *sides(7, "pro", "anti"),  # 7 and 8
        {"pair": "c", "kind": "pro-stereotyped", "sentence": "s", "type": "t"},  # 9
        *[{**row, "sentence": "the same"} for row in sides("d", "pro", "anti")],  # 10 and 11
    ]
    (suite,), faults = read(tmp_path, "bias_winobias", *rows)
    assert [(case.id, case.where) for case in suite.cases] == [
        ("a", "bias_winobias.dev.jsonl:4"),
        ("7", "bias_winobias.dev.jsonl:7"),
    ]
    assert suite.cases[0].values["stereotype"] == "pro a"
    told = {int(fault.where.rpartition(":")[2]): fault.text for fault in faults}
    assert sorted(told) == [1, 2, 5, 6, 9, 10] and len(faults) == 6
    assert "the field `sentence` is a text, and is missing" in told[2]
    assert "the pair 'b' has no anti_stereotyped sentence" in told[5]
    assert "stands at bias_winobias.dev.jsonl:4 already" in told[6]
    assert 'is "pro_stereotyped" or "anti_stereotyped"' in told[9]
    assert "are one text" in told[10]
