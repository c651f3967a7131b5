"""`convert.like`: what doesn't learn is rounded as in another release, so that a delta between the two is small."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from appliance.base_model import resolve
from appliance.conversion import convert_project
from appliance.dataset import prepare
from appliance.errors import ConversionError, UsageError
from appliance.events import ignore
from appliance.paths import Project
from appliance.pipeline import Journey, walk
from appliance.training import train
from appliance.update import delta_making
from convert.gguf_file import read
from tests.pipeline.test_rounding import RUN, record, with_settings

FEW = RUN + 'modules = ["q_proj", "v_proj"]\n'


@pytest.fixture
def two(make_project) -> tuple[Project, Project]:
    """Two projects on one base whose queries and values learn, with other rows; the first one is converted."""
    made = []
    for name, rows in (("first", 60), ("second", 90)):
        project = Project.open(make_project(name, rows=rows, training=FEW))
        prepare(project, ignore)
        train(project, resolve(project.config.base.path, project.root), ignore)
        made.append(project)
    convert_project(made[0])
    return made[0], made[1]


def different(one: Path, other: Path) -> set[str]:
    left, right = read(one).tensors, read(other).tensors
    return {name for name in left if not np.array_equal(left[name].data, right[name].data)}


def test_what_does_not_learn_is_as_in_the_other_file(two: tuple[Project, Project], tmp_path: Path) -> None:
    first, second = two
    base = first.gguf("Q4_0")
    convert_project(second)
    assert record(second)["Q4_0"]["rounding"] == "gptq"
    plainly = delta_making.make(base, second.gguf("Q4_0"), tmp_path / "plain.delta")
    before = different(base, second.gguf("Q4_0"))
    learnt = {f"blk.{layer}.attn_{which}.weight" for layer in range(2) for which in "qv"}
    assert before > learnt  # inputs are others, so levels are

    second = with_settings(second, f'like = "{base}"')
    convert_project(second)
    assert different(base, second.gguf("Q4_0")) == learnt
    assert record(second)["Q4_0"]["rounding"] == "gptq"
    made = delta_making.make(base, second.gguf("Q4_0"), tmp_path / "like.delta")
    assert sorted(made.tensors) == sorted(learnt)
    assert made.bytes < plainly.bytes


def test_another_base_s_file_is_refused_and_nothing_is_written(
    two: tuple[Project, Project], tmp_path: Path
) -> None:
    first, second = two
    other = tmp_path / "other.gguf"
    shutil.copy(first.gguf("Q4_0"), other)
    gate = read(other).tensors["blk.1.ffn_gate.weight"].data
    data = other.read_bytes()
    at = data.index(gate[0].tobytes())
    other.write_bytes(data[:at] + bytes(reversed(data[at : at + gate.nbytes])) + data[at + gate.nbytes :])
    second = with_settings(second, f'like = "{other}"')
    with pytest.raises(
        ConversionError, match=r"blk\.1\.ffn_gate\.weight of the file to be like isn't the base's"
    ):
        convert_project(second)
    assert not second.gguf("Q4_0").exists()


def test_one_that_is_not_there_is_told(two: tuple[Project, Project]) -> None:
    second = with_settings(two[1], 'like = "nothing.gguf"')
    with pytest.raises(UsageError, match=r"nothing\.gguf"):
        convert_project(second)


def test_the_stage_is_walked_again_when_that_file_changes(two: tuple[Project, Project]) -> None:
    first, second = two
    checkpoint = resolve(second.config.base.path, second.root)
    shutil.copy(first.gguf("Q4_0"), second.root / "before.gguf")
    second = with_settings(second, 'like = "before.gguf"')
    walk(Journey(second, checkpoint, ignore), until="convert")
    written = second.gguf("Q4_0").stat().st_mtime_ns
    walk(Journey(second, checkpoint, ignore), until="convert")
    assert second.gguf("Q4_0").stat().st_mtime_ns == written
    shutil.copy(second.gguf("Q4_0"), second.root / "before.gguf")
    walk(Journey(second, checkpoint, ignore), until="convert")
    assert second.gguf("Q4_0").stat().st_mtime_ns != written
