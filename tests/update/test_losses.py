"""A power cut that loses what wasn't synced, after every call of an install; and that the check of it can fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance import storage
from benchmarks import install_faults, install_losses
from benchmarks.unsynced import WAYS, Disk
from tests.update.test_faults import harness_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", install_faults.KINDS)
def test_one_release_is_whole_whatever_was_lost(kind, tmp_path: Path, monkeypatch) -> None:
    harness = harness_of(tmp_path, monkeypatch, kind)
    outcomes = install_losses.sweep(harness, tmp_path / "cut")
    assert sum(outcomes["names without data"].values()) > 30
    for way in WAYS:
        assert outcomes[way]["old release active"] and outcomes[way]["new release active"], way


def test_a_file_that_is_not_synced_is_found(tmp_path: Path, monkeypatch) -> None:
    harness = harness_of(tmp_path, monkeypatch)
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    with pytest.raises(Exception, match=r"missing or damaged|is active"):
        install_losses.sweep(harness, tmp_path / "cut")


def test_a_folder_that_is_not_synced_is_found(tmp_path: Path, monkeypatch) -> None:
    harness = harness_of(tmp_path, monkeypatch)
    monkeypatch.setattr(storage, "fsync_folder", lambda _path: None)
    with pytest.raises(AssertionError, match=r"1\.0\.0 is active"):
        install_losses.sweep(harness, tmp_path / "cut")


def hexed(text: str) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in text.encode()) + '"'


def test_what_is_kept_follows_what_was_synced(tmp_path: Path) -> None:
    """The course of one replaced file, in strace's words."""
    root = tmp_path / "device"
    root.mkdir()
    (root / "a").write_bytes(b"old")
    disk = Disk(root)
    lines = {
        f"7 openat(AT_FDCWD</>, {hexed(f'{root}/t')}, O_WRONLY|O_CREAT|O_TRUNC, 0644) = 3<{root}/t>": None,
        f"7 write(3<{root}/t>, {hexed('new!')}, 4) = 4": None,
        f"7 rename({hexed(f'{root}/t')}, {hexed(f'{root}/a')}) = 0": ({"a": b"old"}, {"a": b""}),
        f"7 fsync(3<{root}/a>) = 0": ({"a": b"old"}, {"a": b"new!"}),
        f"7 fsync(4<{root}>) = 0": ({"a": b"new!"}, {"a": b"new!"}),
    }
    for line, expected in lines.items():
        assert disk.apply(line)
        if expected is not None:
            assert (disk.left(names=False), disk.left(names=True)) == expected
    with pytest.raises(ValueError, match="not followed"):
        disk.apply("7 writev(3<x>, [], 0) = 0")
