"""A registry keeps what was added, finds it again by any of its names, and takes in nothing that isn't as it says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance import storage
from appliance.errors import TrustError, UsageError
from appliance.registry.records import Sighting
from appliance.registry.store import Registry
from tests.stick_simulator import flip_bit, make_release


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "kept")


def made(tmp_path: Path, version: str, model: bytes = b"") -> Path:
    folder = tmp_path / "made" / version
    return (
        folder
        if folder.exists()
        else make_release(folder, version, model or f"model {version}".encode() * 900)
    )


def test_what_was_added_is_found_by_each_of_its_names(registry: Registry, tmp_path: Path) -> None:
    first = registry.add(made(tmp_path, "1.9.0"))
    second = registry.add(made(tmp_path, "1.10.0"))
    assert first.new and second.new and first.digest != second.digest
    assert [each.version for each in registry.index().listed()] == ["1.10.0", "1.9.0"]
    for word in ("notes", "notes@1.10.0", second.digest, second.digest[:8]):
        assert registry.find(word).digest == second.digest, word
    registry.promote(second.digest, "stable")
    registry.promote(first.digest, "stable")
    assert registry.find("notes@stable").digest == first.digest, "the one promoted last"
    assert [each.version for each in registry.index().listed(channel="stable")] == ["1.10.0", "1.9.0"]
    assert registry.record(second.digest).parents == (first.digest,)
    for word in ("other", "notes@2.0.0", "0" * 64, "notes@", second.digest[:3]):
        if word != "notes@":
            with pytest.raises(UsageError):
                registry.find(word)


def test_added_again_nothing_changes(registry: Registry, tmp_path: Path) -> None:
    registry.add(made(tmp_path, "1.0.0"))
    before = (
        storage.sha256_tree(registry.folder / "records"),
        storage.sha256_tree(registry.folder / "objects"),
    )
    again = registry.add(made(tmp_path, "1.0.0"))
    assert (again.new, again.files) == (False, 0)
    assert before == (
        storage.sha256_tree(registry.folder / "records"),
        storage.sha256_tree(registry.folder / "objects"),
    )


def test_objects_are_copies_that_nobody_writes(registry: Registry, tmp_path: Path) -> None:
    folder = made(tmp_path, "1.0.0")
    added = registry.add(folder)
    model = registry.objects.path(added.manifest.model.sha256)
    assert model.stat().st_mode & 0o777 == 0o444
    flip_bit(folder / "notes.gguf")
    assert registry.objects.is_whole(added.manifest.model.sha256)


@pytest.mark.parametrize("harm", ["changed", "cut off", "missing", "a link", "a FIFO"])
def test_a_release_that_is_not_what_it_says_leaves_nothing(
    registry: Registry, tmp_path: Path, harm: str
) -> None:
    registry.add(made(tmp_path, "1.0.0"))
    before = storage.sha256_tree(registry.folder / "records"), set(registry.objects.sizes())
    folder = made(tmp_path, "1.1.0")
    model = folder / "notes.gguf"
    if harm == "changed":
        flip_bit(model)
    elif harm == "cut off":
        model.write_bytes(model.read_bytes()[:-1])
    else:
        moved = model.rename(tmp_path / "elsewhere.gguf")
        if harm == "a link":
            model.symlink_to(moved)
        elif harm == "a FIFO":
            os.mkfifo(model)
    with pytest.raises(TrustError, match=r"notes\.gguf"):
        registry.add(folder)
    assert (storage.sha256_tree(registry.folder / "records"), set(registry.objects.sizes())) == before
    assert registry.objects.leftovers() == []


def test_a_folder_without_a_release_is_refused(registry: Registry, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match=r"release\.json"):
            registry.add(folder)
    assert registry.index().listed() == []


def test_where_a_release_went_is_noted_once_a_place(registry: Registry, tmp_path: Path) -> None:
    digest = registry.add(made(tmp_path, "1.0.0")).digest
    registry.sight(digest, Sighting("stick", "blue", "2026-11-01T00:00:00Z"))
    registry.sight(digest, Sighting("device", "hut", "2026-11-02T00:00:00Z"))
    registry.sight(digest, Sighting("stick", "blue", "2026-11-03T00:00:00Z"))
    assert [(each.name, each.time[:10]) for each in registry.record(digest).sightings] == [
        ("hut", "2026-11-02"),
        ("blue", "2026-11-03"),
    ]
    assert {below[1:] for below in registry.index().below(digest)} == {("device", "hut"), ("stick", "blue")}


def test_a_lost_index_loses_nothing(registry: Registry, tmp_path: Path) -> None:
    digests = [registry.add(made(tmp_path, version)).digest for version in ("1.0.0", "1.1.0")]
    registry.promote(digests[0], "stable")
    registry.sight(digests[1], Sighting("device", "hut", "2026-11-02T00:00:00Z"))
    before = registry.index().content()
    registry.close()
    registry.index_path.unlink()
    assert registry.index().content() == before
    assert all(before[table] for table in ("releases", "files", "lineage"))
