"""install.sh's refusals, on a bundle that is complete but for the wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from offline_wheels import pack, pins

HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle whose checks pass and whose installation can't: its one requirement has no wheel."""
    folder = tmp_path / "a bundle"
    for name in ("requirements", "wheels/tools", "wheels/device", "wheels/tui"):
        (folder / name).mkdir(parents=True)
    shutil.copyfile(pins.HERE / "install.sh", folder / "install.sh")
    for which in ("device", "tui"):
        (folder / "requirements" / f"{which}.txt").write_text(f"absent==1 --hash=sha256:{'0' * 64}\n")
    _describe(folder)
    return folder


def _describe(folder: Path, python: str = HERE, glibc: str = "2.17") -> None:
    text = f"bundle_version=0.0.1\nbundle_python={python}\nbundle_glibc={glibc}\n"
    (folder / "bundle.env").write_text(text)
    pack.write_manifest(folder)


def _install(bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["sh", bundle / "install.sh", "--python", sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _refused(done: subprocess.CompletedProcess[str], code: int, reason: str) -> None:
    assert done.returncode == code, done.stderr
    assert f"error: {reason}" in done.stderr
    assert "\nhint: " in done.stderr


def test_a_changed_file_is_refused_before_anything_is_written(bundle: Path, tmp_path: Path) -> None:
    (bundle / "requirements" / "device.txt").write_text("evil==1\n")
    done = _install(bundle, "--prefix", tmp_path / "prefix")
    _refused(done, 8, "the bundle is damaged or was changed")
    assert "requirements/device.txt: FAILED" in done.stderr
    assert not (tmp_path / "prefix").exists()


def test_a_missing_file_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "requirements" / "tui.txt").unlink()
    _refused(_install(bundle, "--prefix", tmp_path / "prefix"), 8, "the bundle is damaged or was changed")


def test_a_folder_without_a_manifest_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "MANIFEST.sha256").unlink()
    assert _install(bundle, "--prefix", tmp_path / "prefix").returncode == 8


def test_another_python_is_refused(bundle: Path, tmp_path: Path) -> None:
    _describe(bundle, python="3.99")
    done = _install(bundle, "--prefix", tmp_path / "prefix")
    assert done.returncode == 2
    assert f"is Python {HERE}, the wheels here are for 3.99" in done.stderr
    assert not (tmp_path / "prefix").exists()


def test_an_older_c_library_is_refused(bundle: Path, tmp_path: Path) -> None:
    _describe(bundle, glibc="9.1")
    done = _install(bundle, "--prefix", tmp_path / "prefix")
    assert done.returncode == 2
    assert "is older than the bundle's 9.1" in done.stderr


def test_a_wrong_argument_is_refused(bundle: Path) -> None:
    _refused(_install(bundle, "--set", "everything"), 2, "no set named everything")
    _refused(_install(bundle, "--nonsense"), 2, "unknown argument --nonsense")
    _refused(_install(bundle, "--prefix"), 2, "--prefix needs a value")


def test_help_is_shown(bundle: Path) -> None:
    done = _install(bundle, "--help")
    assert done.returncode == 0
    assert "--set device|workshop|all" in done.stdout


def test_a_failed_installation_leaves_the_former_one_and_nothing_else(bundle: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "prefix"
    former = prefix / "versions" / "0.0.0-device-former.1"
    former.mkdir(parents=True)
    (prefix / "versions" / "half-done").mkdir()
    (prefix / "current").symlink_to("versions/0.0.0-device-former.1")
    done = _install(bundle, "--prefix", prefix)
    assert done.returncode == 11
    assert "installing failed" in done.stderr
    assert str((prefix / "current").readlink()) == "versions/0.0.0-device-former.1"
    assert [entry.name for entry in (prefix / "versions").iterdir()] == [former.name]
    assert {entry.name for entry in prefix.iterdir()} == {"current", "versions"}
