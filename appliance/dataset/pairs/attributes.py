"""Questions from what a document says in the form `Key: value`, and from its tables. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from appliance.dataset.pairs.facts import MOST_ANSWER, Fact
from appliance.dataset.pairs.passages import Passage
from appliance.dataset.pairs.sentences import word_set
from appliance.dataset.pairs.topics import document_title, heading_of, lowered, place_of

_KEYED = re.compile(r"^(?P<key>[A-Z][a-zA-Z]+(?: [a-zA-Z]+){0,3}):\s+(?P<value>\S.{2,})$", re.DOTALL)
_NO_KEY = word_set(
    """note notes caution warning danger important example examples tip hint figure table see source remark
    answer question"""
)
_LEAST_RECURRING = 3  # a key that stands under so many headings is an attribute of what they name
_VAGUE_COLUMNS = word_set(
    """item value values no number key name names example notes note # link links url"""
)
_PLURAL = re.compile(r"(?:[^s]s|remarks|ies)$")


def recurring_keys(found: Sequence[Passage]) -> set[str]:
    """The keys of `Key: value` paragraphs that stand under several headings of a document."""
    under: set[tuple[str, tuple[str, ...]]] = set()
    for passage in found:
        for block in passage.blocks:
            if block.kind == "paragraph" and (match := _KEYED.match(block.text)):
                under.add((match["key"].casefold(), passage.headings))
    counts = Counter(key for key, _ in under)
    return {key for key, count in counts.items() if count >= _LEAST_RECURRING and key not in _NO_KEY}


def keyed_facts(passage: Passage, keys: set[str]) -> Iterator[Fact]:
    """`What is the habitat of the scorpion?` from `Habitat: …` under the heading `Scorpion`."""
    heading, title = heading_of(passage), document_title(passage)
    if not heading or len(heading.split()) > 6 or heading.endswith("?"):
        return
    for block in passage.blocks:
        match = _KEYED.match(block.text) if block.kind == "paragraph" else None
        if match is None or match["key"].casefold() not in keys or len(match["value"]) > MOST_ANSWER:
            continue
        key, verb = (
            match["key"][0].lower() + match["key"][1:],
            "are" if _PLURAL.search(match["key"].casefold()) else "is",
        )
        name = lowered(heading)
        yield Fact(
            (
                f"What {verb} the {key} of {name} ({title})?",
                f"{title}: {name}, {key}?",
                f'Which {key} does "{title}" give for {name}?',
                f"Tell me the {key} of {name}, as {title} gives it.",
            ),
            match["value"].strip(),
            block.line or block.page,
            "attribute",
        )


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(" | ")]


def table_facts(passage: Passage) -> Iterator[Fact]:
    """A question a row of each table of two or three columns with a header: what the row says of its first cell."""
    title, place = document_title(passage), place_of(passage)
    for block in passage.blocks:
        if block.kind != "table":
            continue
        lines = [line for line in block.text.split("\n") if line.strip()]
        if len(lines) < 3:
            continue
        header = _cells(lines[0])
        if not 2 <= len(header) <= 4 or not all(header) or any(len(cell) > 40 for cell in header):
            continue
        rows = [_cells(line) for line in lines[1:]]
        if any(len(row) != len(header) for row in rows) or len({row[0] for row in rows}) < len(rows):
            continue
        where = f'"{place}" in "{title}"' if place else f'"{title}"'
        for number, row in enumerate(rows, start=1):
            first = row[0].strip("*` ")
            if not first or len(first) > 60 or first.isdigit():
                continue
            for column, value in zip(header[1:], row[1:], strict=True):
                if len(value) < 2 or value.casefold() == first.casefold():
                    continue
                asked = column.strip("*` ").casefold()
                if not asked or asked.endswith("?"):
                    continue
                what = (
                    f'"{column}"'
                    if asked in _VAGUE_COLUMNS or len(asked.split()) > 3
                    else asked
                    if column.istitle() or column.islower()
                    else column
                )
                yield Fact(
                    (
                        f'In the table under {where}, what stands under {what} for "{first}"?',
                        f'{title}, "{first}": {what}?',
                        f'What does the table under {where} give as {what} of "{first}"?',
                    ),
                    value,
                    block.line and block.line + number,
                    "table",
                )
