"""What is wrong with a registry is found, named and put right as it says; a collection removes only what it may."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance import storage
from appliance.errors import StorageError, TrustError, UsageError
from appliance.events import ignore
from appliance.registry.carrying import RECORD_FILE, export_release, import_release
from appliance.registry.checking import verify
from appliance.registry.collecting import collect, plan
from appliance.registry.records import Sighting
from appliance.registry.store import Registry
from tests.stick_simulator import flip_bit, make_release

VERSIONS = ("1.0.0", "1.1.0", "1.2.0")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "kept")
    for version in VERSIONS:
        registry.add(make_release(tmp_path / "made" / version, version, f"model {version}".encode() * 900))
    return registry


def model_of(registry: Registry, version: str) -> Path:
    return registry.objects.path(registry.manifest(registry.find(f"notes@{version}").digest).model.sha256)


def flipped(registry: Registry) -> None:
    path = model_of(registry, "1.1.0")
    path.chmod(0o644)
    flip_bit(path)


def missing(registry: Registry) -> None:
    model_of(registry, "1.1.0").unlink()


def shorter(registry: Registry) -> None:
    path = model_of(registry, "1.1.0")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def manifest_gone(registry: Registry) -> None:
    registry.objects.path(registry.find("notes@1.1.0").digest).unlink()


@pytest.mark.parametrize("harm", [flipped, missing, shorter, manifest_gone])
def test_a_damaged_object_is_named_and_put_right_by_adding_again(
    registry: Registry, tmp_path: Path, harm: Callable[[Registry], None]
) -> None:
    before = registry.index().content()
    digest = registry.find("notes@1.1.0").digest
    harm(registry)
    (fault,) = verify(registry, ignore).faults
    assert "notes 1.1.0" in fault.text or digest in fault.text
    assert "registry add" in fault.todo
    with pytest.raises(TrustError):
        export_release(registry, digest, tmp_path / "export")
    assert not (tmp_path / "export").exists() and not list(tmp_path.glob(".export*"))
    assert registry.add(tmp_path / "made" / "1.1.0").new is False
    assert verify(registry, ignore).faults == []
    assert registry.index().content() == before


def test_quick_looks_at_sizes_alone(registry: Registry) -> None:
    flipped(registry)
    assert verify(registry, ignore, quick=True).faults == []
    shorter(registry)
    assert len(verify(registry, ignore, quick=True).faults) == 1


def test_a_damaged_record_is_named_and_nothing_is_collected_meanwhile(
    registry: Registry, tmp_path: Path
) -> None:
    digest = registry.find("notes@1.0.0").digest
    record = registry.records.folder / f"{digest}.1.json"
    record.write_bytes(b"{" + record.read_bytes())
    (fault,) = verify(registry, ignore).faults
    assert str(record) in fault.text
    objects = registry.objects.sizes()
    for action in (plan, collect):
        with pytest.raises(TrustError, match="nothing is removed"):
            action(registry, 1)
    assert registry.objects.sizes() == objects
    registry.close()
    registry.rebuild()
    assert list(registry.index().unreadable()) == [digest]
    assert registry.add(tmp_path / "made" / "1.0.0").new is False
    assert verify(registry, ignore).faults == []
    assert len(registry.index().listed()) == 3


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE releases SET channel = 'stable' WHERE version = '1.1.0'",
        "UPDATE files SET bytes = bytes + 1 WHERE role = 'model'",
        "DELETE FROM lineage",
        "DROP TABLE files",
    ],
)
def test_an_index_that_tells_another_story_is_found_and_made_again(
    registry: Registry, statement: str
) -> None:
    truth = registry.index().content()
    with sqlite3.connect(registry.index_path) as connection:
        connection.execute(statement)
    connection.close()
    (fault,) = verify(registry, ignore).faults
    assert "index.sqlite" in fault.text and "--rebuild" in fault.todo
    assert registry.rebuild() == 3
    assert registry.index().content() == truth
    assert verify(registry, ignore).faults == []


@pytest.mark.parametrize("content", [b"no database at all" * 100, None])
def test_a_damaged_index_is_told_of_and_made_again(registry: Registry, content: bytes | None) -> None:
    truth = registry.index().content()
    registry.close()
    data = bytearray(registry.index_path.read_bytes())
    data[200:-200] = b"\xff" * (len(data) - 400)  # the head says that it is ours, the rest is none
    registry.index_path.write_bytes(bytes(data) if content is None else content)
    with pytest.raises(StorageError, match="damaged") as caught:
        registry.index()
    assert "--rebuild" in caught.value.hint
    assert len(verify(registry, ignore).faults) == 1
    registry.rebuild()
    assert registry.index().content() == truth


def test_an_index_of_another_version_is_made_again_unasked(registry: Registry) -> None:
    truth = registry.index().content()
    with sqlite3.connect(registry.index_path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    registry.close()
    assert registry.index().content() == truth


def test_a_collection_keeps_the_last_the_stable_and_those_that_left(
    registry: Registry, tmp_path: Path
) -> None:
    for version in ("1.3.0", "1.4.0"):
        registry.add(make_release(tmp_path / "made" / version, version, b"model 1.0.0" * 900))
    registry.promote(registry.find("notes@1.1.0").digest, "stable")
    registry.sight(registry.find("notes@1.2.0").digest, Sighting("stick", "blue", "2026-11-01T00:00:00Z"))
    shared = model_of(registry, "1.0.0")
    objects = registry.objects.sizes()
    planned = plan(registry, 1)
    assert [each.manifest.version for each in planned.releases] == ["1.0.0", "1.3.0"]
    assert registry.objects.sizes() == objects, "planning changes nothing"
    done = collect(registry, 1)
    assert done == planned
    assert sorted(each.version for each in registry.index().listed()) == ["1.1.0", "1.2.0", "1.4.0"]
    assert shared.exists(), "1.4.0 is made of the same model"
    assert set(objects) - set(registry.objects.sizes()) == set(done.objects)
    assert verify(registry, ignore).faults == []
    assert collect(registry, 1).releases == ()
    with pytest.raises(UsageError, match="--keep 0"):
        collect(registry, 0)


def test_exported_and_imported_it_is_the_same_release(registry: Registry, tmp_path: Path) -> None:
    digest = registry.find("notes@1.1.0").digest
    registry.promote(digest, "stable")
    registry.sight(digest, Sighting("device", "hut", "2026-11-01T00:00:00Z"))
    export_release(registry, digest, tmp_path / "out" / "export")
    with pytest.raises(UsageError, match="there already"):
        export_release(registry, digest, tmp_path / "out" / "export")
    with Registry(tmp_path / "other") as other:
        assert import_release(other, tmp_path / "out" / "export").digest == digest
        assert verify(other, ignore).faults == []
        record, former = other.record(digest), registry.record(digest)
        assert (record.added, record.parents, record.sightings) == (
            former.added,
            former.parents,
            former.sightings,
        )
        assert record.channel == "candidate", "what is stable is decided in each registry"
        assert other.objects.sizes().items() <= registry.objects.sizes().items()


@pytest.mark.parametrize("harm", ["file", "record", "other record"])
def test_a_changed_export_is_refused(registry: Registry, tmp_path: Path, harm: str) -> None:
    target = tmp_path / "export"
    export_release(registry, registry.find("notes@1.1.0").digest, target)
    if harm == "file":
        (target / "notes.gguf").chmod(0o644)
        flip_bit(target / "notes.gguf")
    elif harm == "record":
        (target / RECORD_FILE).write_text("{}")
    else:
        export_release(registry, registry.find("notes@1.0.0").digest, tmp_path / "second")
        storage.write_bytes(target / RECORD_FILE, (tmp_path / "second" / RECORD_FILE).read_bytes())
    with Registry(tmp_path / "other") as other:
        with pytest.raises(TrustError):
            import_release(other, target)
        assert other.index().listed() == []
