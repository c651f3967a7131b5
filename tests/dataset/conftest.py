"""A small project on disk, and its preparing with a counter of words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.dataset import DatasetCard, prepare
from appliance.events import Event
from appliance.paths import Project


class Bench:
    """A project whose files a test writes; keeps the events of each preparing."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.events: list[Event] = []
        self.configure("")

    def configure(self, dataset: str) -> None:
        (self.root / "anchorhold.toml").write_text(f'[project]\nname = "bench"\n[dataset]\n{dataset}\n')

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.root / "data" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    @property
    def project(self) -> Project:
        return Project.open(self.root)

    def prepare(
        self, strict: bool = False, count: Callable[[str], int] = lambda text: len(text.split())
    ) -> DatasetCard:
        self.events = []
        return prepare(self.project, self.events.append, strict=strict, tokenizer=count)

    @property
    def warnings(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "warning"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
