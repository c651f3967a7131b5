"""A registry of many releases: `python -m benchmarks.registry [--releases N] [--rounds N]`, one JSON line a figure.

Releases are made that share a model and differ in all else, and put in place by the product's own objects, records
and rebuilding (without waiting for the disk after each, which would only make the preparing slow). Then, each the
median of the rounds: the whole command `registry list` as a person starts it, Python's own start included, its
bytecode kept as in an installation, its output read through a pipe; beside it `python -c pass`; the listing inside
one process; one more `add`, waiting for the disk; and planning a collection. The bar is the first: under 0.2 s.
Beside the seconds by the clock stands the processor's time, which says more on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from appliance import storage
from appliance.registry import manifest as manifests
from appliance.registry.collecting import plan
from appliance.registry.records import Record
from appliance.registry.store import Registry, now

NAMES = 20
BAR = 0.2  # seconds


def write_files(folder: Path) -> list[dict[str, Any]]:
    """The files that all the releases list."""
    folder.mkdir(parents=True)
    files = []
    for name, role in (("model.gguf", "model"), ("report.html", "report"), ("card.json", "card")):
        data = role.encode() * 20
        (folder / name).write_bytes(data)
        files.append({"name": name, "role": role, "bytes": len(data), "sha256": storage.sha256_bytes(data)})
    return files


def manifest_bytes(files: list[dict[str, Any]], number: int) -> bytes:
    """The release.json of release `number`, unlike all others."""
    provenance = {
        "base": {"weights": storage.sha256_bytes(b"base")},
        "dataset": storage.sha256_bytes(f"data {number // 7}".encode()),
        "training": {"adapter_sha256": storage.sha256_bytes(f"adapter {number}".encode())},
    }
    return storage.canonical_json(
        {
            "format": manifests.FORMAT,
            "name": f"project-{number % NAMES:02}",
            "version": f"{number // NAMES // 100}.{number // NAMES % 100}.0",
            "files": files,
            "golden": [],
            "provenance": provenance,
        }
    )


def measure(action: Callable[[], object], rounds: int) -> dict[str, float]:
    """Seconds that `action` takes: the median, the least and the most, and the median of its processor time."""
    walls, works = [], []
    for _ in range(rounds):
        before = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        begun = time.perf_counter()
        action()
        walls.append(time.perf_counter() - begun)
        after = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        works.append(
            sum(a.ru_utime + a.ru_stime - b.ru_utime - b.ru_stime for a, b in zip(after, before, strict=True))
        )
    return {
        "seconds": round(statistics.median(walls), 4),
        "least": round(min(walls), 4),
        "most": round(max(walls), 4),
        "processor": round(statistics.median(works), 4),
    }


def _said(command: list[str], environment: dict[str, str]) -> bytes:
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout


def main() -> None:
    """Make the releases, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--releases", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    def tell(figure: str, **values: Any) -> None:
        line = {"benchmark": "registry", "figure": figure, "releases": options.releases, **values}
        print(json.dumps({**line, "load": round(os.getloadavg()[0], 2)}), flush=True)

    with tempfile.TemporaryDirectory(prefix="anchorhold-registry-") as name:
        folder = Path(name) / "kept"
        begun = time.perf_counter()
        files = write_files(Path(name) / "release")
        with Registry(folder) as registry, mock.patch("os.fsync"):
            for file in files:
                registry.objects.put_file(
                    Path(name) / "release" / file["name"], file["sha256"], file["bytes"]
                )
            for number in range(options.releases):
                data = manifest_bytes(files, number)
                registry.records.write(Record(registry.objects.put_bytes(data), number + 1, now()))
        tell("put in place, no waiting for the disk", seconds=round(time.perf_counter() - begun, 1))
        with Registry(folder) as registry:
            tell("making the index", **measure(registry.rebuild, 1))
        environment = {
            **os.environ,
            "ANCHORHOLD_REGISTRY": str(folder),
            "PYTHONPYCACHEPREFIX": str(Path(name) / "bytecode"),
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        command = [sys.executable, "-m", "appliance", "registry", "list"]
        lines = _said(command, environment).splitlines()
        assert len(lines) == options.releases, len(lines)
        start = measure(lambda: _said([sys.executable, "-c", "pass"], environment), options.rounds)
        listed = measure(lambda: _said(command, environment), options.rounds)
        tell("python -c pass", **start)
        tell("registry list, whole command", **listed, bar=BAR, held=listed["seconds"] < BAR)
        tell("the same as JSON", **measure(lambda: _said([*command, "--json"], environment), options.rounds))

        def inside() -> None:
            with Registry(folder) as registry:
                assert len(registry.index().listed()) == options.releases

        tell("listing inside a process", **measure(inside, options.rounds))
        with Registry(folder) as registry:
            numbers = iter(range(options.releases, options.releases + options.rounds))

            def add() -> None:
                data = manifest_bytes(files, next(numbers))
                (Path(name) / "release" / manifests.FILE_NAME).write_bytes(data)
                assert registry.add(Path(name) / "release").new

            tell("add, waiting for the disk", **measure(add, options.rounds))
            tell("planning a collection", **measure(lambda: plan(registry, 5), 3))


if __name__ == "__main__":
    main()
