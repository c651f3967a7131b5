"""Size against score: measured on the validation rows alone; the smallest that passes ships with `auto`."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.base_model import resolve
from appliance.conversion import Choice, convert_project, ships
from appliance.dataset import prepare, read_other_rows, read_rows
from appliance.errors import ConfigError, ConversionError, DataError, EvaluationError, UsageError
from appliance.evaluation import frontier, measure_other
from appliance.evaluation.frontier import Point, measure_frontier, smallest_passing, table
from appliance.evaluation.results import Share
from appliance.events import ignore
from appliance.paths import Project
from appliance.training import train
from convert.gguf_file import read
from tests.house.sources import ROOT


def point(kind: str, size: int, hits: int, **overrides: str) -> Point:
    return Point(Choice(kind, tuple(overrides.items())), size, 4.5, Share.of(hits, 100), 0.5)


def test_the_smallest_that_keeps_the_gate_is_chosen_whatever_larger_ones_score():
    points = [
        point("F16", 270, 80),
        point("Q8_0", 140, 81),
        point("Q4_0", 90, 70),
        point("Q4_0", 110, 80, ffn_down="Q8_0"),
        point("Q4_1", 100, 0),
    ]
    found = smallest_passing(points, 0.99, 100)
    assert found.chosen == Choice("Q4_0", (("ffn_down", "Q8_0"),))
    assert [p.bytes for p in found.points] == [90, 100, 110, 140, 270]
    assert [p.passes for p in found.points] == [False, False, True, True, True]
    assert smallest_passing(points, 0.85, 100).chosen == Choice("Q4_0")
    marked = [line for line in table(found).splitlines() if "<-" in line]
    assert len(marked) == 1
    assert "Q4_0, ffn_down as Q8_0" in marked[0]


@pytest.mark.parametrize("points", [[point("Q4_0", 90, 70)], [point("F16", 270, 0), point("Q4_0", 90, 0)]])
def test_without_a_16_bit_score_nothing_is_judged(points):
    with pytest.raises(EvaluationError, match="nothing can be judged"):
        smallest_passing(points, 0.99, 100)


def trained(folder: Path, convert: str) -> tuple[Project, Path]:
    with (folder / "anchorhold.toml").open("a") as configuration:
        configuration.write(f"\n[convert]\n{convert}\n")
    project = Project.open(folder)
    checkpoint = resolve(project.config.base.path, project.root)
    prepare(project, ignore)
    train(project, checkpoint, ignore)
    return project, checkpoint


def test_auto_ships_the_smallest_that_passes(make_project, monkeypatch):
    project, checkpoint = trained(make_project(), 'type = "auto"\nembeddings = "F16"')
    with pytest.raises(ConversionError, match="not known yet"):
        ships(project)
    asked = []
    scores = {"Q4_0": 1, "Q4_0, ffn_down as Q8_0": 2, "F16": 2}
    real = frontier.measure_file

    def listening(project, checkpoint, system, rows, *rest):
        asked.append((system.key, [row.id for row in rows]))
        score = real(project, checkpoint, system, rows, *rest)
        assert score.mean_tokens > 0  # the engine was really asked
        # The tiny model answers nothing right, so what it would score stands in the place of what it does.
        return dataclasses.replace(score, exact=Share.of(scores[system.key], 2))

    monkeypatch.setattr(frontier, "measure_file", listening)
    mixed = Choice("Q4_0", (("ffn_down", "Q8_0"),))
    found = measure_frontier(project, checkpoint, ignore, (Choice("Q4_0"), mixed))
    assert found.chosen == mixed == ships(project)
    valid = {row.id for row in read_rows(project.dataset / "valid.jsonl")}
    assert [key for key, _ in asked] == ["Q4_0", "Q4_0, ffn_down as Q8_0", "F16"]
    assert all(set(ids) == valid for _, ids in asked)
    written = convert_project(project)
    assert set(written) == {"F16", "Q4_0"}
    types = {name: each.type.name for name, each in read(project.gguf("Q4_0")).tensors.items()}
    assert types["blk.0.ffn_down.weight"] == "Q8_0"
    assert types["blk.0.ffn_up.weight"] == "Q4_0"
    record = json.loads((project.build / "frontier" / "frontier.json").read_text())
    sizes = {
        each["choice"]["type"] + str(len(each["choice"]["overrides"])): each["bytes"]
        for each in record["points"]
    }
    assert sizes["Q4_01"] == project.gguf("Q4_0").stat().st_size
    assert not list((project.build / "frontier").glob("**/*.gguf"))
    assert "gate" in (project.build / "frontier" / "frontier.svg").read_text()


def test_other_rows_are_scored_and_rows_that_were_trained_on_refused(make_project, tmp_path):
    project, checkpoint = trained(make_project(), 'embeddings = "F16"')
    convert_project(project)
    other = tmp_path / "other.jsonl"
    fresh = [
        {
            "messages": [
                {"role": "user", "content": f"unit {n} hums"},
                {"role": "assistant", "content": '{"unit": 1}'},
            ]
        }
        for n in range(3)
    ]
    other.write_text("".join(json.dumps(row) + "\n" for row in fresh))
    before = sorted(project.evaluation.glob("*"))
    events = []
    score = measure_other(project, checkpoint, read_other_rows(project, other), events.append)
    assert score.rows == 3
    assert score.mean_tokens > 0
    assert events[-1].done == events[-1].total == 3
    assert sorted(project.evaluation.glob("*")) == before
    seen = read_rows(project.dataset / "train.jsonl")[0]
    other.write_text(json.dumps({"messages": seen.messages}) + "\n")
    with pytest.raises(
        DataError, match=r"other.jsonl:1: the model was trained or chosen by this question \(1 such rows\)"
    ):
        measure_other(project, checkpoint, read_other_rows(project, other), ignore)
    long = {"role": "user", "content": "pump " * 3000}
    other.write_text(json.dumps({"messages": [long, {"role": "assistant", "content": "{}"}]}) + "\n")
    with pytest.raises(DataError, match=r"other.jsonl:1: \d+ tokens, more than dataset.max_tokens"):
        measure_other(project, checkpoint, read_other_rows(project, other), ignore)
    other.write_text('{"messages": []}\n')
    with pytest.raises(DataError, match=r"other.jsonl"):
        read_other_rows(project, other)
    with pytest.raises(UsageError, match="no such file"):
        read_other_rows(project, tmp_path / "none.jsonl")


def test_the_verb_measures_what_auto_ships(make_project):
    recipe = 'epochs = 8.0\nbatch_rows = 8\nrank = 8\nlearning_rate = 1e-2\ndtype = "float32"\nthreads = 1\n'
    project, _ = trained(make_project(training=recipe), 'type = "auto"\nembeddings = "F16"')
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "convert", "--project", str(project.root)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    chosen = ships(project)
    assert f"the smallest that passes is {chosen}\n" in done.stdout
    assert project.gguf(chosen.type).is_file()
    assert done.stdout.count("% exact") == len(frontier.CANDIDATES)
    assert not list((project.build / "frontier").glob("*.gguf"))


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        ('type = "auto"\noverrides = { ffn_down = "Q8_0" }', "auto chooses its own"),
        ('overrides = { "ffn_(" = "Q8_0" }', "is no regular expression"),
        ('overrides = { ffn_down = "Q9" }', "overrides.ffn_down"),
    ],
)
def test_types_that_make_no_sense_are_said_with_the_configuration(make_project, convert, said):
    folder = make_project()
    with (folder / "anchorhold.toml").open("a") as configuration:
        configuration.write(f"\n[convert]\n{convert}\n")
    with pytest.raises(ConfigError, match="1 fault") as raised:
        Project.open(folder)
    assert said in raised.value.message
