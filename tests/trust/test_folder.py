"""Reading a stick never leaves its folder and never waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, DownloadHTTPError

from appliance.errors import TrustError
from appliance.trust.folder import BASE_URL, FolderFetcher, open_inside, read_inside


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("secret")
    stick = tmp_path / "stick"
    (stick / "metadata").mkdir(parents=True)
    (stick / "metadata" / "a.json").write_text("hello")
    return stick


def test_a_file_is_read(stick: Path) -> None:
    assert read_inside(stick, "metadata/a.json", 5) == b"hello"
    assert b"".join(FolderFetcher(stick).fetch(BASE_URL + "metadata/a.json")) == b"hello"


def test_no_more_than_asked(stick: Path) -> None:
    with pytest.raises(TrustError, match="larger than 4"):
        read_inside(stick, "metadata/a.json", 4)


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "metadata/../../secret",
        "/etc/passwd",
        "",
        ".",
        "a//b",
        "a\\b",
        "a\0b",
        "a/b/c/d/e",
        "x" * 256,
    ],
)
def test_names_that_lead_outside(stick: Path, name: str) -> None:
    with pytest.raises(TrustError, match="not a name inside"):
        open_inside(stick, name)


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder", "device"])
def test_not_a_regular_file(stick: Path, kind: str) -> None:
    path = stick / "metadata" / "odd"
    if kind == "link":
        path.symlink_to("a.json")
    elif kind == "hard link":
        path.hardlink_to(stick / "metadata" / "a.json")
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif os.geteuid() == 0:
        try:
            os.mknod(path, 0o020644, os.makedev(1, 5))
        except PermissionError:
            pytest.skip("device nodes can't be made here")
    else:
        pytest.skip("device nodes need root")
    try:
        with pytest.raises((TrustError, PermissionError)):
            open_inside(stick, "metadata/odd")
    finally:
        path.rmdir() if kind == "folder" else path.unlink()


def test_a_linked_folder(stick: Path, tmp_path: Path) -> None:
    (stick / "away").symlink_to(tmp_path)
    with pytest.raises(TrustError, match="link"):
        open_inside(stick, "away/secret")


def test_missing_is_404_at_once_and_odd_is_not(stick: Path) -> None:
    with pytest.raises(DownloadHTTPError) as caught:
        FolderFetcher(stick).fetch(BASE_URL + "metadata/2.root.json")
    assert caught.value.status_code == 404
    (stick / "metadata" / "2.root.json").symlink_to("a.json")
    with pytest.raises(DownloadError) as odd:
        FolderFetcher(stick).fetch(BASE_URL + "metadata/2.root.json")
    assert not isinstance(odd.value, DownloadHTTPError)
