"""A disk that fills up at any point of an add, a promotion or a collection: an error that says so, and nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ExitCode
from appliance.registry.store import Registry
from tests.house.sources import ROOT
from tests.registry.registry_worker import ADDED, KEPT, scenario
from tests.registry.test_killed import SHARED_MODEL, story, whole
from tests.stick_simulator import make_release

SCENARIO = """
import sys
from pathlib import Path
from appliance.errors import as_product_error
from tests.registry.registry_worker import scenario
try:
    scenario(Path(sys.argv[1]), Path(sys.argv[2]), lambda word: print(word, flush=True))
except Exception as error:
    print(as_product_error(error), file=sys.stderr)
    sys.exit(as_product_error(error).exit_code)
"""


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk wants root"
)
def test_nothing_is_lost_and_with_room_the_next_run_finishes(tmp_path: Path) -> None:
    releases, template = tmp_path / "releases", tmp_path / "template"
    for version in ("1.0.0", KEPT, "1.2.0", ADDED):
        make_release(releases / version, version, SHARED_MODEL if version != "1.2.0" else b"another" * 50_000)
    with Registry(template) as registry:
        for version in ("1.0.0", KEPT, "1.2.0"):
            registry.add(releases / version)
        before = story(registry)
    shutil.copytree(template, tmp_path / "end")
    scenario(tmp_path / "end", releases, lambda _: None)
    with whole(tmp_path / "end") as registry:
        end = story(registry)
    reached = set()
    for kibibytes in (*range(0, 64, 4), 96, 512):
        folder, left = tmp_path / "disk", tmp_path / f"left-{kibibytes}"
        folder.mkdir(exist_ok=True)
        script = (
            f'mount -t tmpfs -o size=64m none "{folder}" && cp -a "{template}/." "{folder}"'
            f' && mount -o remount,size=$(($(du -k -s "{folder}" | cut -f1) + {kibibytes}))k "{folder}"'
            f' && {{ "$1" -c "$2" "{folder}" "{releases}"; code=$?; cp -a "{folder}" "{left}"; exit $code; }}'
        )
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, SCENARIO],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        said = done.stdout.split()
        reached.add(len(said))
        if done.returncode:
            assert done.returncode == ExitCode.STORAGE, done.stderr
            assert "no space left on the disk" in done.stderr
        with whole(left) as registry:
            after = story(registry)
            for name in before:
                assert name in after or "sighted" in said, f"{kibibytes} KiB: {name} is gone after {said}"
            assert "added" not in said or ADDED in after
            assert "promoted" not in said or after[KEPT][0] == "stable"
        scenario(left, releases, lambda _: None)
        with whole(left) as registry:
            assert story(registry) == end
    assert {0, 4} <= reached, "the disk was too large or too small every time"
