"""Suite files that were cut off, changed or badly saved: what is damaged is named by its line, the rest is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.evaluation.suites.reading import read_suite, read_suites

HEAD = '{"suite": "s", "scorer": "exact"}'
CASE = '{"id": "a", "prompt": "Which deck?", "reference": "4"}'


@pytest.mark.parametrize(
    ("data", "wheres", "words"),
    [
        (f"{HEAD}\n{CASE}\n{CASE[:20]}".encode(), ["s.jsonl:3"], "is the line cut off?"),
        (f"{HEAD}\n{CASE}\n{CASE[:-1]}".encode(), ["s.jsonl:3"], "is the line cut off?"),
        (f"{HEAD}\n{CASE}\n".encode() + b"\0" * 64, ["s.jsonl:3"], "NUL bytes"),
        (f"{HEAD}\n{CASE}\n".encode() + b'{"id": "\xe4"}', ["s.jsonl:3"], "not UTF-8: byte 0xe4 at column 9"),
        (f"{HEAD}\n{'[' * 5000}\n{CASE}\n".encode(), ["s.jsonl:2"], "nested too deeply"),
        (f"{HEAD}\n{CASE}\n{'x' * 500_000}\n".encode(), ["s.jsonl:3"], "500000 characters, more than"),
        (f"\ufeff{HEAD}\n{CASE}\n".encode(), [], ""),
        (f"{HEAD}\r\n{CASE}\r\n".encode(), [], ""),
        (f"{HEAD}\r{CASE}\r".encode(), [], ""),
    ],
)  # fmt: skip
def test_a_damaged_line_costs_itself_alone(
    tmp_path: Path, data: bytes, wheres: list[str], words: str
) -> None:
    (tmp_path / "s.jsonl").write_bytes(data)
    suite, faults = read_suite(tmp_path / "s.jsonl")
    assert suite is not None and [case.id for case in suite.cases] == ["a"]
    assert [fault.where for fault in faults] == wheres and all(words in str(fault) for fault in faults)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (f"{HEAD[:9]}\n{CASE}\n".encode(), "s.jsonl:1: not JSON"),
        (f"{HEAD}\n{CASE}\n".encode("utf-16"), "s.jsonl:1: UTF-16 text; save it as UTF-8"),
        (b"", "s.jsonl:1: the first line is no head"),
    ],
)
def test_without_a_head_only_that_is_told(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "s.jsonl").write_bytes(data)
    suite, faults = read_suite(tmp_path / "s.jsonl")
    assert suite is None and [str(fault).startswith(words) for fault in faults] == [True]


YAML = "suite: s\nscorer: exact\ngate: {at_least: 0.5}\ncases:\n"


@pytest.mark.parametrize(
    ("case", "line", "words"),
    [
        ("- id: a\n  prompt: x\n  prompt: y\n  reference: z\n", 7, "the key 'prompt' stands there twice"),
        ("- id: a\n  prompt: &x y\n  reference: z\n", 6, "anchors and aliases"),
        ("- id: a\n  prompt: !!binary y\n  reference: z\n", 6, "the tag"),
        (
            "- id: a\n  prompt: x\n  reference: {}\n".replace("{}", "[" * 60 + "]" * 60),
            7,
            "nested too deeply",
        ),
        ("- id: a\n  prompt: x\n  [b]: z\n", 7, "a key is a plain text"),
        ("- id: " + "0x" + "f" * 5000 + "\n  prompt: x\n  reference: z\n", 5, "a number that is too large"),
        ("- id: a\n  prompt: " + "x " * 250_000 + "\n  reference: z\n", 5, "more than a case may have"),
    ],
)
def test_a_yaml_case_that_is_wrong_costs_itself_alone(
    tmp_path: Path, case: str, line: int, words: str
) -> None:
    (tmp_path / "s.yaml").write_text(YAML + case + "- id: b\n  prompt: x\n  reference: z\n")
    suite, faults = read_suite(tmp_path / "s.yaml")
    assert suite is not None and [kept.id for kept in suite.cases] == ["b"] and len(suite.gates) == 1
    assert [(fault.where, words in fault.text) for fault in faults] == [(f"s.yaml:{line}", True)], faults


@pytest.mark.parametrize(
    ("data", "where", "words"),
    [
        (f"{YAML}- id: a\n  prompt: 'x\n".encode(), "s.yaml:6", "not YAML: while scanning a quoted scalar"),
        (f"{YAML}- id: a\n  prompt: x\0\n".encode(), "s.yaml:6", "not YAML: the character 0x00 is not taken"),
        (YAML.encode() + b"- id: \xe4\n", "s.yaml:5", "not UTF-8: byte 0xe4 at column 7"),
        ((YAML + "- " + "[" * 5000).encode(), "s.yaml:5", "nested too deeply"),
        (b"suite: s\ncases: 3\n", "s.yaml:2", "`cases` is a list"),
        (b"suite: s\nabout: &a [x, x]\ntitle: [*a, *a]\n", "s.yaml:2", "anchors and aliases"),
    ],
)
def test_yaml_that_can_not_be_read_names_its_line_and_nothing_else(
    tmp_path: Path, data: bytes, where: str, words: str
) -> None:
    (tmp_path / "s.yaml").write_bytes(data)
    suite, faults = read_suite(tmp_path / "s.yaml")
    assert suite is None
    assert [(fault.where, words in fault.text) for fault in faults] == [(where, True)], faults


def test_a_suite_in_two_files_is_told_with_both(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "s.jsonl").write_text(f"{HEAD}\n{CASE}\n")
    suites, faults = read_suites([tmp_path / "one" / "s.jsonl", tmp_path / "two" / "s.jsonl"])
    assert len(suites) == 1 and len(faults) == 1
    assert str(tmp_path / "one" / "s.jsonl") in str(faults[0]) and str(tmp_path / "two") in str(faults[0])
