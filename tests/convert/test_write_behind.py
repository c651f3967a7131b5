"""What a disk refuses while a file is still being made is not lost, and the file does not appear."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from convert import durable


def test_the_disk_is_given_work_while_the_file_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = os.fdatasync

    def counted(fd: int) -> None:
        sizes.append(os.fstat(fd).st_size)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", counted)
    path = tmp_path / "file"
    with durable.new_file(path) as stream, durable.WriteBehind(stream, every=10) as behind:
        for part in (b"0123456789", b"abcdefghij", b"end"):
            stream.write(part)
            behind.wrote(len(part))
            behind.settle()
    assert path.read_bytes() == b"0123456789abcdefghijend"
    assert sizes == [10, 20]


@pytest.mark.parametrize("more", [True, False])
def test_what_the_disk_refused_is_said_and_nothing_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: bool
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    path = tmp_path / "file"

    def write() -> None:
        with durable.new_file(path) as stream, durable.WriteBehind(stream, every=1) as behind:
            stream.write(b"some")
            behind.wrote(4)
            if more:
                behind.settle()

    with pytest.raises(OSError, match="input/output error"):
        write()
    assert not list(tmp_path.iterdir())
