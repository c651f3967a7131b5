"""Whatever stops a preparing leaves the dataset before it as it was; killed while it takes its place, no card."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import storage
from appliance.dataset import prepare, publishing
from appliance.errors import DataError, ExitCode
from appliance.events import Event
from tests.dataset.conftest import Bench
from tests.dataset.test_arranging import sentences
from tests.dataset.test_prepare import line, many

ROOT = Path(__file__).resolve().parents[2]


def files_of(bench: Bench) -> dict[str, bytes]:
    folder = bench.project.dataset
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.mark.parametrize("moment", ["reading", "looking for near-duplicates", "placing rows in splits"])
def test_what_is_stopped_leaves_the_earlier_dataset(bench: Bench, moment: str) -> None:
    bench.write("a.jsonl", many(40))
    bench.prepare()
    before = files_of(bench)
    bench.write("a.jsonl", many(60))

    def stop(event: Event) -> None:
        if moment in event.text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(bench.project, stop, tokenizer=lambda text: len(text.split()))
    assert files_of(bench) == before
    assert not list(bench.project.dataset.glob(".*"))
    assert sum(bench.prepare().rows.values()) == 60


def test_rows_at_fault_leave_it_too_and_say_which_they_were(bench: Bench) -> None:
    bench.write("a.jsonl", many(40))
    bench.prepare()
    before = files_of(bench)
    bench.write("a.jsonl", "broken\n" * 3)
    with pytest.raises(DataError, match="no usable row"):
        bench.prepare()
    after = files_of(bench)
    assert after.pop("rejected.jsonl").count(b"broken JSON") == 3
    del before["rejected.jsonl"]
    assert after == before


@pytest.mark.parametrize("step", [1, 2, 3])
def test_killed_while_it_takes_its_place_it_has_no_card_and_the_next_goes_through(
    bench: Bench, step: int
) -> None:
    bench.configure("canaries = 2")
    bench.write("a.jsonl", many(40))
    bench.prepare()
    bench.configure("")
    bench.write("a.jsonl", many(60))
    child = os.fork()
    if not child:
        calls = 0

        def durable(_: Path) -> None:
            nonlocal calls
            calls += 1
            if calls == step:
                os._exit(9)

        # Only here: the writers' own flushing stays.
        publishing.storage = SimpleNamespace(  # type: ignore[assignment]
            fsync_folder=durable, remove_leftovers=storage.remove_leftovers
        )
        try:
            bench.prepare()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (bench.project.dataset / "card.json").exists() == (step == 3)
    card = bench.prepare()
    assert sum(card.rows.values()) == 60
    assert not (bench.project.dataset / "canaries.jsonl").exists()
    assert not list(bench.project.dataset.glob(".*"))
    once = files_of(bench)
    bench.prepare()
    assert files_of(bench) == once


FULL = """
import sys
from pathlib import Path
from appliance.dataset import prepare
from appliance.errors import as_product_error
from appliance.paths import Project

try:
    prepare(Project.open(Path(sys.argv[1])), lambda _: None, tokenizer=lambda text: len(text.split()))
except Exception as error:
    print(as_product_error(error), file=sys.stderr)
    sys.exit(as_product_error(error).exit_code)
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting a small disk wants root"
)
@pytest.mark.parametrize("kibibytes", [48, 80, 128, 200])
def test_a_full_disk_is_an_error_and_leaves_the_earlier_dataset(bench: Bench, kibibytes: int) -> None:
    bench.write("a.jsonl", "".join(line(text) for text in sentences(1, 600)))
    folder = bench.project.dataset
    folder.mkdir(parents=True)
    script = (
        f'mount -t tmpfs -o size=4m none "{folder}" && {{ "$1" -c "$2" "$3" >/dev/null || exit 90; }}'
        f' && cp -a "{folder}" "{bench.root}/before"'
        f' && mount -o remount,size=$(($(du -k -s "{folder}" | cut -f1) + {kibibytes}))k "{folder}"'
        f' && {{ "$1" -c "$2" "$3" >/dev/null; code=$?; cp -a "{folder}" "{bench.root}/after"; exit $code; }}'
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, "sh", sys.executable, FULL, str(bench.root)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.STORAGE, done.stderr
    assert f"no space left on the disk ({folder}" in done.stderr
    before, after = bench.root / "before", bench.root / "after"
    assert (before / "card.json").exists()
    assert {path.name: path.read_bytes() for path in after.iterdir()} == {
        path.name: path.read_bytes() for path in before.iterdir()
    }


def test_a_folder_of_a_killed_preparing_goes(bench: Bench) -> None:
    left = bench.project.dataset / publishing.NEXT
    left.mkdir(parents=True)
    (left / "train.jsonl").write_text(line("left"))
    bench.write("a.jsonl", many(40))
    bench.prepare()
    assert not left.exists()
    left.symlink_to(bench.root / "data")
    bench.prepare()
    assert not left.exists() and list((bench.root / "data").iterdir())
