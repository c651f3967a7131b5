"""The next round: what is proposed, what is left out, and what is changed when told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance.commands.retrain import command
from appliance.dataset import prepare, read_rows
from appliance.errors import DataError, UsageError
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline.drift_reasons import read_reasons
from appliance.pipeline.next_round import propose, take
from appliance.watch.monitor import Monitor
from appliance.watch.signals import BY_NAME
from appliance.watch.telling import summary


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


def test_a_row_that_can_not_be_used_is_named_with_file_line_and_reason(
    project: Project, tmp_path: Path
) -> None:
    file = tmp_path / "c.jsonl"
    rows_file(file, turns("a new question", "an answer"), turns("another", "  "), {"nonsense": 1})
    with file.open("ab") as stream:
        stream.write(b'{"messages": [{"role": "us\n' + b'{"messages": "\xe4"}\n')
    found = propose(project, [file])
    assert found.counts == {"conversations": 1, "left out: unreadable": 4}
    assert [fault.startswith(f"{file}:{line}: ") for line, fault in enumerate(found.faults, 2)] == [True] * 4
    assert "not UTF-8: byte 0xe4" in found.faults[3]
    run = CliRunner().invoke(command, [str(file), "--project", str(project.root)])
    assert (
        run.exit_code == 0 and f"unusable  {file}:2: " in run.output and f"{file}:5: not UTF-8" in run.output
    )
    many = rows_file(
        tmp_path / "many.jsonl", *(turns(f"asked {n}", " ") for n in range(50)), turns("newer", "x")
    )
    told = [line for line in propose(project, [many]).lines() if line.startswith("unusable")]
    assert len(told) == 41 and told[-1] == "unusable  … and 10 more"


def test_files_without_a_row_to_learn_say_why(project: Project, tmp_path: Path) -> None:
    file = rows_file(tmp_path / "c.jsonl", turns("asked", ""), turns("asked again", ""))
    with pytest.raises(DataError, match="nothing new") as caught:
        propose(project, [file])
    assert f"{file}:1: " in str(caught.value) and f"{file}:2: " in str(caught.value)
    notes = tmp_path / "notes.md"
    notes.write_text("# Valves\n\nThey are opened by hand, slowly, and closed again the same way.\n")
    with pytest.raises(DataError, match=r"notes\.md: a document, not rows to learn"):
        propose(project, [notes])


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


def drifted() -> dict[str, object]:
    """What a device tells whose answers stop fitting the schema."""
    monitor = Monitor("0" * 64)
    for _ in range(600):
        monitor.take({"unfit": 0.0, "length": 40.0}, 1e9)
    while not monitor.alarms:
        monitor.take({"unfit": 1.0, "length": 40.0}, 2e9)
    return summary(monitor)


def test_drift_says_why_a_round_and_which_rows_would_answer_it(project: Project, tmp_path: Path) -> None:
    told = tmp_path / "drift.json"
    told.write_text(json.dumps(drifted()))
    (reason,) = read_reasons(told)
    assert reason.signal == "unfit" and "don't fit the schema" in reason.text
    rows = rows_file(tmp_path / "c.jsonl", turns("a new question", "an answer"))
    run = CliRunner().invoke(command, [str(rows), "--drift", str(told), "--project", str(project.root)])
    assert run.exit_code == 0, run.output
    assert run.output.index("drift     answers that don't fit") < run.output.index(
        "rows      1 conversations"
    )
    assert "wanted  corrections of answers that don't fit the schema" in run.output
    alone = CliRunner().invoke(command, ["--drift", str(told), "--project", str(project.root)])
    assert alone.exit_code == 0 and "corrections export" in alone.output
    for arguments in (["--run", "--drift", str(told)], []):
        refused = CliRunner().invoke(command, [*arguments, "--project", str(project.root)])
        assert isinstance(refused.exception, UsageError) and "no FILES" in str(refused.exception)
    quiet = tmp_path / "quiet.json"
    quiet.write_text(json.dumps(summary(Monitor("0" * 64))))
    assert read_reasons(quiet) == ()


def test_every_signal_has_rows_that_answer_it(tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    path.write_text(json.dumps({"alarms": [{"signal": name, "text": "\x1b[2Jx"} for name in BY_NAME]}))
    found = read_reasons(path)
    assert [each.signal for each in found] == list(BY_NAME) and all(each.wanted for each in found)
    assert not [each for each in found if "\x1b" in each.text]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no", b"[]", b"{}", b'{"alarms": 1}', b'{"alarms": [1]}', b'{"alarms": [{"signal": "x", "text": "y"}]}',
        b'{"alarms": [{"signal": ["x"], "text": "y"}]}', b"[" * 100_000, b" " * (1 << 21), b"\xff",
    ],
)  # fmt: skip
def test_what_is_no_drift_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "drift.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"drift\.json"):
        read_reasons(path)
    with pytest.raises(DataError, match="No such file"):
        read_reasons(tmp_path / "none")
