"""What a project itself holds and makes is no example, however it is come by."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from appliance.commands.dataset import command
from appliance.dataset.reading import BadRow, find_files
from appliance.paths import Project
from tests.dataset.conftest import Bench

CHATS = "".join(
    json.dumps({"prompt": f"is pump {n} up?", "completion": f"yes, since day {n}"}) + "\n" for n in range(40)
)
OWN = {
    "anchorhold.toml",
    "build",
    "redaction.key",
    "redaction-decisions.jsonl",
    "redaction-missed.jsonl",
    "suites",
    "waivers.jsonl",
    "keys",
    "stick",
}


def furnish(root: Path) -> None:
    """All that a project has of its own, each with something to read in it."""
    for name in OWN - {"anchorhold.toml"}:
        path = root / name
        if "." not in name:
            path.mkdir(exist_ok=True)
            path /= "rows.jsonl"
        path.write_text(CHATS)


def found(project: Project, *patterns: str) -> tuple[list[str], list[BadRow]]:
    skipped: list[BadRow] = []
    files = find_files(project.root, list(patterns), "sources", skipped.append, project.own)
    return [path.relative_to(project.root).as_posix() for path in files], skipped


def test_what_the_project_holds_of_its_own_is_left_out_and_told(bench: Bench) -> None:
    bench.write("a.jsonl", CHATS)
    furnish(bench.root)
    for pattern in (".", "**/*", "**"):
        files, skipped = found(bench.project, pattern)
        assert files == ["data/a.jsonl"]
        assert {(bad.file, bad.kind) for bad in skipped} == {(name, "own") for name in OWN}
    files, skipped = found(bench.project, "*/*.jsonl", "*.jsonl", "*.key")
    assert files == ["data/a.jsonl"]
    assert {bad.file for bad in skipped} >= {"build/rows.jsonl", "redaction-missed.jsonl", "redaction.key"}


def test_by_where_it_lies_not_by_its_name(bench: Bench) -> None:
    """Links lead to it from anywhere; folders of the same name elsewhere hold examples."""
    (bench.root / "data" / "build").mkdir(parents=True)
    bench.write("build/a.jsonl", CHATS)
    furnish(bench.root)
    data = bench.root / "data"
    (data / "loop").symlink_to("..")
    (data / "inner").symlink_to("../build")
    (data / "rows.jsonl").symlink_to("../build/rows.jsonl")
    (data / "self").symlink_to("self")
    files, skipped = found(bench.project, "data")
    assert files == ["data/build/a.jsonl"]
    told = {bad.file: bad.reason for bad in skipped if bad.kind == "own"}
    assert told["data/inner"] == "the project's own, no example: it leads to build"
    assert told["data/loop/redaction.key"] == "the project's own, no example: it leads to redaction.key"
    assert found(bench.project, "data/*.jsonl", "data/build")[0] == ["data/build/a.jsonl"]


def test_what_is_named_by_itself_is_meant(bench: Bench) -> None:
    furnish(bench.root)
    assert found(bench.project, "build")[0] == ["build/rows.jsonl"]
    assert found(bench.project, "build/*.jsonl")[0] == ["build/rows.jsonl"]
    assert found(bench.project, "redaction-missed.jsonl")[0] == ["redaction-missed.jsonl"]


def test_folders_that_the_configuration_names(bench: Bench) -> None:
    """A base model's vocabulary is no example; a place outside, or the project itself, isn't the project's own."""
    bench.write("a.jsonl", CHATS)
    (bench.root / "base").mkdir()
    (bench.root / "base" / "tokenizer.json").write_text(CHATS)
    text = '[project]\nname = "bench"\n[base]\npath = "base"\n[release]\nkeys = "."\nstick = "/"\n'
    (bench.root / "anchorhold.toml").write_text(text)
    files, skipped = found(bench.project, ".")
    assert files == ["data/a.jsonl"]
    assert {bad.file for bad in skipped} == {"base", "anchorhold.toml"}


def test_a_second_preparing_has_the_rows_of_the_first(bench: Bench) -> None:
    bench.configure('sources = ["."]')
    bench.write("a.jsonl", CHATS)
    (bench.root / "data" / "loop").symlink_to("..")
    for _ in range(2):
        card = bench.prepare(strict=False)
        assert [source["name"] for source in card.sources] == ["data/a.jsonl"]
        assert sum(card.rows.values()) == 40
    assert card.rejected["own"] == 2
    assert any("build: the project's own" in warning for warning in bench.warnings)
    (bench.root / "data" / "loop").unlink()
    assert sum(bench.prepare(strict=True).rows.values()) == 40


def test_inspect_passes_them_by(bench: Bench) -> None:
    bench.write("a.jsonl", CHATS)
    furnish(bench.root)
    result = CliRunner().invoke(
        command, ["--project", str(bench.root), "inspect", str(bench.root)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert "data/a.jsonl: jsonl prompt-completion" in result.output
    assert "redaction.key: the project's own, no example" in result.output
    assert "rows.jsonl" not in result.output
