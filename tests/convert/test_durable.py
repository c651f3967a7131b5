"""Outputs appear whole or not at all, whatever happens to their writer."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convert import durable, to_checkpoint, to_gguf

_STOP_IN_THE_MIDDLE = """
import os, signal, sys
from pathlib import Path
from convert import durable, {module}
if {named}:
    durable._open_nameless = lambda folder: None  # as on a file system without O_TMPFILE
def stop(name, done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
{module}.convert(Path(sys.argv[1]), Path(sys.argv[2]), progress=stop)
"""


def killed_halfway(module: str, source: Path, target: Path, *, named: bool = False) -> None:
    """Convert in a process that is killed in the middle."""
    program = _STOP_IN_THE_MIDDLE.format(module=module, named=named)
    done = subprocess.run([sys.executable, "-c", program, str(source), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL


def test_a_killed_writer_leaves_nothing(small: Path, tmp_path: Path) -> None:
    killed_halfway("to_gguf", small, tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_former_file(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.gguf"
    target.write_bytes(b"former")
    killed_halfway("to_gguf", small, target)
    assert target.read_bytes() == b"former" and len(list(tmp_path.iterdir())) == 1


def test_what_a_killed_writer_left_goes_with_the_next(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "m.gguf"
    killed_halfway("to_gguf", small, target, named=True)
    assert not target.exists() and len(list(tmp_path.iterdir())) == 1
    to_gguf.convert(small, target)
    assert [each.name for each in tmp_path.iterdir()] == ["m.gguf"]


def test_a_killed_writer_leaves_no_checkpoint(small: Path, tmp_path: Path) -> None:
    source = to_gguf.convert(small, tmp_path / "source.gguf").path
    folder = tmp_path / "out" / "model"
    killed_halfway("to_checkpoint", source, folder)
    assert not folder.exists()
    to_checkpoint.convert(source, folder)
    assert [each.name for each in folder.parent.iterdir()] == ["model"]


def test_a_living_writers_file_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "_open_nameless", lambda folder: None)
    target = tmp_path / "file"
    with durable.new_file(target) as first:
        first.write(b"first")
        with durable.new_file(target) as second:
            second.write(b"second")
        assert target.read_bytes() == b"second"
    assert target.read_bytes() == b"first" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("named", [False, True])
def test_a_failing_writer_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:
        monkeypatch.setattr(durable, "_open_nameless", lambda folder: None)
    with pytest.raises(ZeroDivisionError), durable.new_file(tmp_path / "file") as stream:
        stream.write(b"half")
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError), durable.new_folder(tmp_path / "folder") as inside:
        (inside / "file").write_bytes(b"half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("named", [False, True])
def test_a_file_and_its_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if named:
        monkeypatch.setattr(durable, "_open_nameless", lambda folder: None)
    target = tmp_path / "made" / "file"
    with durable.new_file(target) as stream:
        stream.write(b"whole")
    assert target.read_bytes() == b"whole" and target.stat().st_mode & 0o777 == 0o644
    assert len(list(target.parent.iterdir())) == 1


def test_a_folder_with_something_in_it_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("kept")
    with pytest.raises(FileExistsError), durable.new_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "folder" / "mine").read_text() == "kept"


def test_no_space_is_found_out_before_writing(small: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught:
        durable.check_space(tmp_path, 2**60)
    assert caught.value.errno == errno.ENOSPC


def test_a_write_that_fails_halfway_leaves_nothing(small: Path, tmp_path: Path) -> None:
    program = (
        "import resource, signal, sys; from pathlib import Path; from convert import to_gguf\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "to_gguf.convert(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", program, str(small), str(tmp_path / "m.gguf")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
