"""The next round: what is proposed, what is left out, and what is changed when told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.dataset import prepare, read_rows
from appliance.errors import DataError
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline.next_round import propose, take


@pytest.fixture
def project(make_project: Callable[..., Path]) -> Project:
    project = Project.open(make_project(rows=160))
    prepare(project, ignore)
    return project


def rows_file(path: Path, *values: object) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def turns(question: str, answer: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def test_what_judges_or_is_learnt_already_is_left_out(project: Project, tmp_path: Path) -> None:
    learnt = read_rows(project.dataset / "train.jsonl")[0]
    tested = read_rows(project.dataset / "test.jsonl")[0]
    better = {
        "prompt": [{"role": "user", "content": "hose 9 drips at its end"}],
        "chosen": [{"role": "assistant", "content": "right"}],
        "rejected": [{"role": "assistant", "content": "wrong"}],
        "group": "correction 1",
    }
    file = rows_file(
        tmp_path / "c.jsonl",
        {"messages": learnt.messages},
        {"messages": tested.messages},
        {"messages": [*tested.messages[:-1], {"role": "assistant", "content": "another answer"}]},
        turns("a new question", "an answer"),
        turns("a new question", "an answer"),
        better,
        {"nonsense": 1},
    )
    before = (project.root / "anchorhold.toml").read_bytes()
    found = propose(project, [file])
    assert found.counts == {
        "conversations": 1, "preference pairs": 1, "left out: learnt already": 2, "left out: of the test split": 2,
        "left out: unreadable": 1,
    }  # fmt: skip
    assert found.file == "data/rounds/001.jsonl" and found.read
    assert (project.root / "anchorhold.toml").read_bytes() == before
    assert not (project.root / "data" / "rounds").exists()
    assert any("2 rows move little" in line for line in found.lines())
    assert [row.get("group") for row in found.rows] == [None, "correction 1"]


def test_taken_rows_are_read_by_the_dataset_and_the_version_rises(project: Project, tmp_path: Path) -> None:
    file = rows_file(
        tmp_path / "c.jsonl",
        *(turns(f"how is valve {n} opened by hand?", f"turn it {n} times") for n in range(30)),
    )
    version = project.config.project.version
    found = propose(project, [file])
    after = take(project, found)
    assert after.config.project.version == found.version != version
    assert after.config.project.name == project.config.project.name
    card = prepare(after, ignore)
    learnt = {row.source for name in card.rows for row in read_rows(after.dataset / f"{name}.jsonl")}
    assert sum(source.startswith("data/rounds/001.jsonl:") for source in learnt) == 30
    with pytest.raises(DataError, match="nothing new"):
        propose(after, [rows_file(tmp_path / "again.jsonl", *(row for row in found.rows))])
    more = propose(after, [rows_file(tmp_path / "d.jsonl", turns("and the last valve?", "leave it"))])
    assert more.file == "data/rounds/002.jsonl"


def test_a_project_whose_sources_do_not_name_the_rounds_is_told(project: Project, tmp_path: Path) -> None:
    toml = project.root / "anchorhold.toml"
    text = toml.read_text()
    found = propose(project, [rows_file(tmp_path / "c.jsonl", turns("new?", "yes"))])
    with pytest.raises(DataError, match=r"doesn't name data/rounds/001\.jsonl") as caught:
        take(project, replace(found, read=False))
    assert "data/rounds" in caught.value.hint
    assert toml.read_text() == text and not (project.root / found.file).exists()


def test_files_that_are_not_there_are_named(project: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        propose(project, [tmp_path / "none.jsonl"])
