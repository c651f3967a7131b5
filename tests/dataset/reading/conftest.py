"""A folder to write files into, and all that reading one of them gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import pytest

from appliance.config import DatasetSection
from appliance.dataset.reading import (
    BadRow,
    Detected,
    Document,
    Material,
    RawRow,
    Transcript,
    detect,
    read_file,
)

Kind = TypeVar("Kind", RawRow, Transcript, Document, BadRow)


class Shelf:
    """Files that a test writes and reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, content: str | bytes | list[Any]) -> Path:
        """A file of text, of bytes, or of values as JSON lines."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, list):
            content = "".join(json.dumps(value) + "\n" for value in content)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def detect(self, path: Path, **dataset: Any) -> Detected:
        return detect(path, path.relative_to(self.folder).as_posix(), DatasetSection(**dataset))

    def read(self, path: Path, **dataset: Any) -> list[Material]:
        name = path.relative_to(self.folder).as_posix()
        return list(read_file(path, name, DatasetSection(**dataset), lambda _: None))

    def all_of(self, kind: type[Kind], path: Path, **dataset: Any) -> list[Kind]:
        """What a file holds, which must be of one kind throughout."""
        things = self.read(path, **dataset)
        assert all(isinstance(thing, kind) for thing in things), things
        return [thing for thing in things if isinstance(thing, kind)]


def said(row: RawRow) -> list[tuple[str, str]]:
    """A row's turns as (role, text)."""
    return [(message["role"], message["content"]) for message in row.messages]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)
