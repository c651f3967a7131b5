"""Pairs of a text, without a project around it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.config import DatasetSection, PairsSection
from appliance.dataset.pairs.documents import DocumentPairs
from appliance.dataset.pairs.pair import Pair, Tally
from appliance.dataset.reading import Document, read_file
from appliance.dataset.reading.material import Turn
from tests.dataset.conftest import Bench

Asked = dict[str, str]


def questions(pairs: Sequence[Pair], kind: str = "qa") -> Asked:
    """Prompt -> answer of the pairs of a kind that aren't held back."""
    return {
        pair.row.messages[0]["content"]: pair.row.messages[-1]["content"]
        for pair in pairs
        if pair.row.kind == kind and not pair.held
    }


def turns(*said: tuple[str, str]) -> tuple[Turn, ...]:
    """Turns, one a line, of (speaker, text)."""
    return tuple(Turn(speaker, text, number) for number, (speaker, text) in enumerate(said, start=1))


class Maker:
    """Documents written to disk, read, and made into pairs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tally = Tally()

    def read(self, text: str, name: str = "manual.md") -> Document:
        path = self.folder / name
        path.write_text(text)
        found = [
            one
            for one in read_file(path, name, DatasetSection(), lambda _: None)
            if isinstance(one, Document)
        ]
        assert len(found) == 1
        return found[0]

    def pairs(
        self, text: str, name: str = "manual.md", characters: int = 1200, **settings: object
    ) -> list[Pair]:
        maker = DocumentPairs(PairsSection.model_validate(settings), 0.85, self.tally)
        document = self.read(text, name)
        return list(maker.make(document, maker.passages_of(document, characters), 1, False))


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
