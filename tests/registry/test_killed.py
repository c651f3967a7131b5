"""Killed at every change to the disk, at random moments, and while others write: nothing that was promised is lost."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.events import ignore
from appliance.registry.checking import verify
from appliance.registry.collecting import collect
from appliance.registry.store import Registry
from tests.registry.registry_worker import ADDED, KEPT, scenario
from tests.stick_simulator import make_release

PROGRAM = Path(__file__).with_name("registry_worker.py")
SHARED_MODEL = b"the same model" * 2000


def story(registry: Registry) -> dict[str, tuple[str, int]]:
    """Version -> channel and how many places it was seen at."""
    return {
        each.version: (each.channel, len(registry.record(each.digest).sightings))
        for each in registry.index().listed()
    }


def whole(folder: Path) -> Registry:
    """The registry, everything in it checked, index included."""
    registry = Registry(folder)
    assert verify(registry, ignore).faults == []
    return registry


@pytest.mark.slow
def test_killed_at_every_change_nothing_is_lost_and_the_next_run_finishes(tmp_path: Path) -> None:
    releases, template, output = tmp_path / "releases", tmp_path / "template", tmp_path / "output"
    for version in ("1.0.0", KEPT, "1.2.0", ADDED):
        make_release(releases / version, version, SHARED_MODEL if version != "1.2.0" else b"another" * 50)
    with Registry(template) as registry:
        for version in ("1.0.0", KEPT, "1.2.0"):
            registry.add(releases / version)
    subprocess.run([sys.executable, str(PROGRAM), "steps", releases, template, output], check=True)
    folders = sorted(path for path in output.iterdir() if path.is_dir())
    assert len(folders) > 60, "objects, records and statements are all changes"
    *killed, undisturbed = folders
    with whole(undisturbed) as registry:
        end, objects = story(registry), set(registry.objects.sizes())
    assert end == {ADDED: ("candidate", 1), KEPT: ("stable", 0)}
    reached = set()
    for folder in killed:
        done = folder.with_suffix(".done")
        said = done.read_text().split() if done.exists() else []
        reached.add(len(said))
        with whole(folder) as registry:
            now = story(registry)
            assert {KEPT} <= now.keys(), folder
            if len(said) < 3:  # collecting hasn't begun
                assert {"1.0.0", "1.2.0"} <= now.keys(), folder
            for number, (version, expected) in enumerate([(ADDED, None), (KEPT, "stable"), (ADDED, 1)], 1):
                if len(said) >= number:
                    assert version in now and (expected is None or expected in now[version]), folder
        scenario(folder, releases, lambda _: None)
        with whole(folder) as registry:
            assert story(registry) == end, folder
            assert set(registry.objects.sizes()) == objects, folder
            assert registry.objects.leftovers() == []
            assert not list(registry.records.folder.glob(".*"))
    assert reached == {0, 1, 2, 3}, "it was killed in each of the four"


def start(*words: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, str(PROGRAM), *map(str, words)], stderr=subprocess.PIPE)


def many(folder: Path, name: str, count: int) -> list[Path]:
    return [
        make_release(folder / f"{name}-{number}", f"1.{number}.0", SHARED_MODEL, extra={"name": name})
        for number in range(count)
    ]


def promises(path: Path, word: str) -> set[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return {line.split()[1] for line in lines if line.startswith(word)}


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    releases, folder, done = many(tmp_path / "releases", "one", 40), tmp_path / "kept", tmp_path / "done"
    killed = 0
    for _ in range(60):
        before = len(promises(done, "promoted"))
        if before == len(releases):
            break
        child = start("promotes", folder, done, *releases[before:])
        while len(promises(done, "promoted")) == before and child.poll() is None:
            time.sleep(0.002)  # until it is at work
        time.sleep(moments.random() * 0.05)
        child.kill()
        child.communicate()
        killed += child.returncode == -signal.SIGKILL
        with whole(folder) as registry:
            found = registry.index().listed()
            assert promises(done, "added") <= {each.digest for each in found}, seed
            assert promises(done, "promoted") <= {e.digest for e in found if e.channel == "stable"}, seed
    assert killed >= 3, "it was killed at work"


@contextlib.contextmanager
def at_work(*commands: tuple[object, ...]) -> Iterator[list[subprocess.Popen[bytes]]]:
    children = [start(*words) for words in commands]
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def ended(child: subprocess.Popen[bytes]) -> None:
    _, said = child.communicate(timeout=300)
    assert child.returncode == 0, said.decode()


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "keep"), [("promotes", 1000), ("adds", 1)])
def test_writers_at_once_and_a_collection_between_them(tmp_path: Path, verb: str, keep: int) -> None:
    folder, stop, names = tmp_path / "kept", tmp_path / "stop", ("one", "two", "three")
    with Registry(folder) as registry:
        registry.add(make_release(tmp_path / "first", "0.1.0", b"first" * 100))
    commands = [
        (verb, folder, tmp_path / f"{name}.done", *many(tmp_path / "releases", name, 12)) for name in names
    ]
    with at_work(*commands, ("collects", folder, keep, stop)) as (*writers, collector):
        for child in writers:
            ended(child)
        stop.touch()
        ended(collector)
    with whole(folder) as registry:
        found = registry.index().listed()
        numbers = [each.number for each in found]
        assert len(set(numbers)) == len(numbers), "no two have one place"
        there = {each.digest for each in found}
        for name in names:
            promised = promises(tmp_path / f"{name}.done", "added")
            assert len(promised) == 12
            assert promised <= there if keep == 1000 else registry.find(f"{name}@1.11.0").digest in promised
        if keep == 1000:
            assert len(found) == 37
            assert len([each for each in found if each.channel == "stable"]) == 36
        collect(registry, keep)
        assert len(registry.index().listed()) == (37 if keep == 1000 else 4)
        assert verify(registry, ignore).unreferred == {}


def test_two_that_promote_at_once_both_count(tmp_path: Path) -> None:
    releases = many(tmp_path / "releases", "one", 6)
    commands = [("promotes", tmp_path / "kept", tmp_path / f"{name}.done", *releases) for name in ("a", "b")]
    with at_work(*commands) as children:
        for child in children:
            ended(child)
    with whole(tmp_path / "kept") as registry:
        records = [registry.record(each.digest) for each in registry.index().listed()]
    assert [record.change - 1 for record in records] == [2] * 6, "neither change replaced the other's"
    assert sorted(record.promotion for record in records)[-1] == 12
