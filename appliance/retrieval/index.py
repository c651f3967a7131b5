"""An index of passages: one SQLite file with FTS5, ranked by BM25 (Robertson et al. 1994), words stemmed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance import storage
from appliance.errors import DataError, StorageError

FORMAT = "anchorhold-passages/1"
_APPLICATION = 0x414E4850  # "ANHP", in the file's header
_MOST_TERMS = 64  # of a question; each costs a look
_TITLE_WEIGHT = 2.0
_WORD = re.compile(r"\w+")
# What stands in most questions and tells no passage from another.
_COMMON = frozenset(
    (  # noqa: SIM905 - a text is read more easily than two hundred quotes
        "a about after all also am an and any are as at be because been before being between both but by can could "
        "did do does doing down during each few for from further had has have having he her here hers him his how i "
        "if in into is it its itself just let may me might more most must my no nor not now of off on once only or "
        "other our out over own same shall she should so some such tell than that the their them then there these "
        "they this those through to too under until up very was we were what when where which while who whom whose "
        "why will with would you your"
    ).split()
)


@dataclass(frozen=True)
class Passage:
    """A piece of a document: where it stands, under which headings, and its text."""

    source: str
    title: str
    text: str


@dataclass(frozen=True)
class Found:
    """A passage that a question led to; `score` is BM25's, larger is nearer."""

    passage: Passage
    score: float


def terms_of(question: str) -> list[str]:
    """The words of a question that tell passages apart, each once; all of them where it has no other."""
    words = list(dict.fromkeys(_WORD.findall(question.casefold())))
    telling = [word for word in words if word not in _COMMON and (len(word) > 1 or word.isdigit())]
    return (telling or words)[:_MOST_TERMS]


def _fill(path: Path, passages: Iterable[Passage]) -> int:
    """Write passages into a new database; on disk, since documents may be larger than memory."""
    count = 0
    seen: set[bytes] = set()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        # A file that takes its place only when it is whole needs no journal.
        made.executescript(
            f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA application_id = {_APPLICATION};"
        )
        made.execute("BEGIN")
        made.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(title, text, source UNINDEXED, "
            "tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        for each in passages:
            digest = hashlib.sha256(f"{each.title}\0{each.text}".encode("utf-8", "surrogatepass")).digest()[
                :16
            ]
            if digest in seen or not each.text.strip():
                continue
            seen.add(digest)
            made.execute("INSERT INTO passages VALUES (?, ?, ?)", (each.title, each.text, each.source))
            count += 1
        made.execute("INSERT INTO passages(passages) VALUES ('optimize')")
        made.execute("COMMIT")
    return count


class PassageIndex:
    """An index on disk, open for reading; a context manager. Safe to use from one thread.

    Raises:
        DataError: not there, or no index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        hint = "build it again"
        if not path.is_file():
            raise DataError(f"{path}: no such file", hint)
        try:
            self._connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
            self._connection.execute("PRAGMA trusted_schema = OFF")
            (application,) = self._connection.execute("PRAGMA application_id").fetchone()
            if application != _APPLICATION:
                raise DataError(f"{path}: no index of passages", hint)
            (self.count,) = self._connection.execute("SELECT count(*) FROM passages").fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: a damaged index ({error})", hint) from error

    @staticmethod
    def build(path: Path, passages: Iterable[Passage]) -> int:
        """Write an index of these passages, whole or not at all; equal passages stand once.

        Returns:
            how many there are.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(fd)
        temporary = Path(name)
        try:
            count = _fill(temporary, passages)
            with temporary.open("rb") as stream:
                os.fchmod(stream.fileno(), 0o644)
                os.fsync(stream.fileno())
            temporary.replace(path)
            storage.fsync_folder(path.parent)
        except sqlite3.DatabaseError as error:
            raise StorageError(
                f"{path}: the index can't be written ({error})", "make room, and run it again"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)
        return count

    def search(self, question: str, most: int) -> list[Found]:
        """The passages that answer a question best, the nearest first.

        Args:
            question: in any words; nothing in it is taken for query syntax.
            most: how many at most.

        Raises:
            DataError: the file turns out to be damaged.
        """
        terms = terms_of(question)
        if not terms or most < 1:
            return []
        query = " OR ".join(f'"{term}"' for term in terms)
        try:
            rows = self._connection.execute(
                "SELECT source, title, text, bm25(passages, ?, 1.0) AS far FROM passages "
                "WHERE passages MATCH ? ORDER BY far, rowid LIMIT ?",
                (_TITLE_WEIGHT, query, most),
            ).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise DataError(f"{self.path}: a damaged index ({error})", "build it again") from error
        return [Found(Passage(source, title, text), -far) for source, title, text, far in rows]

    def __enter__(self) -> PassageIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
