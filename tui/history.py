"""Conversations in SQLite, searched with FTS5 (docs/handbook.md, "history")."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tui.clean_text import one_line

VERSION = 1
_SCHEMA = """
CREATE TABLE conversations (
    id INTEGER PRIMARY KEY, title TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL
);
CREATE TABLE turns (
    id INTEGER PRIMARY KEY,
    conversation INTEGER NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
    role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
    text TEXT NOT NULL, release TEXT NOT NULL, created REAL NOT NULL
);
CREATE INDEX turns_of ON turns(conversation, id);
CREATE VIRTUAL TABLE words USING fts5(text, content='turns', content_rowid='id', tokenize='unicode61');
CREATE TRIGGER turn_added AFTER INSERT ON turns BEGIN
    INSERT INTO words(rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER turn_gone AFTER DELETE ON turns BEGIN
    INSERT INTO words(words, rowid, text) VALUES ('delete', old.id, old.text);
END;
"""


@dataclass(frozen=True)
class Turn:
    """One message; `role` is "user" or "assistant", `release` is what answered ("" for a user's)."""

    role: str
    text: str
    release: str = ""


@dataclass(frozen=True)
class Conversation:
    """A line of the history list; `updated` is in seconds since the epoch."""

    number: int
    title: str
    updated: float


class History:
    """The store; used from the screen's thread alone.

    Args:
        path: the database, made with mode 0600 if missing; None keeps everything in memory.

    Attributes:
        problem: why nothing is kept on disk, or "".
    """

    def __init__(self, path: Path | None) -> None:
        self.problem = ""
        try:
            self._database = self._open(path)
        except (OSError, sqlite3.Error) as error:
            self.problem = f"history is not kept: {path}: {error}"
            self._database = self._open(None)

    @staticmethod
    def _open(path: Path | None) -> sqlite3.Connection:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        database = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=2.0)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            found = database.execute("PRAGMA user_version").fetchone()[0]
            if found > VERSION:
                raise sqlite3.DatabaseError(f"written by a newer program (version {found})")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            if found == 0:
                database.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
            # A database that can be read but not written shows here, not at the first answer.
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
        except sqlite3.Error:
            database.close()
            raise
        return database

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield self._database
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def begin(self, question: str) -> int:
        """A new conversation, titled by its first question; returns its number."""
        now = time.time()
        with self._change() as database:
            row = database.execute(
                "INSERT INTO conversations(title, created, updated) VALUES (?, ?, ?)",
                (one_line(question), now, now),
            )
        assert row.lastrowid is not None
        return row.lastrowid

    def add(self, conversation: int, turn: Turn) -> None:
        """Append a turn."""
        now = time.time()
        with self._change() as database:
            database.execute(
                "INSERT INTO turns(conversation, role, text, release, created) VALUES (?, ?, ?, ?, ?)",
                (conversation, turn.role, turn.text, turn.release, now),
            )
            database.execute("UPDATE conversations SET updated = ? WHERE id = ?", (now, conversation))

    def drop_answer(self, conversation: int) -> None:
        """Forget the last turn if it is an answer, so that it can be given anew."""
        with self._change() as database:
            database.execute(
                "DELETE FROM turns WHERE role = 'assistant' AND id = "
                "(SELECT max(id) FROM turns WHERE conversation = ?)",
                (conversation,),
            )

    def turns(self, conversation: int) -> list[Turn]:
        """All turns, oldest first."""
        rows = self._database.execute(
            "SELECT role, text, release FROM turns WHERE conversation = ? ORDER BY id", (conversation,)
        )
        return [Turn(*row) for row in rows]

    def delete(self, conversation: int) -> None:
        """Forget a conversation."""
        with self._change() as database:
            # By hand, so that the trigger keeps the word index true.
            database.execute("DELETE FROM turns WHERE conversation = ?", (conversation,))
            database.execute("DELETE FROM conversations WHERE id = ?", (conversation,))

    def list(self, words: str = "", limit: int = 200) -> list[Conversation]:
        """Conversations with all of `words`, or words that begin so, in one turn; best first.

        Without words: all conversations, newest first.
        """
        asked = " ".join(f'"{word}"*' for word in words.replace('"', " ").split())
        if not asked:
            rows = self._database.execute(
                "SELECT id, title, updated FROM conversations ORDER BY updated DESC, id DESC LIMIT ?",
                (limit,),
            )
        else:
            rows = self._database.execute(
                "SELECT c.id, c.title, c.updated FROM "
                "(SELECT t.conversation AS number, min(w.rank) AS best FROM "
                " (SELECT rowid, rank FROM words WHERE words MATCH ?) w JOIN turns t ON t.id = w.rowid "
                " GROUP BY t.conversation) f "
                "JOIN conversations c ON c.id = f.number ORDER BY f.best, c.updated DESC LIMIT ?",
                (asked, limit),
            )
        return [Conversation(*row) for row in rows]

    def close(self) -> None:
        """Close the database."""
        self._database.close()
