"""Things found, kept under keys in a file of JSON lines, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from appliance import storage

Value = TypeVar("Value")


class KeptLines(Generic[Value]):
    """Lines appended whole; on opening, a line that a kill has cut goes, and with it whatever stands behind.

    A context manager.

    Args:
        path: the file; made if missing.
        parse: (a line's JSON value) -> (key, value); ValueError, KeyError or TypeError where it is none.
        line: (key, value) -> the JSON value of its line.
        mode: permission bits of a file that is made.
        canonical: keys sorted and no spaces, so that equal lines have equal bytes.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[Any], tuple[str, Value]],
        line: Callable[[str, Value], Mapping[str, Any]],
        *,
        mode: int = 0o644,
        canonical: bool = True,
    ) -> None:
        self._path, self._parse, self._line, self._canonical = path, parse, line, canonical
        self._known: dict[str, Value] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode), "r+b")
        whole = self._read()
        self._stream.truncate(whole)
        self._stream.seek(whole)

    def _read(self) -> int:
        """Take every whole line; how many bytes they are."""
        whole = 0
        for line in self._stream:
            try:
                key, value = self._parse(json.loads(line))
            except (ValueError, KeyError, TypeError, RecursionError):
                break
            if not line.endswith(b"\n"):
                break
            self._known[key] = value
            whole += len(line)
        return whole

    def _bytes(self, key: str, value: Value) -> bytes:
        told = dict(self._line(key, value))
        return storage.canonical_json(told) + b"\n" if self._canonical else storage.json_line(told)

    def get(self, key: str) -> Value | None:
        """What was kept under a key; None: nothing was."""
        return self._known.get(key)

    def put(self, key: str, value: Value) -> None:
        """Keep something at once."""
        self._stream.write(self._bytes(key, value))
        self._stream.flush()
        self._known[key] = value

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()
