"""C++ of ours compiled on the machine where it runs, where it can be: seconds once, then kept.

Nothing depends on it: each such library has a definition in Python, which is slower and computes the same.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from appliance import storage

# Everything of -ffast-math but what would hide a NaN or flush small numbers in the whole process.
FLAGS = (
    "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math",
    "-fopenmp", "-shared", "-fPIC",
)  # fmt: skip

_Library = TypeVar("_Library")


def load(source: Path, cache: Path, opened: Callable[[Path], _Library]) -> _Library | None:
    """A source's library, from `cache` or made now; None where no compiler works.

    ANCHORHOLD_KERNELS=torch asks for none.

    Args:
        source: one C++ file.
        cache: a folder of ours, under which it is kept.
        opened: loads a library's file.
    """
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if os.environ.get("ANCHORHOLD_KERNELS") == "torch" or not compiler:
        return None
    key = storage.sha256_json(
        {"source": storage.sha256_file(source), "flags": FLAGS, "cpu": _cpu(), "compiler": compiler}
    )[:16]
    library = cache / "kernels" / f"{key}.so"
    try:
        library.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        folder = library.parent.stat()
        if folder.st_uid != os.getuid() or folder.st_mode & 0o022:
            return None  # what is loaded runs as us: nobody else may have put it there
        if library.exists():
            with contextlib.suppress(OSError):  # cut by a crash, say: made again
                return opened(library)
        _compile(compiler, source, library)
        return opened(library)
    except (OSError, subprocess.SubprocessError):
        return None


def _cpu() -> str:
    """What -march=native depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("flags", "Features", "model name"))}))


def _compile(compiler: str, source: Path, library: Path) -> None:
    """Make the library; it appears whole or not at all."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        made = Path(folder) / library.name
        command = [compiler, *FLAGS, "-o", str(made), str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        made.replace(library)
