"""Prepares `.venv` for everything: `python3 -m offline_wheels.prepare` (what `make setup` calls).

Skips what is done: a stamp in `.venv` is the digest of the pins, locks and interpreter it was made from.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from offline_wheels import llama_wheel, pins
from offline_wheels.progress import fail, run, say

VENV = pins.ROOT / ".venv"
STAMP = VENV / ".anchorhold-setup"
LOG = VENV / "setup.log"
PYTHON = VENV / "bin" / "python"


def _pip(label: str, *arguments: str | Path) -> None:
    options = ["--no-deps", "--disable-pip-version-check", "--progress-bar", "off"]
    command: list[str | Path] = [PYTHON, "-m", "pip", "install", *options]
    if run([*command, *arguments], label, LOG):
        raise fail(f"{label} failed", f"is a package index in reach? All output: {LOG}")


def _installed(name: str) -> str:
    """The version of `name` in `.venv`; empty if it is not there."""
    stem = name.replace("-", "_")
    found = list(VENV.glob(f"lib/python*/site-packages/{stem}-*.dist-info"))
    return found[0].name.removeprefix(f"{stem}-").removesuffix(".dist-info") if found else ""


def _install_torch() -> None:
    """The pinned torch and nothing that it would pull in; what it imports stands in the workshop lock."""
    version = pins.pin(pins.TORCH)
    if _installed(pins.TORCH).partition("+")[0] != version:
        # A wheel or an address from the environment, for indexes whose torch is a CUDA build.
        _pip("installing torch", os.environ.get("ANCHORHOLD_TORCH") or f"torch=={version}")
    if subprocess.run([PYTHON, "-c", "import torch"], capture_output=True, check=False).returncode:
        raise fail(
            f"torch {version} does not load: this index's build wants CUDA libraries",
            "give a CPU build: ANCHORHOLD_TORCH=/path/to/torch-*-linux_x86_64.whl make setup",
        )


def _install_llama() -> None:
    wheel = llama_wheel.obtain()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    mark = VENV / ".anchorhold-llama"
    if _installed(pins.LLAMA) == pins.pin(pins.LLAMA) and mark.exists() and mark.read_text() == digest:
        return
    _pip("installing llama.cpp", "--force-reinstall", wheel)
    mark.write_text(digest)


def main() -> None:
    """Make or mend `.venv`."""
    if sys.version_info < (3, 11):  # noqa: UP036 (whatever Python the person has)
        raise fail(
            f"Python {sys.version.split()[0]} is too old", "use 3.11 or newer: make setup PYTHON=python3.11"
        )
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise fail(f"{sys.platform} on {os.uname().machine} is not supported", "use Linux on x86-64")
    key = pins.setup_key(f"{sys.version} {Path(sys.executable).resolve()}")
    if STAMP.exists() and STAMP.read_text() == key and PYTHON.exists():
        return
    say("preparing .venv (once)")
    STAMP.unlink(missing_ok=True)
    works = (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True).returncode == 0
    )
    if not works:
        shutil.rmtree(VENV, ignore_errors=True)
        try:
            venv.create(VENV, with_pip=True, symlinks=True)
        except subprocess.CalledProcessError as error:
            raise fail(
                "Python's venv module is incomplete", "on Debian: apt-get install python3-venv"
            ) from error
    for which in pins.SETS:
        _pip(f"installing the {which} set", "--require-hashes", "-r", pins.lock_path(which))
    _install_torch()
    _install_llama()
    _pip("installing anchorhold itself", "--no-build-isolation", "--editable", pins.ROOT)
    STAMP.write_text(key)
    say("ready: .venv/bin/anchorhold")


if __name__ == "__main__":
    main()
