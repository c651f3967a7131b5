"""Writing that survives or leaves no trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from appliance import storage


def test_a_failed_write_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    storage.write_text(path, "old")
    with pytest.raises(RuntimeError), storage.atomic_writer(path) as stream:
        stream.write(b"new and half")
        raise RuntimeError("cut")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_a_killed_writer_leaves_the_former_file_and_litter_that_is_swept(tmp_path):
    path = tmp_path / "a.json"
    storage.write_text(path, "old")
    program = (
        "import os, signal, sys, pathlib\nfrom appliance import storage\n"
        "with storage.atomic_writer(pathlib.Path(sys.argv[1])) as stream:\n"
        "    stream.write(b'half'); stream.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)])
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert storage.remove_leftovers(tmp_path) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_file_and_its_folder_are_fsynced_before_and_after_the_rename(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, storage.Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), real_fsync(fd))[1])
    monkeypatch.setattr(
        storage.Path, "replace", lambda self, to: (calls.append("rename"), real_replace(self, to))[1]
    )
    storage.write_text(tmp_path / "a", "x")
    assert calls == ["fsync", "rename", "fsync"]


def test_canonical_json_is_equal_for_equal_values():
    assert storage.canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}'.encode()
    with pytest.raises(ValueError):
        storage.canonical_json(float("nan"))


def test_a_tree_s_digest_sees_names_and_contents(tmp_path):
    (tmp_path / "a").write_text("1")
    first = storage.sha256_tree(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert storage.sha256_tree(tmp_path) != first
    (tmp_path / "b").rename(tmp_path / "a")
    assert storage.sha256_tree(tmp_path) == first
    (tmp_path / "a").write_text("2")
    assert storage.sha256_tree(tmp_path) != first
