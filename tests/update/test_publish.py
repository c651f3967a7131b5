"""Writing sticks: versions go up, a stopped writer leaves the former stick valid, releases stay until pruned."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from appliance import storage
from appliance.errors import TrustError, UpdateError
from appliance.events import Event
from appliance.update import publish, uncached
from tests.stick_simulator import Simulator, flip_bit


@pytest.fixture
def simulator(tmp_path: Path) -> Simulator:
    simulator = Simulator(tmp_path)
    simulator.publish("1.0.0")
    return simulator


def test_releases_stay_until_pruned(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    assert [offer.version for offer in simulator.check().offers] == ["1.1.0", "1.0.0"]
    simulator.publish("1.2.0", prune=True)
    assert [offer.version for offer in simulator.check(deep=True).offers] == ["1.2.0"]
    assert len(list((simulator.stick / "targets").iterdir())) == 3


def test_counters_go_on_over_sticks(simulator: Simulator, tmp_path: Path) -> None:
    second = simulator.publish("1.1.0", stick=tmp_path / "other")
    assert second.counter == 2
    simulator.install()
    simulator.install(tmp_path / "other")
    assert simulator.active == "1.1.0"


def test_the_same_release_keeps_its_counter(simulator: Simulator) -> None:
    first = simulator.publish("1.1.0")
    again = simulator.publish("1.1.0")
    assert (again.counter, again.timestamp) == (first.counter, first.timestamp + 1)


def change(simulator: Simulator, version: str = "1.0.0") -> None:
    path = simulator.folder / "releases" / version / "release.json"
    path.write_bytes(path.read_bytes().replace(b'"golden":[]', b'"golden":[],"note":1'))


@pytest.mark.parametrize("where", ["the same stick", "another stick"])
def test_one_version_has_one_content(simulator: Simulator, tmp_path: Path, where: str) -> None:
    simulator.publish("1.4.9")
    change(simulator)
    before = storage.sha256_tree(simulator.stick)
    with pytest.raises(
        UpdateError, match=r"notes 1\.0\.0 was published already, with other content"
    ) as caught:
        simulator.publish("1.0.0", stick=simulator.stick if where == "the same stick" else tmp_path / "other")
    assert 'version = "1.4.10"' in caught.value.hint
    assert "--replace" in caught.value.hint
    assert storage.sha256_tree(simulator.stick) == before


def test_replaced_content_reaches_a_device_that_has_the_former(simulator: Simulator) -> None:
    simulator.install()
    change(simulator)
    written = simulator.publish("1.0.0", replace=True)
    assert written.counter == 2
    assert [offer.version for offer in simulator.check(deep=True).offers] == ["1.0.0"]
    assert simulator.install().digest == written.digest
    assert len(list((simulator.stick / "targets").iterdir())) == 3  # nothing is left of the former


def test_replaced_content_goes_up_even_if_it_was_out_before(simulator: Simulator) -> None:
    path = simulator.folder / "releases" / "1.0.0" / "release.json"
    first = path.read_bytes()
    change(simulator)
    simulator.publish("1.0.0", replace=True)
    path.write_bytes(first)
    assert simulator.publish("1.0.0", replace=True).counter == 3
    assert simulator.publish("1.0.0", replace=True).counter == 3  # the same content again needs no new place


def test_somebody_else_s_stick_is_not_overwritten(simulator: Simulator, tmp_path: Path) -> None:
    stranger = Simulator(tmp_path / "stranger", "stranger")
    before = storage.sha256_tree(simulator.stick)
    with pytest.raises(TrustError, match="isn't ours"):
        stranger.publish("1.0.0", stick=simulator.stick)
    assert storage.sha256_tree(simulator.stick) == before


def test_a_changed_release_folder_is_not_signed(simulator: Simulator) -> None:
    simulator.publish("1.1.0")
    flip_bit(simulator.folder / "releases" / "1.1.0" / "notes.gguf")
    with pytest.raises(UpdateError, match=r"not what release\.json says"):
        simulator.publish("1.1.0")


def test_stopped_before_any_write_the_former_stick_is_valid(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    shutil.copytree(simulator.stick, before)
    keys_before = tmp_path / "keys-before"
    shutil.copytree(simulator.keys, keys_before)
    write, copy = storage.write_bytes, publish._copy
    for allowed in range(100):
        for folder, kept in ((simulator.stick, before), (simulator.keys, keys_before)):
            shutil.rmtree(folder)
            shutil.copytree(kept, folder)
        left = allowed

        def count() -> None:
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1

        def counted_write(*given: object, **named: object) -> None:
            count()
            write(*given, **named)  # type: ignore[arg-type]

        def counted_copy(*given: object) -> None:
            count()
            copy(*given)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(storage, "write_bytes", counted_write)
            patch.setattr(publish, "_copy", counted_copy)
            try:
                simulator.publish("1.1.0")
            except KeyboardInterrupt:
                assert simulator.check(deep=True).version == "1.0.0"
                continue
        break
    assert allowed >= 7  # three files, the publisher's state, root and three metadata files
    assert simulator.check(deep=True).version == "1.1.0"


def test_a_damaged_file_on_the_stick_is_written_again(simulator: Simulator) -> None:
    flip_bit(simulator.target("notes.gguf"))
    simulator.publish("1.0.0")
    assert simulator.check(deep=True).version == "1.0.0"


def in_memory(path: Path) -> int:
    with path.open("rb") as stream:
        return uncached.resident(stream.fileno())


def test_it_is_read_back_from_the_stick_and_not_from_memory(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What memory holds when the reading begins; a file system that can't forget says so."""
    files = [path for path in simulator.stick.rglob("*") if path.is_file()]
    assert sum(map(in_memory, files)) >= sum(path.stat().st_size for path in files)  # they were just read
    verify, told, held = publish.client.verify, list[Event](), list[int]()

    def look(*given: Any) -> Any:
        held.extend(in_memory(path) for path in files)
        return verify(*given)

    monkeypatch.setattr(publish.client, "verify", look)
    history = publish.keys.root_history(simulator.keys)
    publish.read_back(simulator.stick, history[1], publish.clock.machine_time(), told.append)
    warned = [event.text for event in told if event.kind == "warning"]
    assert len(held) == len(files)
    assert sum(held) == 0 or (f"{sum(held)} bytes are read from memory" in warned[0])
    assert (sum(held) == 0) == (not warned)


def test_a_mapped_file_is_told_as_read_from_memory(simulator: Simulator) -> None:
    import mmap

    path = simulator.target("gguf")
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[0] == path.read_bytes()[0]  # its pages are in use
        assert uncached.drop([path.parent]) >= os.sysconf("SC_PAGE_SIZE")
