"""Packs bundle/: program, wheel sets, base model and installer in one folder (what `make bundle` calls).

docs/formats/bundle.md describes the folder. It is made beside and renamed: a bundle is whole or not there.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from offline_wheels import fill, pins
from offline_wheels.progress import fail, say

BUNDLE = pins.ROOT / "bundle"
FORMAT = "anchorhold-bundle/1"
PRIVATE = {"build", "keys", "stick", "demo", "__pycache__"}  # what a project makes is never packed


def _link(source: Path, target: Path) -> None:
    """A hard link where the disk allows it (the wheels are large), else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _tracked(folder: str) -> list[Path]:
    """Files of `folder` that belong to the repository."""
    if (pins.ROOT / ".git").exists() and shutil.which("git"):
        done = subprocess.run(
            ["git", "ls-files", "-z", "--", folder], cwd=pins.ROOT, capture_output=True, text=True, check=True
        )
        return [pins.ROOT / name for name in done.stdout.split("\0") if name and (pins.ROOT / name).is_file()]
    files = (file for file in (pins.ROOT / folder).rglob("*") if file.is_file())
    return [file for file in files if not PRIVATE & set(file.relative_to(pins.ROOT).parts)]


def write_manifest(folder: Path) -> str:
    """Write MANIFEST.sha256 over every file below `folder`; returns the manifest's own SHA-256."""
    manifest = folder / "MANIFEST.sha256"
    manifest.unlink(missing_ok=True)
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    manifest.write_text(
        "".join(f"{fill.sha256(folder / name)}  {name}\n" for name in files), encoding="utf-8"
    )
    return fill.sha256(manifest)


def main() -> None:
    """Make bundle/ from offline_wheels/wheels/ and the repository."""
    for which in fill.SETS:
        if not fill.complete(which):
            raise fail(f"offline_wheels/wheels/{which} is not complete", "run `make wheels`")
    part = BUNDLE.with_name(".bundle.part")
    shutil.rmtree(part, ignore_errors=True)
    for which in fill.SETS:
        for wheel in (pins.WHEELS / which).glob("*.whl"):
            _link(wheel, part / "wheels" / which / wheel.name)
        target = part / "requirements" / f"{which}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fill.requirements_path(which), target)
    for source in [*_tracked("docs"), *_tracked("examples/workorders")]:
        target = part / source.relative_to(pins.ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    for name in ("README.md", "LICENSE", "SECURITY.md", "CHANGELOG.md"):
        shutil.copyfile(pins.ROOT / name, part / name)
    shutil.copyfile(pins.HERE / "install.sh", part / "install.sh")
    (part / "install.sh").chmod(0o755)
    _, libc = platform.libc_ver()
    about = {
        "format": FORMAT,
        "version": pins.pyproject()["project"]["version"],
        "python": ".".join(map(str, sys.version_info[:2])),
        "glibc": libc,
        "program": fill.program_digest(),
    }
    (part / "bundle.json").write_text(json.dumps(about, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # The same values where a shell can read them without a JSON parser.
    (part / "bundle.env").write_text(
        "".join(f"bundle_{k}={about[k]}\n" for k in ("version", "python", "glibc"))
    )
    digest = write_manifest(part)
    old = BUNDLE.with_name(".bundle.old")
    shutil.rmtree(old, ignore_errors=True)
    if BUNDLE.exists():
        BUNDLE.rename(old)
    part.rename(BUNDLE)
    shutil.rmtree(old, ignore_errors=True)
    size = sum(file.stat().st_size for file in BUNDLE.rglob("*") if file.is_file())
    say(f"bundle/: {size / 1e6:.0f} MB; carry it whole, then on the other side: sh install.sh --help")
    say(f"SHA-256 of its MANIFEST.sha256 (carry this by another way, and compare): {digest}")


if __name__ == "__main__":
    main()
