"""The locks agree with pyproject.toml, hold hashes for all, and name no index, CUDA package or torch."""

from __future__ import annotations

import importlib.metadata
import re
import zipfile
from pathlib import Path

import pytest

from offline_wheels import fill, llama_wheel, pack, pins


@pytest.mark.parametrize("which", pins.SETS)
def test_pins_stand_in_their_lock(which: str) -> None:
    locked = {(entry.name, entry.version) for earlier in pins.SETS for entry in pins.read_lock(earlier)}
    wanted = {(name, version) for name, version in pins.pinned(which).items() if name not in pins.UNLOCKED}
    assert wanted
    assert wanted <= locked, "run `make locks`"


@pytest.mark.parametrize("which", pins.SETS)
def test_every_entry_has_hashes_and_nothing_else(which: str) -> None:
    entries = pins.read_lock(which)
    assert entries
    assert all(entry.hashes and entry.version for entry in entries)
    for line in pins.lock_path(which).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(
            r"[\w.-]+==[\w.+!]+( ; [\w' <>=!.]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        ), line


def test_sets_do_not_repeat_each_other() -> None:
    heads = [(entry.name, entry.marker) for which in pins.SETS for entry in pins.read_lock(which)]
    assert len(heads) == len(set(heads))


def test_no_cuda_and_nothing_that_is_installed_by_itself() -> None:
    names = {entry.name for which in pins.SETS for entry in pins.read_lock(which)}
    assert not names & {*pins.UNLOCKED, "triton", "llm"}
    assert not {name for name in names if name.startswith("nvidia")}


def test_what_torch_needs_stands_in_the_lock() -> None:
    plain = set()
    for line in importlib.metadata.requires("torch") or []:
        specifier, _, marker = line.partition(";")
        name = pins.canonical(re.split(r"[\s<>=!~\[(]", specifier.strip())[0])
        if "extra" not in marker and not name.startswith(("nvidia", "cuda", "triton")):
            plain.add(name)
    assert plain <= set(pins.TORCH_NEEDS)
    locked = {entry.name for which in pins.SETS for entry in pins.read_lock(which)}
    assert set(pins.TORCH_NEEDS) <= locked


def test_what_is_installed_here_is_what_is_locked() -> None:
    for which in ("device", "tui", "workshop", "tokens"):
        for entry in pins.read_lock(which):
            if "python_full_version" in entry.marker:
                continue
            assert importlib.metadata.version(entry.name) == entry.version, "run `make setup`"


def _wheel(path: Path, variants: int, content: bytes = b"\x7fELF") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(variants):
            archive.writestr(f"bin/libggml-cpu-v{number}.so", content)
    return path


def test_a_llama_wheel_is_judged_by_its_content(tmp_path: Path) -> None:
    assert llama_wheel.fault(_wheel(tmp_path / "all.whl", 14)) == ""
    assert "not all" in llama_wheel.fault(_wheel(tmp_path / "native.whl", 1))
    assert "libgomp" in llama_wheel.fault(_wheel(tmp_path / "openmp.whl", 14, b"\x7fELF libgomp.so.1"))
    (tmp_path / "broken.whl").write_bytes(b"PK")
    assert "not a readable wheel" in llama_wheel.fault(tmp_path / "broken.whl")


def test_a_manifest_lists_every_file_and_changes_with_any(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_bytes(b"1")
    (tmp_path / "two").write_bytes(b"2")
    before = pack.write_manifest(tmp_path)
    lines = (tmp_path / "MANIFEST.sha256").read_text(encoding="utf-8").splitlines()
    assert [line.split("  ")[1] for line in lines] == ["a/one", "two"]
    assert lines[0].split("  ")[0] == fill.sha256(tmp_path / "a" / "one")
    (tmp_path / "two").write_bytes(b"3")
    assert pack.write_manifest(tmp_path) != before


def test_the_decision_record_names_the_flags_that_are_used() -> None:
    record = (pins.ROOT / "docs/decisions/0001-one-llama-cpp-build.md").read_text(encoding="utf-8")
    assert llama_wheel.CMAKE_ARGS in record
