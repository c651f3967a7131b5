"""What an audit has asked beside what a release asks for today: what is missing or has changed is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.audit_scope import STANDARD, Scope, lacking, read_scope, scope_of, standing_scope, taken_away
from appliance.errors import UsageError
from appliance.evaluation.suites.reading import standard_files
from appliance.paths import Project


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("suites", "extra", "build/dataset"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "suites" / "desk.jsonl").write_text("{}\n")
    for split in ("train", "test"):
        (tmp_path / "build" / "dataset" / f"{split}.jsonl").write_text("{}\n")
    return tmp_path


def opened(root: Path, evaluation: str = "", more: str = "") -> Project:
    text = f'[project]\nname = "notes"\n[base]\npath = "base"\n[evaluation]\n{evaluation}\n{more}\n'
    (root / "anchorhold.toml").write_text(text)
    return Project.open(root)


def test_nothing_is_lacking_of_what_was_just_asked(root: Path) -> None:
    project = opened(root, 'audit = "required"')
    scope = scope_of(project)
    assert lacking(project, scope) == [] and lacking(project, replace(scope, sample=0)) == []
    assert read_scope(json.loads(json.dumps(scope.to_json()))) == scope
    assert list(scope.files) == ["suites/desk.jsonl"]


def test_own_suites_count_always_and_the_others_where_an_audit_is_required(root: Path) -> None:
    project = opened(root)
    bare = scope_of(project, standard=False, rows=False)
    assert lacking(project, bare) == []
    required = opened(root, 'audit = "required"')
    assert lacking(required, bare) == [
        "the standard suites were not asked",
        "the suites made of the dataset's rows were not asked",
    ]
    (root / "extra" / "tone.yaml").write_text("suite: tone\n")
    named = opened(root, 'suites = ["extra/*.yaml"]')
    assert lacking(named, bare) == ["extra/tone.yaml was not asked"]
    with pytest.raises(UsageError, match="matches no file"):
        lacking(opened(root, 'suites = ["extra/*.jsonl"]'), bare)


@pytest.mark.parametrize(
    ("evaluation", "more", "words"),
    [
        ("", '[dataset]\nsystem = "Be brief."', "the system prompt has changed since"),
        ("", "[evaluation.gates]\nint4_kl = 0.1", "rows have changed since, or their bounds"),
        ('scorer = "exact"', "", "rows have changed since, or their bounds"),
    ],
)
def test_a_setting_that_was_changed_since_is_told(root: Path, evaluation: str, more: str, words: str) -> None:
    scope = scope_of(opened(root))
    assert any(words in each for each in lacking(opened(root, evaluation, more), scope))


def test_a_small_sample_a_changed_file_and_other_standard_suites_are_told(root: Path) -> None:
    project = opened(root, 'audit = "required"')
    scope = replace(scope_of(project, sample=99), standard="0" * 64)
    (root / "suites" / "desk.jsonl").write_text('{"gate": 1}\n')
    assert lacking(project, scope) == [
        "it asked 99 cases of a suite at most, not 100",
        "suites/desk.jsonl has changed since",
        "the standard suites have changed since",
    ]


def test_what_stands_judged_is_not_replaced_by_less(root: Path) -> None:
    project = opened(root)
    whole = replace(scope_of(project), data=("retain_piqa",))
    bare = scope_of(project, standard=False, rows=False)
    assert len(taken_away(bare, whole)) == 3 and taken_away(whole, bare) == [] == taken_away(bare, None)
    assert taken_away(scope_of(project), whole) == [
        "public sets that are judged already were not asked: retain_piqa (`--data`)"
    ]


@pytest.mark.parametrize("more", [{}, {"asked": None}, {"asked": {"files": []}}, {"asked": 7}])
def test_verdicts_that_do_not_say_what_was_asked_are_replaced_by_a_whole_audit_alone(
    root: Path, more: dict[str, Any]
) -> None:
    project = opened(root)
    assert standing_scope(project, "a") is None
    storage.write_json(project.audit / "gates.json", {"format": 1, "model": "a", "gates": [], **more})
    assert standing_scope(project, "b") is None
    standing = standing_scope(project, "a")
    assert isinstance(standing, Scope) and lacking(project, standing)
    assert taken_away(scope_of(project), standing) == []
    assert taken_away(scope_of(project, standard=False), standing)


def test_the_standard_suites_are_those_that_are_read() -> None:
    assert {path.parent for path in standard_files()} == {STANDARD}
    assert {path.suffix for path in standard_files()} == {".jsonl"}, "the only files that the digest is of"
