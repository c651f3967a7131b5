"""What a model has written, kept line by line, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType

from appliance import storage


class WrittenStore:
    """written.jsonl: `{"key", "text", "finish"}` a line, appended whole; a line cut by a kill is dropped on opening.

    Passages may hold personal data, so the file is for its owner's eyes.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[str, tuple[str, str]] = {}
        whole = 0
        if path.exists():
            with path.open("rb") as stream:
                for line in stream:
                    try:
                        entry = json.loads(line)
                        key, value = str(entry["key"]), (str(entry["text"]), str(entry["finish"]))
                    except (ValueError, KeyError, TypeError):
                        break
                    if not line.endswith(b"\n"):
                        break
                    self._known[key] = value
                    whole += len(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
        self._stream.truncate(whole)
        self._stream.seek(whole)

    def get(self, key: str) -> tuple[str, str] | None:
        """(text, finish) that was written under a key; None: nothing was."""
        return self._known.get(key)

    def add(self, key: str, text: str, finish: str) -> None:
        """Keep a text at once."""
        self._stream.write(storage.json_line({"key": key, "text": text, "finish": finish}))
        self._stream.flush()
        self._known[key] = (text, finish)

    def __enter__(self) -> WrittenStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()
