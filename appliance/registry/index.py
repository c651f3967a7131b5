"""The index of a registry: one SQLite file, made of records and manifests, and made again from them when it is lost.

A rollback journal rather than a write-ahead log, for the latter needs memory that all readers share, which a network
disk hasn't. Every change is one transaction. docs/formats/registry.md lists the tables.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import StorageError
from appliance.registry import lineage
from appliance.registry import version as versions
from appliance.registry.manifest import Manifest
from appliance.registry.records import Record

SCHEMA = 1
_BUSY = 30.0  # seconds to wait for another's transaction
_TABLES = """
CREATE TABLE releases (
  digest TEXT PRIMARY KEY, change INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL,
  version TEXT NOT NULL, major INTEGER NOT NULL, minor INTEGER NOT NULL, patch INTEGER NOT NULL,
  added TEXT NOT NULL, channel TEXT NOT NULL, promoted TEXT NOT NULL, promotion INTEGER NOT NULL,
  bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE unreadable (digest TEXT PRIMARY KEY, change INTEGER NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
  release TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, sha256 TEXT NOT NULL, bytes INTEGER NOT NULL,
  PRIMARY KEY (release, name)) WITHOUT ROWID;
CREATE TABLE lineage (
  release TEXT NOT NULL, above_kind TEXT NOT NULL, above TEXT NOT NULL, kind TEXT NOT NULL, digest TEXT NOT NULL,
  PRIMARY KEY (release, above_kind, above, kind, digest)) WITHOUT ROWID;
CREATE INDEX lineage_by_above ON lineage (above);
CREATE INDEX releases_by_name ON releases (name, number);
"""
TABLES = ("releases", "unreadable", "files", "lineage")


@dataclass(frozen=True)
class Listed:
    """A release as the index knows it.

    Attributes:
        digest: SHA-256 of its release.json.
        number: its place in the order of adding.
        bytes: of all its files.
        added, channel, promoted, promotion: as in `Record`.
    """

    digest: str
    number: int
    name: str
    version: str
    added: str
    channel: str
    promoted: str
    promotion: int
    bytes: int


class Damaged(Exception):  # noqa: N818 - never leaves the registry
    """The index can't be read."""


class OtherSchema(Damaged):
    """The index was made by another version of this program, or there is none yet."""


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise StorageError(
                f"no space left on the disk ({path})", "free some space and run the same command again"
            ) from error
        raise StorageError(
            f"{path}: {error}", "is the disk full, or another program at work? run the same command again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{path}: the index is damaged ({error})",
            "`anchorhold registry verify --rebuild` makes it again; nothing is lost by that",
        ) from error


class Index:
    """An open index.

    Args:
        path: its file; None: in memory.
        create: make the tables where there are none.

    Raises:
        Damaged: no readable index of this schema; with `create`, only if there is another thing in its place.
    """

    def __init__(self, path: Path | None, *, create: bool = False) -> None:
        self._path = path or Path(":memory:")
        if path is not None and not create and not path.is_file():
            raise OtherSchema("missing")
        try:
            self._connection = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None)
        except sqlite3.Error as error:
            raise Damaged(str(error)) from error
        try:
            self._connection.execute("PRAGMA synchronous = FULL")
            if create or path is None:
                self._make()
            (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
            if schema != SCHEMA:
                raise OtherSchema(f"of schema {schema}, not {SCHEMA}")
        except OtherSchema:
            self._connection.close()
            raise
        except sqlite3.Error as error:
            self._connection.close()
            if isinstance(error, sqlite3.OperationalError):
                with _told(self._path):
                    raise
            raise Damaged(str(error)) from error

    def _make(self) -> None:
        with self._transaction():
            (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
            if schema:
                return
            for statement in _TABLES.split(";\n"):
                if statement.strip():
                    self._connection.execute(statement)
            self._connection.execute(f"PRAGMA user_version = {SCHEMA}")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk has ended it already
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """All changes inside are made together or not at all.

        Raises:
            StorageError: the disk said no.
        """
        with _told(self._path), self._transaction():
            yield

    def put(self, record: Record, manifest: Manifest, manifest_bytes: int) -> None:
        """Enter a release, in place of what was there of it. Inside `changing`."""
        self.remove(record.release)
        version = versions.parse(manifest.version)
        size = sum(file.bytes for file in manifest.files) + manifest_bytes
        self._connection.execute(
            "INSERT INTO releases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record.release,
                record.change,
                record.number,
                manifest.name,
                manifest.version,
                *version,
                record.added,
                record.channel,
                record.promoted,
                record.promotion,
                size,
            ),
        )
        self._connection.executemany(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?)",
            [(record.release, file.name, file.role, file.sha256, file.bytes) for file in manifest.files],
        )
        self._connection.executemany(
            "INSERT OR IGNORE INTO lineage VALUES (?, ?, ?, ?, ?)",
            [(record.release, *edge) for edge in lineage.edges(record, manifest)],
        )

    def put_unreadable(self, digest: str, change: int, reason: str) -> None:
        """Enter a record that can't be told more of. Inside `changing`."""
        self.remove(digest)
        self._connection.execute("INSERT INTO unreadable VALUES (?, ?, ?)", (digest, change, reason))

    def remove(self, digest: str) -> None:
        """Forget a release. Inside `changing`."""
        self._connection.execute("DELETE FROM releases WHERE digest = ?", (digest,))
        self._connection.execute("DELETE FROM unreadable WHERE digest = ?", (digest,))
        self._connection.execute("DELETE FROM files WHERE release = ?", (digest,))
        self._connection.execute("DELETE FROM lineage WHERE release = ?", (digest,))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _told(self._path):
            return self._connection.execute(query, values).fetchall()

    def newest(self) -> dict[str, int]:
        """Digest -> the change that was entered last."""
        return dict(
            self._rows("SELECT digest, change FROM releases UNION ALL SELECT digest, change FROM unreadable")
        )

    def change(self, digest: str) -> int:
        """The change of a release that was entered last; 0 if there is no such release."""
        rows = self._rows(
            "SELECT change FROM releases WHERE digest = ?1 UNION ALL SELECT change FROM unreadable WHERE digest = ?1",
            digest,
        )
        return int(rows[0][0]) if rows else 0

    def unreadable(self) -> dict[str, str]:
        """Digest -> why its record or release.json can't be read."""
        return dict(self._rows("SELECT digest, reason FROM unreadable"))

    def next_number(self) -> int:
        """One more than the highest `number`."""
        ((highest,),) = self._rows("SELECT COALESCE(MAX(number), 0) FROM releases")
        return int(highest) + 1

    def next_promotion(self) -> int:
        """One more than the highest `promotion`."""
        ((highest,),) = self._rows("SELECT COALESCE(MAX(promotion), 0) FROM releases")
        return int(highest) + 1

    def listed(self, name: str = "", channel: str = "") -> list[Listed]:
        """Releases by name, then by version, the newest first.

        Args:
            name: of this name only, if not empty.
            channel: of this channel only, if not empty.
        """
        rows = self._rows(
            "SELECT digest, number, name, version, added, channel, promoted, promotion, bytes FROM releases"
            " WHERE (?1 = '' OR name = ?1) AND (?2 = '' OR channel = ?2)"
            " ORDER BY name, major DESC, minor DESC, patch DESC, number DESC",
            name,
            channel,
        )
        return [Listed(*row) for row in rows]

    def with_prefix(self, prefix: str) -> list[Listed]:
        """Releases whose digest begins so."""
        rows = self._rows(
            "SELECT digest, number, name, version, added, channel, promoted, promotion, bytes FROM releases"
            " WHERE substr(digest, 1, ?) = ?",
            len(prefix),
            prefix,
        )
        return [Listed(*row) for row in rows]

    def below(self, digest: str) -> list[tuple[str, str, str]]:
        """What stands below a node of the lineage, of whichever kind: (release, kind, digest or name)."""
        return [
            (str(release), str(kind), str(below))
            for release, kind, below in self._rows(
                "SELECT release, kind, digest FROM lineage WHERE above = ? ORDER BY kind, digest", digest
            )
        ]

    def edges(self) -> list[tuple[str, str, str, str, str]]:
        """The whole lineage: (release, kind above, digest above, kind, digest or name)."""
        rows = self._rows("SELECT release, above_kind, above, kind, digest FROM lineage")
        return [(str(a), str(b), str(c), str(d), str(e)) for a, b, c, d, e in rows]

    def content(self, without: Collection[str] = ()) -> dict[str, set[tuple[Any, ...]]]:
        """Everything that the index says, table by table, but for the releases `without`."""
        return {
            table: {row for row in self._rows(f"SELECT * FROM {table}") if row[0] not in without}  # noqa: S608
            for table in TABLES
        }

    def integrity(self) -> str:
        """What SQLite's own check of the file says: "ok", or a fault."""
        ((found,),) = self._rows("PRAGMA integrity_check(1)")
        return str(found)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
