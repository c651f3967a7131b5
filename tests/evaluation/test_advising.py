"""Which way wins: the arithmetic, and all ways asked of a real (tiny, random) model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from appliance import storage
from appliance.commands.advise import command
from appliance.conversion import as_data, write_gguf
from appliance.dataset import document_passages, prepare, read_rows
from appliance.errors import DataError
from appliance.evaluation.advising.measuring import measure_of
from appliance.evaluation.advising.terminal import advice_lines
from appliance.evaluation.advising.verdict import Cost, judge
from appliance.evaluation.advising.ways import look_up
from appliance.events import Event, ignore
from appliance.paths import Project

CHEAP = Cost(2.0, 100, 10, 10**8, 10**8)
TUNED = Cost(9.0, 20, 10, 10**7, 10**7, training_seconds=300)


def test_the_best_wins_and_what_is_level_is_named_with_its_cost() -> None:
    good, poor = [1.0] * 40 + [0.0] * 10, [1.0] * 10 + [0.0] * 40
    level = [1.0] * 39 + [0.0] * 11
    asked = [
        ("prompt", "Prompt", poor, CHEAP),
        ("few_shot", "Examples", level, CHEAP),
        ("tuned", "Tuned", good, TUNED),
    ]
    advice = judge("exact", asked, ("documents", 12))
    assert [way.against_best for way in advice.ways] == ["worse", "no difference shown", "best"]
    assert (advice.quickest, advice.least_work) == ("tuned", "few_shot")
    assert (
        "Tuned is best: 80.0% exactly right." in advice.text and "Examples needs no training." in advice.text
    )
    assert advice.ways[0].p < 0.001 < advice.ways[1].p
    text = "\n".join(advice_lines(advice))
    assert "12 passages of documents" in text and "5m00s" in text and "<- best" in text


def test_likeness_is_compared_by_its_mean() -> None:
    near = [0.6 + 0.01 * (number % 5) for number in range(60)]
    far = [value - 0.2 for value in near]
    advice = judge(
        "rouge_l", [("prompt", "P", far, CHEAP), ("retrieval", "R", near, CHEAP)], ("documents", 3)
    )
    assert [way.against_best for way in advice.ways] == ["worse", "best"]
    assert advice.least_work == "retrieval" and "ROUGE-L 0.62" in advice.text


def _poor(looked: str, **shares: int) -> str:
    """The advice on fifty cases of which each way gets so many right."""
    asked = [(key, key, [1.0] * right + [0.0] * (50 - right), CHEAP) for key, right in shares.items()]
    return judge("exact", asked, (looked, 3 if looked else 0)).text


def test_of_poor_ways_it_says_what_was_measured_and_what_was_not_tried() -> None:
    alone = _poor("", prompt=2)
    assert "None of them is good. Nothing is shown to be better than the prompt alone" in alone
    assert "Neither was tried here." in alone
    assert "Nothing is shown to be better" in _poor("documents", prompt=2, retrieval=3, tuned=4)
    found = _poor("documents", prompt=0, retrieval=20, tuned=5)
    assert "the passages hold at least some of what is asked for: keep looking up" in found
    assert "A larger base may make more of the same passages. It was not tried here." in found
    assert "Rows like the question help most" in _poor("training rows", prompt=0, retrieval=20, tuned=5)
    assert "Examples in the prompt help most" in _poor("documents", prompt=0, few_shot=20, retrieval=5)
    assert "Training helps most: more rows" in _poor("documents", prompt=0, retrieval=5, tuned=20)
    assert "help together" in _poor("documents", prompt=0, tuned=5, tuned_retrieval=20)
    assert "was not tried" not in _poor("documents", prompt=0, retrieval=30)


@pytest.fixture
def converted(make_project: Callable[..., Path], tiny_checkpoint: Path) -> Project:
    project = Project.open(make_project(rows=160))
    prepare(project, ignore)
    files = {}
    for kind in ("F16", "Q4_0"):
        files[kind] = as_data(
            write_gguf(tiny_checkpoint, project.gguf(kind), quantization=kind, name=f"t{kind}")
        )
    storage.write_json(project.model / "convert.json", {"format": 1, "files": files})
    return project


def test_documents_are_looked_up_and_without_any_the_training_rows(
    converted: Project, tmp_path: Path
) -> None:
    train = read_rows(converted.dataset / "train.jsonl")
    found = look_up(converted, (), train, tmp_path, ignore)
    assert found is not None and not found.documents and 0 < found.count <= len(train)
    question = train[3].prompt[-1]["content"]
    nearest = train[int(found.index.search(question, 1)[0].passage.source)]
    assert nearest.prompt[-1]["content"] == question
    manual = tmp_path / "manual.md"
    manual.write_text(
        "# Pumps\n\n## Draining\n\nOpen the drain cock and wait until no water comes out of it.\n"
    )
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))
    events: list[Event] = []
    found = look_up(
        converted, [str(tmp_path / "*.md"), str(tmp_path / "*.png")], train, tmp_path, events.append
    )
    assert found is not None and found.documents and found.count == 1
    assert "Pumps > Draining" in found.index.search("how is it drained?", 1)[0].passage.title
    assert ["picture.png" in event.text for event in events] == [True]
    with pytest.raises(DataError, match="no such file"):
        list(document_passages(converted, ["nowhere.md"]))


def test_free_answers_are_compared_by_likeness(converted: Project) -> None:
    rows = read_rows(converted.dataset / "test.jsonl")
    assert measure_of(converted, rows) == "exact"
    config = converted.config.model_copy(
        update={"evaluation": converted.config.evaluation.model_copy(update={"scorer": "exact"})}
    )
    free = replace(converted, config=config)
    told = [
        replace(row, messages=[*row.messages[:-1], {"role": "assistant", "content": f"{row.id} " * 12}])
        for row in rows
    ]
    assert measure_of(free, told) == "rouge_l"
    labels = [
        replace(row, messages=[*row.messages[:-1], {"role": "assistant", "content": "leak"}]) for row in rows
    ]
    assert measure_of(free, labels) == "exact"


@pytest.mark.slow
def test_all_ways_are_asked_once_and_the_advice_is_written(converted: Project, tmp_path: Path) -> None:
    manual = tmp_path / "manual.md"
    asked = [row.prompt[-1]["content"] for row in read_rows(converted.dataset / "test.jsonl")]
    manual.write_text(
        "# Notes\n\n" + "\n\n".join(f"It was written down as: {text}." for text in asked) + "\n"
    )
    command_line = [
        "--project",
        str(converted.root),
        "--sample",
        "4",
        "--shots",
        "2",
        "--documents",
        str(manual),
        "--threads",
        "1",
    ]
    done = CliRunner().invoke(command, [*command_line, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert [way["key"] for way in told["ways"]] == [
        "prompt",
        "few_shot",
        "retrieval",
        "tuned",
        "tuned_retrieval",
    ]
    assert told["looked_up"][0] == "documents" and told["rows"] == 4
    tokens = {way["key"]: way["cost"]["prompt_tokens"] for way in told["ways"]}
    assert (
        tokens["few_shot"] > tokens["prompt"]
        and tokens["retrieval"] > tokens["prompt"]
        and tokens["tuned_retrieval"] > tokens["tuned"]
    )
    assert all(way["cost"]["memory_bytes"] > 0 and way["cost"]["rows_per_second"] > 0 for way in told["ways"])
    answers = converted.build / "advice" / "answers.jsonl"
    before = answers.read_bytes()
    assert len(before.splitlines()) == 20
    again = CliRunner().invoke(command, command_line, catch_exceptions=False)
    assert again.exit_code == 0 and "cases: 4" in again.output
    assert answers.read_bytes() == before, "nothing is asked twice"


@pytest.mark.slow
def test_cases_that_were_trained_on_are_refused(converted: Project, tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    row = read_rows(converted.dataset / "train.jsonl")[0]
    file.write_text(json.dumps({"messages": row.messages}) + "\n")
    done = CliRunner().invoke(command, ["--project", str(converted.root), "--rows", str(file)])
    assert isinstance(done.exception, DataError) and "trained" in done.exception.message
