"""What `anchorhold dataset pairs` shows: what would be made of each source, with samples, and nothing is written."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.dataset.lengths import counter_for
from appliance.dataset.pairs.making import PairMaker
from appliance.dataset.pairs.pair import Tally
from appliance.dataset.preparing import source_files
from appliance.dataset.reading import Document, Transcript, detect, read_detected
from appliance.events import Emit
from appliance.paths import Project
from appliance.visible import visible, visible_cell

SAMPLES = 3


@dataclass
class SourcePreview:
    """One file's pairs.

    Attributes:
        name: relative to the project.
        made: by kind; `held` are wordings kept out of training.
        samples: the first of the kinds that there are, one a kind before a second: (line, kind, messages).
    """

    name: str
    made: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, str, list[dict[str, Any]]]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        samples = [
            {"line": line, "kind": kind, "messages": messages} for line, kind, messages in self.samples
        ]
        return {"file": self.name, "pairs": dict(sorted(self.made.items())), "samples": samples}

    def lines(self) -> list[str]:
        """For a terminal: nothing in it is obeyed there."""
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self.made.items())) or "no pairs"
        told = [f"{visible(self.name, 0)}: {counts}"]
        for line, kind, messages in self.samples:
            told.append(f"  {kind}, line {line}")
            for message in messages[:6]:
                told.append(f"    {message['role']:<10} {visible_cell(str(message['content']), 160)}")
            if len(messages) > 6:
                told.append(f"    … {len(messages) - 6} more turns")
        return told


@dataclass
class Preview:
    """All sources' pairs, and what was left out.

    Attributes:
        sources: those that hold transcripts or documents.
        tally: counts over all of them.
        summary: as the dataset card would have it.
    """

    sources: list[SourcePreview]
    tally: Tally
    summary: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As a JSON value."""
        shown = {
            reason: [{"file": file, "line": line, "text": text} for file, line, text in examples]
            for reason, examples in sorted(self.tally.shown.items())
        }
        return {"sources": [each.to_json() for each in self.sources], **self.summary, "examples": shown}

    def lines(self) -> list[str]:
        """For a terminal."""
        told = [line for source in self.sources for line in source.lines()]
        for reason, count in sorted(self.tally.dropped.items()):
            told.append(f"no pair, {reason}: {count}")
            for file, line, text in self.tally.shown.get(reason, [])[:2]:
                told.append(f"    {visible(file, 0)}:{line}: {visible_cell(text, 120)}")
        for key, what in (("boilerplate", "boilerplate"), ("chatter", "off the topics")):
            told += [f"{what}, {kind}: {count}" for kind, count in self.summary.get(key, {}).items()]
        return told or ["no transcripts or documents among the sources: nothing to make pairs of"]


def preview(
    project: Project,
    emit: Emit,
    *,
    tokenizer: Callable[[str], int] | None = None,
    checkpoint: Path | None = None,
) -> Preview:
    """Make the pairs of all sources and keep the counts and a few of them; the model that writes isn't asked.

    Args:
        project: its `[dataset]` says what to read.
        emit: gets progress and guesses.
        tokenizer, checkpoint: as for `prepare`.

    Raises:
        DataError: no source, or a table without the columns that the configuration names.
        ModelError: the base has no tokenizer or chat template.
    """
    count, _ = counter_for(project, emit, tokenizer, checkpoint)
    with contextlib.closing(PairMaker(project, count, emit, ask_writer=False)) as maker:
        return _preview(project, maker)


def _preview(project: Project, maker: PairMaker) -> Preview:
    sources: dict[str, SourcePreview] = {}
    section = project.config.dataset
    for path, name, test in source_files(project):
        for material in read_detected(path, name, section, detect(path, name, section), lambda _: None):
            if isinstance(material, (Transcript, Document)):
                sources.setdefault(name, SourcePreview(name))
                maker.take(material, test)
    for pair in maker.make():
        source = sources[pair.row.file]
        source.made["held" if pair.held else pair.row.kind] += 1
        if not pair.held:
            _sample(source, pair.row.line, pair.row.kind, pair.row.messages)
    return Preview(list(sources.values()), maker.tally, maker.summary())


def _sample(source: SourcePreview, line: int, kind: str, messages: list[dict[str, Any]]) -> None:
    """Keep a pair as a sample: of the kinds that come, the first of each, while there is room or a kind twice."""
    kinds = [each[1] for each in source.samples]
    if len(kinds) < SAMPLES:
        source.samples.append((line, kind, messages))
    elif (
        kind not in kinds
        and (twice := next((kinds.index(each) for each in kinds if kinds.count(each) > 1), None)) is not None
    ):
        source.samples[twice] = (line, kind, messages)
