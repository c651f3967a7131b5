"""Made-up input of any size out of open data, for measuring how large a dataset can be prepared and how fast.

`python -m benchmarks.scale_data FOLDER --megabytes N` writes chat JSON lines (five tenths), a CSV table (four tenths)
and Markdown documents (one tenth) into FOLDER; with `--documents` documents alone, which differ more: a tenth of the
words of each paragraph are others. A row is a question of one open set with some of its words changed, and
an answer of one to four sentences drawn from all the answers; one row in fifty comes again as it is, one in fifty with
one word changed. The same arguments give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.open_data import SHARED

SETS = ("bitext_support", "tldr_commands", "medquad", "snips_json", "coffee_order_json")
_DOCUMENTS = ("docs_18f_handbook", "docs_survival_manual", "docs_nasa_fprime")
_DOCUMENT_BYTES = 20_000
_CHANGED_IN_DOCUMENTS = 0.1  # share of a paragraph's words, where documents are all there is
_PLAIN_WORD = re.compile(r"\b[a-z]{3,}\b")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
JSONL, TABLE, DOCUMENTS = "chats.jsonl", "table.csv", "documents"


class Source:
    """Questions, sentences, words and paragraphs of the open sets.

    Args:
        data: where the sets lie.
        seed: decides everything drawn.
        words: about how many words an answer has at least; 0 for answers of one to four sentences.
    """

    def __init__(self, data: Path, seed: int = 1, words: int = 0) -> None:
        self._chance = random.Random(seed)
        self._words = words
        pairs = [
            [str(turn["content"]) for turn in json.loads(line)["messages"][-2:]]
            for name in SETS
            for line in (data / f"{name}.train.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        self._questions = sorted({question[-400:] for question, _ in pairs})
        sentences = {part.strip() for _, answer in pairs for part in _SENTENCE.split(answer)}
        self._sentences = sorted(part for part in sentences if 4 <= len(part) <= 300)
        self._vocabulary = sorted(
            {word for text in self._questions + self._sentences for word in text.split()}
        )
        self._plain = [word for word in self._vocabulary if _PLAIN_WORD.fullmatch(word)]
        pages = [path for name in _DOCUMENTS for path in sorted((data / name).glob("**/*.md"))]
        self._paragraphs = sorted(
            {
                part
                for page in pages
                for part in page.read_text(encoding="utf-8").split("\n\n")
                if part.strip()
            }
        )

    def _changed(self, text: str, share: float) -> str:
        words = text.split()
        for _ in range(max(1, int(share * len(words)))):
            words[self._chance.randrange(len(words))] = self._chance.choice(self._vocabulary)
        return " ".join(words)

    def rows(self) -> Iterator[tuple[str, str]]:
        """Questions and answers, without end."""
        chance = self._chance
        before = ("What is this?", "Nothing.")
        while True:
            draw = chance.random()
            if draw < 0.02:
                yield before
                continue
            if draw < 0.04:
                yield self._changed(before[0], 0), before[1]
                continue
            question = self._changed(chance.choice(self._questions), 0.3)
            question += f" {chance.choice(self._vocabulary)} {chance.randrange(10**6)}"
            if self._words:
                answer = " ".join(chance.choices(self._vocabulary, k=self._words))
            else:
                count = chance.choice((1, 1, 2, 2, 3, 4))
                answer = " ".join(self._changed(chance.choice(self._sentences), 0.2) for _ in range(count))
            before = (question, answer)
            yield before

    def _reworded(self, text: str, share: float) -> str:
        """The same with a share of its plain words drawn from the others; white space and marks stay."""

        def other(match: re.Match[str]) -> str:
            return self._chance.choice(self._plain) if self._chance.random() < share else match[0]

        return _PLAIN_WORD.sub(other, text)

    def documents(self, changed: float = 0.0) -> Iterator[str]:
        """Markdown documents, without end; a share of the words of each paragraph changed."""
        while True:
            parts = [f"# {self._changed('The handbook of the north station', 0.5)}"]
            size = 0
            while size < _DOCUMENT_BYTES:
                paragraph = self._chance.choice(self._paragraphs)
                parts.append(self._reworded(paragraph, changed) if changed else paragraph)
                size += len(parts[-1])
            yield "\n\n".join(parts) + "\n"


def write(folder: Path, size: int, data: Path = SHARED, words: int = 0) -> int:
    """Write about `size` bytes of input into `folder`; what is there already and complete stays.

    Args:
        folder: made if missing; named after nothing, so give each size its own.
        size: bytes in all.
        data: where the open sets lie.
        words: of each answer, for short rows; 0: sentences.

    Returns:
        rows written (documents apart).
    """
    done = folder / "complete.txt"
    if done.exists():
        return int(done.read_text())
    source = Source(data, words=words)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DOCUMENTS).mkdir(exist_ok=True)
    count = 0
    rows = source.rows()
    with (folder / JSONL).open("w", encoding="utf-8") as stream:
        while stream.tell() < size // 2 if count % 1000 == 0 else True:
            question, answer = next(rows)
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": turns}, ensure_ascii=False) + "\n")
            count += 1
    with (folder / TABLE).open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("question", "answer"))
        first = count
        while stream.tell() < size * 4 // 10 if (count - first) % 1000 == 0 else True:
            table.writerow(next(rows))
            count += 1
    written = 0
    for number, text in enumerate(source.documents()):
        if written >= size // 10:
            break
        written += (folder / DOCUMENTS / f"page-{number:06}.md").write_text(text, encoding="utf-8")
    done.write_text(str(count))
    return count


def write_documents(folder: Path, size: int, data: Path = SHARED) -> int:
    """Write about `size` bytes of Markdown documents, none of them like another, into `folder`; see `write`.

    Returns:
        bytes written.
    """
    done = folder / "complete.txt"
    if done.exists():
        return int(done.read_text())
    (folder / DOCUMENTS).mkdir(parents=True, exist_ok=True)
    written = 0
    for number, text in enumerate(Source(data).documents(_CHANGED_IN_DOCUMENTS)):
        if written >= size:
            break
        path = folder / DOCUMENTS / f"page-{number:06}.md"
        path.write_text(text, encoding="utf-8")
        written += path.stat().st_size
    done.write_text(str(written))
    return written


def main() -> None:
    """Write the input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--data", type=Path, default=SHARED, help="folder of open data")
    parser.add_argument("--words", type=int, default=0, help="of each answer; 0: sentences")
    parser.add_argument("--documents", action="store_true", help="documents alone")
    options = parser.parse_args()
    if options.documents:
        print(write_documents(options.folder, options.megabytes * 1_000_000, options.data), "bytes")
        return
    print(write(options.folder, options.megabytes * 1_000_000, options.data, options.words), "rows")


if __name__ == "__main__":
    main()
