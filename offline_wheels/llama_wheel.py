"""The one llama.cpp build: a wheel with every x86-64 CPU variant, compiled once and kept.

`python3 -m offline_wheels.llama_wheel` prints where it is. It is looked for in offline_wheels/cache/, then
in the shared cache ($ANCHORHOLD_WHEEL_CACHE, else ~/.cache/anchorhold/wheels/<key>/), then built (about ten
minutes on two cores). docs/decisions/0001-one-llama-cpp-build.md says why these flags.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from offline_wheels import pins
from offline_wheels.progress import fail, run, say

CMAKE_ARGS = (
    "-DGGML_NATIVE=OFF -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON -DGGML_OPENMP=OFF -DLLAVA_BUILD=OFF"
)
VARIANTS = 10  # a portable wheel has at least so many libggml-cpu-*.so (fourteen at this pin)


def pattern() -> str:
    """The glob of the wheel's file name."""
    return f"llama_cpp_python-{pins.pin(pins.LLAMA)}-*.whl"


def build_key() -> str:
    """Digest of version and flags: two wheels with the same key are interchangeable."""
    return hashlib.sha256(f"{pins.pin(pins.LLAMA)} {CMAKE_ARGS}".encode()).hexdigest()[:12]


def fault(wheel: Path) -> str:
    """Why `wheel` is not the portable build; empty if it is. Judged by its content, whoever built it."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            variants = [name for name in names if Path(name).match("libggml-cpu-*.so")]
            if len({Path(name).name for name in variants}) < VARIANTS:
                return f"holds {len(variants)} CPU variants, not all"
            for name in variants:
                if b"libgomp" in archive.read(name):
                    return f"{name} needs libgomp"
            damaged = archive.testzip()
            return f"{damaged} is damaged" if damaged else ""
    except (OSError, zipfile.BadZipFile) as error:
        return f"not a readable wheel: {error}"


def shared_cache() -> Path:
    """Where wheels outlive a checkout."""
    home = os.environ.get("ANCHORHOLD_WHEEL_CACHE")
    return (Path(home) if home else Path.home() / ".cache" / "anchorhold" / "wheels") / build_key()


def _place(wheel: Path, folder: Path) -> Path:
    """Copy `wheel` into `folder`, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / wheel.name
    temporary = folder / f".{wheel.name}.{os.getpid()}.part"
    shutil.copyfile(wheel, temporary)
    temporary.replace(target)
    return target


def find() -> Path | None:
    """A usable wheel that is already on this machine, brought into offline_wheels/cache/."""
    for folder in (pins.CACHE, shared_cache()):
        for wheel in sorted(folder.glob(pattern())):
            wrong = fault(wheel)
            if not wrong:
                return wheel if folder == pins.CACHE else _place(wheel, pins.CACHE)
            say(f"  not using {wheel}: {wrong}")
    return None


def build() -> Path:
    """Compile the wheel and keep it in both caches.

    Raises:
        SystemExit: a tool is missing, or the build failed; the log's end has been shown.
    """
    missing = [tool for tool in ("g++", "make") if shutil.which(tool) is None]
    if missing:
        raise fail(
            f"{' and '.join(missing)} missing: llama.cpp has to be compiled once",
            "on Debian: apt-get install g++ make (cmake and ninja come with the build)",
        )
    version = pins.pin(pins.LLAMA)
    say(f"compiling llama.cpp (llama-cpp-python {version}) once: about ten minutes on two cores")
    with tempfile.TemporaryDirectory(prefix="anchorhold-llama-") as name:
        folder = Path(name)
        log = pins.CACHE / "llama_cpp_python.log"
        command: list[str | Path] = [
            sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-binary", "llama-cpp-python",
            "--no-cache-dir", "--wheel-dir", folder, f"llama-cpp-python=={version}",
        ]  # fmt: skip
        environment = os.environ | {
            "CMAKE_ARGS": CMAKE_ARGS,
            "CMAKE_BUILD_PARALLEL_LEVEL": str(os.cpu_count() or 1),
        }
        if run(command, "compiling llama.cpp", log, environment=environment):
            raise fail(
                "llama.cpp did not compile",
                f"read {log}; a missing cmake or ninja means that the package index gave the build none: "
                "apt-get install cmake ninja-build",
            )
        built = sorted(folder.glob(pattern()))
        wrong = fault(built[0]) if built else "no wheel came out"
        if wrong:
            raise fail(f"the llama.cpp build is not the portable one: {wrong}", f"read {log}")
        with contextlib.suppress(OSError):  # the shared cache is a convenience
            _place(built[0], shared_cache())
        return _place(built[0], pins.CACHE)


def obtain() -> Path:
    """The wheel, found or built; also offered to the shared cache."""
    found = find()
    if found is None:
        return build()
    if not list(shared_cache().glob(pattern())):
        with contextlib.suppress(OSError):
            _place(found, shared_cache())
    return found


if __name__ == "__main__":
    say(str(obtain()))
