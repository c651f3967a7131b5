"""`anchorhold dataset inspect`: what a file was taken for and why, for people and for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from appliance.commands.dataset import command
from appliance.errors import UsageError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=True)


def told(path: Path, *more: object) -> list[dict[str, object]]:
    done = run(*more, "inspect", path, "--json")
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


def test_a_table_is_shown_with_its_mapping_bad_rows_and_samples(tmp_path: Path) -> None:
    rows = "".join(f"is P{number} up?,{'yes' if number % 2 else 'no'}\n" for number in range(30))
    path = tmp_path / "notes.csv"
    path.write_text("question,answer\n" + rows + "only one\n,empty\n")
    done = run("inspect", path)
    assert done.exit_code == 0
    for text in (
        "notes.csv: table prompt-completion",
        "why      a table of 2 columns parted by commas",
        "columns `question` and `answer` by their names",
        "fields   prompt = question, answer = answer",
        "holds    30 rows, 2 bad",
        "1 columns",
        "notes.csv:32: 1 cells where the header has 2",
        "sample   line 2",
        "is P0 up?",
    ):
        assert text in done.output, done.output
    assert done.output.count("sample ") == 2
    (value,) = told(path)
    assert (value["rows"], value["bad"]) == (30, {"columns": 1, "empty": 1})
    assert value["mapping"] == {"prompt": "question", "answer": "answer"}
    assert value["format"] == "table prompt-completion"


def test_nothing_that_a_terminal_obeys_is_printed(tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x9b31m\u202e"
    cells = f"=HYPERLINK({evil}),{evil}\n"
    (tmp_path / f"a{evil}.csv").write_text(f"{evil} question,answer\n" + cells * 12 + f"{evil}\n")
    (tmp_path / "b.log").write_text(
        f"[10:00] <ada{evil}> {evil}hi\n[10:01] <bo> ho\n[10:02] <ada{evil}> hi\n"
    )
    (tmp_path / "c.md").write_text(f"# {evil}title\n\n{evil}text of it\n")
    (tmp_path / "d.jsonl").write_text(json.dumps({evil: 1}) + "\n" + json.dumps({"messages": evil}) + "\n")
    for flags in ((), ("--json",)):
        done = run("inspect", tmp_path, *flags)
        assert done.exit_code == 0, done.output
        assert not set(done.output) & set("\x1b\x07\x9b\u202e"), repr(done.output)
    assert "'=HYPERLINK(" in run("inspect", tmp_path).output


def test_what_the_project_tells_counts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.csv").write_text("a,b,c\n" + "".join(f"note {n},red {n},ok {n}\n" for n in range(20)))
    (value,) = told(data / "a.csv")
    assert value["format"] == "table" and value["rows"] == 0
    settings = '[project]\nname = "x"\n[dataset]\nprompt_column = "a"\nanswer_column = "c"\n'
    (tmp_path / "anchorhold.toml").write_text(settings)
    (value,) = told(data / "a.csv", "--project", tmp_path)
    assert (value["file"], value["rows"], value["mapping"]) == (
        "data/a.csv",
        20,
        {"prompt": "a", "answer": "c"},
    )
    (tmp_path / "anchorhold.toml").write_text(settings + '[dataset.formats]\n"data/*.csv" = "text"\n')
    (value,) = told(data / "a.csv", "--project", tmp_path)
    assert (value["format"], value["documents"]) == ("text", 1)
    (tmp_path / "anchorhold.toml").write_text(settings.replace('"a"', '"q"'))
    done = run("--project", tmp_path, "inspect", data / "a.csv")
    assert done.exit_code and "no column `q`; found: a, b, c" in done.output


def test_a_folder_is_looked_through_and_links_are_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text("# Pump\n\nIt is loud.\n")
    (tmp_path / "sub" / "up").symlink_to(tmp_path)
    done = run("inspect", tmp_path)
    assert "a.md: markdown" in done.output
    assert "a link to a folder that it lies in; not followed" in done.output


def test_a_pipe_or_device_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe", "zero.csv"):
        done = run("inspect", tmp_path / name)
        assert isinstance(done.exception, UsageError) and "a pipe, socket or device" in str(done.exception)


def test_a_file_that_is_not_there() -> None:
    done = run("inspect", "nowhere.csv")
    assert isinstance(done.exception, UsageError)


@pytest.mark.parametrize("name", ["cvs", "sharegtp"])
def test_a_format_that_there_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / "anchorhold.toml").write_text(f'[project]\nname = "x"\n[dataset.formats]\n"a" = "{name}"\n')
    done = run("--project", tmp_path, "inspect", tmp_path)
    assert f"{name!r} is no format; did you mean" in str(done.exception)
