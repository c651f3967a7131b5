"""Transcripts and documents put aside while files are read, then made into pairs: all of them tell about each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from appliance import storage
from appliance.dataset.lengths import CountTokens
from appliance.dataset.pairs.boilerplate import Boilerplate
from appliance.dataset.pairs.chatter import Topics, exchange_text
from appliance.dataset.pairs.documents import DocumentPairs
from appliance.dataset.pairs.grounding import fault_of
from appliance.dataset.pairs.pair import Pair, Tally, conversation
from appliance.dataset.pairs.passages import group_of, parting_level
from appliance.dataset.pairs.speakers import Speakers, told
from appliance.dataset.pairs.spool import Spool
from appliance.dataset.pairs.transcripts import Conversation, conversations, rows_of
from appliance.dataset.pairs.writing import Writer, WrittenPair, sentences_to_ask, writer_model
from appliance.dataset.reading.material import Block, Document, Transcript
from appliance.events import Emit, Event
from appliance.paths import Project
from appliance.visible import visible

STAGE = "dataset"
CHATTER_FILE = "chatter.jsonl"
_SAMPLE_BLOCKS = 200
_ROW_SHARE = 0.4  # of a row's tokens that a passage may take, so that question and answer have room
_MEND = (
    "name them in [dataset.pairs] assistant, or have a table's columns learnt: [dataset.formats] "
    "`prompt-completion` with prompt_column and answer_column"
)
_AT_ONCE = 32  # passages that a model writes of side by side
_SHOWN = 5
_WRITER_CONTEXT = 1024  # tokens: examples, a sentence with what stands before it, and the answer


class PairMaker:
    """Takes what holds no rows, and makes rows of it when all files have been read.

    Args:
        project: its `[dataset]` says how.
        count: tokens of conversations.
        emit: gets progress, guesses and what was left out.
        folder: for temporary files and chatter.jsonl.
        ask_writer: whether the model that `[dataset.pairs] writer` names is asked.
        redacted: takes personal data out of a text that is shown in chatter.jsonl.
    """

    def __init__(
        self,
        project: Project,
        count: CountTokens,
        emit: Emit,
        folder: Path | None = None,
        *,
        ask_writer: bool = True,
        redacted: Callable[[str], str] = lambda text: text,
    ) -> None:
        self._project = project
        self._section = project.config.dataset.pairs
        self._limit = project.config.dataset.max_tokens
        self._count = count
        self._emit = emit
        self._folder = folder
        self._ask_writer = ask_writer and bool(self._section.writer)
        self._redacted = redacted
        self._documents: Spool[tuple[Document, bool]] = Spool(folder)
        self._transcripts: Spool[tuple[Transcript, bool]] = Spool(folder)
        self._conversations: Spool[tuple[Conversation, bool]] = Spool(folder)
        self._speakers = Speakers(self._section.assistant)
        self._boilerplate = Boilerplate()
        self._sample: list[Block] = []
        self.tally = Tally()
        self.by_file: dict[str, Counter[str]] = {}
        self.unpaired: Counter[str] = Counter()
        self.chatter: Counter[str] = Counter()
        self.held = 0

    def take(self, material: Transcript | Document, test: bool) -> None:
        """Put a transcript or a document aside, and learn what all of them have in common."""
        if isinstance(material, Transcript):
            if "turns" in self._section.kinds:
                self._speakers.see(material)
                self._transcripts.add((material, test))
            else:
                self._leave(material)
        elif set(self._section.kinds) - {"turns"}:
            self._boilerplate.count(material)
            self._sample += material.blocks[: _SAMPLE_BLOCKS - len(self._sample)]
            self._documents.add((material, test))
        else:
            self._leave(material)

    def _leave(self, material: Transcript | Document) -> None:
        if isinstance(material, Transcript):
            self.unpaired["transcripts"] += 1
            self.unpaired["turns"] += len(material.turns)
        else:
            self.unpaired["documents"] += 1
            self.unpaired["blocks"] += len(material.blocks)

    def make(self) -> Iterator[Pair]:
        """Every pair, those of transcripts first; guesses and what went are told on the way.

        Raises:
            ModelError: the model that writes can't be used.
            ServingError: its engine died; run again to go on.
        """
        for pair in itertools.chain(self._from_transcripts(), self._from_documents()):
            counts = self.by_file.setdefault(pair.row.file, Counter())
            counts["held" if pair.held else pair.row.kind] += 1
            self.held += pair.held
            yield pair
        self._tell_boilerplate()

    def close(self) -> None:
        """Free the disk that was put to use; the counts stay."""
        for spool in (self._documents, self._transcripts, self._conversations):
            spool.close()

    def summary(self) -> dict[str, Any]:
        """What was made and what went, for the card; empty where there was nothing to make pairs of."""
        if not (self.tally.made or self.tally.dropped or self._boilerplate.taken or self.chatter):
            return {}
        return {
            "made": dict(sorted(self.tally.made.items())),
            "dropped": dict(sorted(self.tally.dropped.items())),
            "boilerplate": dict(sorted(self._boilerplate.taken.items())),
            "chatter": dict(sorted(self.chatter.items())),
            "writer": self._section.writer if self._ask_writer else "",
        }

    # Transcripts

    def _from_transcripts(self) -> Iterator[Pair]:
        topics = Topics()
        guessed: dict[tuple[str, str], Counter[str]] = {}
        unheard: Counter[str] = Counter()
        for transcript, test in self._transcripts:
            sides = self._speakers.sides(transcript)
            made = 0
            for one in conversations(transcript, sides, self._section, self.tally):
                topics.count(one)
                self._conversations.add((one, test))
                made += 1
            if made and sides.how != "told":
                guessed.setdefault((transcript.file, sides.how), Counter()).update(sides.names)
            if not made:
                self._leave(transcript)
                if sides.how == "nobody":
                    where, said = transcript.line, transcript.turns[0].text
                    self.tally.drop("nobody-to-learn-from", transcript.file, where, said)
                    unheard[transcript.file] += 1
        for file, number in unheard.items():
            what = "1 conversation" if number == 1 else f"{number} conversations"
            text = f"{what} of which nothing says who speaks for the assistant's side: no pairs; {_MEND}"
            self._emit(Event(STAGE, "warning", f"{visible(file, 0)}: {text}"))
        for (file, how), names in guessed.items():
            text = told(how, [visible(name, 40) for name, _ in names.most_common(_SHOWN)])  # type: ignore[arg-type]
            self._emit(Event(STAGE, "warning", f"{visible(file, 0)}: {text}"))
        yield from self._rows_of_conversations(topics)

    def _rows_of_conversations(self, topics: Topics) -> Iterator[Pair]:
        mode, found = self._section.chatter, self._conversations
        path = self._folder / CHATTER_FILE if self._folder is not None else None
        if mode == "keep" or not len(found):
            if path is not None:
                path.unlink(missing_ok=True)
            for one, test in found:
                yield from self._rows(one, test)
            return
        for one, _ in found:
            topics.learn(one)
        median = topics.median()
        lines: list[dict[str, Any]] = []
        for one, test in found:
            off = [judged for judged in topics.judge(one, median) if judged.reason]
            for judged in off:
                text = exchange_text(one.messages, judged.place)
                self.chatter["dropped" if mode == "drop" else "shown"] += 1
                lines.append(
                    {
                        "file": one.file,
                        "line": one.lines[judged.place],
                        "score": round(judged.score, 3),
                        "reason": judged.reason,
                        "dropped": mode == "drop",
                        "text": self._redacted(text[:500]),
                    }
                )
            gone = (
                {place for judged in off for place in (judged.place, judged.place + 1)}
                if mode == "drop"
                else set()
            )
            kept = [place for place in range(len(one.messages)) if place not in gone]
            if kept:
                left = Conversation(
                    one.file,
                    one.group,
                    tuple(one.messages[place] for place in kept),
                    tuple(one.lines[place] for place in kept),
                )
                yield from self._rows(left, test)
        if path is not None:
            with storage.atomic_writer(path) as stream:
                stream.writelines(
                    storage.json_line(line) for line in sorted(lines, key=lambda each: each["score"])
                )

    def _rows(self, one: Conversation, test: bool) -> Iterator[Pair]:
        for messages, line in rows_of(one, self._section.window, self._limit, self._count):
            self.tally.made["turns"] += 1
            yield Pair(conversation(one.file, line, one.group, messages), test)

    # Documents

    def _characters(self) -> int:
        """About the most characters of a passage, by how many tokens a sample of this collection's text has."""
        tokens = min(self._section.passage_tokens, int(_ROW_SHARE * self._limit))
        texts = [block.text for block in self._sample if block.text.strip()]
        if not texts:
            return 4 * tokens
        empty, *counts = self._count([[{"role": "user", "content": text}] for text in ["", *texts]])
        return max(100, int(tokens * sum(map(len, texts)) / max(1, sum(counts) - empty * len(texts))))

    def _from_documents(self) -> Iterator[Pair]:
        if not len(self._documents):
            return
        maker = DocumentPairs(self._section, self._project.config.dataset.duplicates.threshold, self.tally)
        characters = self._characters()
        total, to_write = len(self._documents), 0
        for number, (document, test) in enumerate(self._documents, start=1):
            bare = self._boilerplate.strip(document)
            stripped = bare if self._section.boilerplate == "drop" else document
            made = 0
            if stripped.blocks:
                found = maker.passages_of(stripped, characters)
                if self._ask_writer:
                    to_write += sum(len(sentences_to_ask(one, self._section.writer_pairs)) for one in found)
                for pair in maker.make(stripped, found, total, test):
                    made += 1
                    yield pair
            if not made:
                self._leave(document)
            if number % max(1, total // 100) == 0:
                self._emit(
                    Event(STAGE, "progress", "making pairs", done=number, total=total, unit="documents")
                )
        if self._ask_writer:
            yield from self._written(maker, characters, to_write)

    def _written(self, maker: DocumentPairs, characters: int, total: int) -> Iterator[Pair]:
        """What a model writes of the passages, checked against them."""
        model, folder = writer_model(self._project), self._project.written_pairs
        count = self._section.writer_pairs
        context = _WRITER_CONTEXT
        self._emit(Event(STAGE, "message", f"{visible(model.name, 0)} writes {total} questions"))
        done = 0

        def tell(more: int) -> None:
            nonlocal done
            done += more
            self._emit(Event(STAGE, "progress", "writing pairs", done=done, total=total, unit="questions"))

        with Writer(model, folder / "written.jsonl", context, folder / "engine.log") as writer:
            for document, test in self._documents:
                stripped = (
                    self._boilerplate.strip(document) if self._section.boilerplate == "drop" else document
                )
                if not stripped.blocks:
                    continue
                found = maker.passages_of(stripped, characters, quiet=True)
                level = parting_level(found)
                for begin in range(0, len(found), _AT_ONCE):
                    batch = found[begin : begin + _AT_ONCE]
                    for one in writer.write(batch, count, tell):
                        group = group_of(stripped, one.passage, len(self._documents), level)
                        yield from self._checked(maker, one, group, test)

    def _checked(self, maker: DocumentPairs, one: WrittenPair, group: str, test: bool) -> Iterator[Pair]:
        """A written pair, if its passage bears it out."""
        text = one.passage.text
        fault = fault_of(one.question, one.answer, text, self._section.grounding) if one.ended else "cut-off"
        if fault:
            where = one.passage
            self.tally.drop(f"written-{fault}", where.file, where.line, f"{one.question} → {one.answer}")
            return
        yield from maker.of_written(one.passage, group, one.question, one.answer, test)

    def _tell_boilerplate(self) -> None:
        if not self._boilerplate.taken:
            return
        what = "left out" if self._section.boilerplate == "drop" else "found and kept"
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._boilerplate.taken.items()))
        self._emit(Event(STAGE, "message", f"boilerplate {what}: {counts}"))
        for text, file, line in list(self._boilerplate.shown.values())[:_SHOWN]:
            where = f"{visible(file, 0)}:{line}" if line else visible(file, 0)
            self._emit(Event(STAGE, "message", f"boilerplate, first at {where}: {visible(text, 120)}"))
