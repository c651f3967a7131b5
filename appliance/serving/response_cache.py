"""Answers to deterministic requests, kept so that the same question costs nothing the second time."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from appliance import storage
from appliance.errors import StorageError
from appliance.serving.sampling import Completion, Sampling

DEFAULT_LIMIT = 64 * 1024 * 1024  # bytes of answers


def key(release: str, tokens: Sequence[int], sampling: Sampling, build: str) -> str:
    """The name of an answer: everything that it depends on.

    Args:
        release: digest of the release (or of the file, where there is no release).
        tokens: the prompt.
        sampling: how it is answered.
        build: the engine's `EngineInfo.build`.
    """
    choice = replace(sampling, confidence=False).to_json()  # measuring it changes no answer
    if sampling.temperature <= 0:  # then these don't matter
        choice = {**choice, "temperature": 0, "top_k": 0, "top_p": 0, "min_p": 0, "seed": None}
    return storage.sha256_json([release, list(tokens), choice, build])


class ResponseCache:
    """An SQLite file of answers; the least recently used go when it grows over its limit. Thread-safe.

    Args:
        path: the file; made if missing, made anew if damaged.
        limit: bytes of answers to keep.
    """

    def __init__(self, path: Path, limit: int = DEFAULT_LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._open()
        except sqlite3.OperationalError:
            # In use, full or read-only, but not damaged: leave the file alone and remember for this run only.
            self._connection = self._open(":memory:")
        except sqlite3.DatabaseError:
            # Only a cache: what can't be read is made again.
            for leftover in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
                leftover.unlink(missing_ok=True)
            self._connection = self._open()

    def _open(self, where: str = "") -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(where or self._path, check_same_thread=False, isolation_level=None)
        except sqlite3.OperationalError as error:
            raise StorageError(f"{self._path}: {error}", "check who owns the folder") from error
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers"
            " (key TEXT PRIMARY KEY, value TEXT NOT NULL, bytes INTEGER NOT NULL, used REAL NOT NULL)"
            " WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS answers_by_use ON answers (used)")
        return connection

    def get(self, name: str) -> Completion | None:
        """The answer called `name`, or None."""
        with self._lock:
            try:
                row = self._connection.execute("SELECT value FROM answers WHERE key = ?", (name,)).fetchone()
            except sqlite3.Error:  # a cache that fails is a cache that doesn't know
                row = None
            if row is None:
                self.misses += 1
                return None
            self.hits += 1
            with contextlib.suppress(sqlite3.OperationalError):  # a full disk: then the order of use is older
                self._connection.execute("UPDATE answers SET used = ? WHERE key = ?", (time.time(), name))
        return Completion(**json.loads(row[0]))

    def put(self, name: str, answer: Completion) -> None:
        """Keep an answer."""
        value = json.dumps(asdict(answer), ensure_ascii=False)
        size = len(value.encode()) + len(name)
        if size > self._limit:
            return
        # Not kept when the disk is full or another process writes: the next time it is computed again.
        with self._lock, contextlib.suppress(sqlite3.OperationalError):
            self._connection.execute(
                "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", (name, value, size, time.time())
            )
            self._shrink()

    def _shrink(self) -> None:
        (total,) = self._connection.execute("SELECT COALESCE(SUM(bytes), 0) FROM answers").fetchone()
        while total > self._limit:
            rows = self._connection.execute(
                "SELECT key, bytes FROM answers ORDER BY used LIMIT 16"
            ).fetchall()
            for name, size in rows:
                if total <= self._limit:
                    break
                self._connection.execute("DELETE FROM answers WHERE key = ?", (name,))
                total -= size

    def stats(self) -> dict[str, int]:
        """Hits and misses of this process; entries and bytes in the file."""
        with self._lock:
            entries, size = self._connection.execute(
                "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM answers"
            ).fetchone()
        return {"hits": self.hits, "misses": self.misses, "entries": entries, "bytes": size}

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
