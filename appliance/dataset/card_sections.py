"""What the dataset card says, as titled tables that the page and the terminal UI both draw. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.dataset.card import DatasetCard
from appliance.dataset.card_examples import Examples
from appliance.dataset.changes import CUTS
from appliance.dataset.licences import NOT_STATED
from appliance.visible import visible

SHOWN_LABELS = 60


class Code(str):
    """A cell that is a digest, an id or a place in a file: drawn in a fixed width where there is another."""


Cell = str | int


@dataclass(frozen=True)
class Section:
    """One part of the card.

    Attributes:
        title: its heading.
        text: a sentence or two below it; may be empty.
        heads: the table's column titles; empty: no table.
        rows: the table's cells, a number as an `int`, text as it came: whoever draws it makes it visible.
    """

    title: str
    text: str = ""
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()


def share(part: float, whole: float) -> str:
    """A share in percent."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _splits(card: DatasetCard) -> Section:
    total = sum(card.rows.values())
    rows = []
    for split, count in card.rows.items():
        lengths = card.tokens[split]
        rows.append(
            (
                split,
                count,
                share(count, total),
                card.groups[split],
                lengths.min,
                lengths.median,
                lengths.p95,
                lengths.max,
                lengths.total,
            )
        )
    text = f"Split {card.split}."
    if card.moved:
        text += f" {card.moved} rows are in another split than the time before."
    if card.near.get("parted"):
        text += " Nearly all rows are nearly the same and had to be parted all the same: the test split says little."
    text += " The least, the median, the 95th percentile and the most are tokens of a row, chat template included."
    heads = ("Split", "Rows", "Share", "Groups", "Least", "Median", "95 %", "Most", "Tokens")
    return Section("Splits", text, heads, tuple(rows))


def _labels(card: DatasetCard) -> Section | None:
    if not card.label_counts:
        return None
    totals = {
        split: sum(counts.get(split, 0) for counts in card.label_counts.values()) for split in card.rows
    }
    order = sorted(card.label_counts, key=lambda label: (-sum(card.label_counts[label].values()), label))
    rows = []
    for label in order[:SHOWN_LABELS]:
        cells: list[Cell] = [label]
        for split in card.rows:
            count = card.label_counts[label].get(split, 0)
            cells += [count, share(count, totals[split])]
        rows.append(tuple(cells))
    heads = ("Label", *(head for split in card.rows for head in (split, "share")))
    text = f"Answers are {card.labels} labels; the most frequent first."
    if len(order) > SHOWN_LABELS:
        text += f" {SHOWN_LABELS} of {card.labels} are shown."
    return Section("Label balance", text, heads, tuple(rows))


def _sources(card: DatasetCard) -> Section:
    rows = tuple(
        (
            Code(source["name"]),
            source["format"] + (" (test)" if source["test"] else ""),
            source["evidence"],
            source.get("licence") or NOT_STATED,
            source["rows"],
            source["bytes"],
            Code(source["sha256"]),
        )
        for source in card.sources
    )
    heads = ("File", "Taken for", "Why", "Licence", "Rows", "Bytes", "SHA-256")
    return Section("Sources", "", heads, rows)


def _licences(card: DatasetCard) -> Section:
    files: dict[str, list[int]] = {}
    for source in card.sources:
        held = files.setdefault(source.get("licence") or NOT_STATED, [0, 0])
        held[0] += 1
        held[1] += source["rows"]
    rows = tuple((licence, counts[0], counts[1]) for licence, counts in sorted(files.items()))
    text = "As the builder states them in [dataset.licences]; nothing is looked up."
    return Section("Licences", text, ("Licence", "Files", "Rows read"), rows)


def left_out(card: DatasetCard) -> dict[str, int]:
    """How many rows were left out, by reason; reasons of bad rows are their kinds."""
    counts = {
        "duplicates": card.duplicates,
        "also in the test files": card.overlaps,
        "nearly the same as another": card.near.get("dropped", 0),
        "with conflicting answers": card.conflicts.get("dropped", 0),
        "scored worst": card.pruned,
        "over dataset.limit": card.over_limit,
        **{f"bad: {kind}": count for kind, count in card.rejected.items()},
    }
    return {what: count for what, count in counts.items() if count}


def _left_out(card: DatasetCard, examples: Examples) -> Section | None:
    rows: list[tuple[Cell, ...]] = []
    for what, count in left_out(card).items():
        shown = examples.rejected.get(what.removeprefix("bad: "), []) if what.startswith("bad: ") else []
        if not shown:
            rows.append((what, count, "", ""))
        for place, (where, reason) in enumerate(shown):
            rows.append((what, count, Code(where), reason) if not place else ("", "", Code(where), reason))
    if not rows:
        return None
    text = "Bad rows with their first places; all are in rejected.jsonl." if card.rejected else ""
    return Section("Left out", text, ("Reason", "Rows", "Where", "Why"), tuple(rows))


def _cut(card: DatasetCard, examples: Examples) -> Section | None:
    rows: list[tuple[Cell, ...]] = []
    for kind, count in card.cut.items():
        for place, (where, what) in enumerate(examples.cut.get(kind, [("", "")])):
            first: tuple[Cell, Cell] = ("", "") if place else (CUTS.get(kind, kind), count)
            rows.append((*first, Code(where), what))
    if not rows:
        return None
    text = "Rows that stay, but not as their file holds them; each change is in cut.jsonl."
    return Section("Cut rows", text, ("Rows that", "Rows", "Where", "What"), tuple(rows))


def _near(card: DatasetCard, examples: Examples) -> Section | None:
    near = card.near
    if not near.get("clusters"):
        return None
    text = (
        f"{near['rows']} rows are nearly the same as another (Jaccard similarity from {near['threshold']}), in "
        f"{near['clusters']} clusters, the largest of {near['largest']}. "
    )
    if near["mode"] == "drop":
        text += f"{near['dropped']} of them were dropped."
    elif not near.get("parted"):
        text += "Each cluster is whole in one split."
    if near.get("overlaps"):
        text += f" {near['overlaps']} rows left because they are near to a row of the test files."
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (
            f"{pair['jaccard']:.2f}",
            f"{pair['view']}, {pair['shingles']}",
            *(cell for row in pair["rows"] for cell in (Code(row["source"]), row["prompt"])),
        )
        for pair in examples.near
    )
    heads = ("Jaccard", "Of", "One row", "Its prompt", "The other", "Its prompt")
    return Section("Near-duplicates", text, heads, rows)


def _conflicts(card: DatasetCard, examples: Examples) -> Section | None:
    counts = card.conflicts
    if not (counts.get("prompts") or counts.get("near")):
        return None
    text = (
        f"{counts['prompts']} prompts have several answers ({counts['rows']} rows, {counts['dropped']} dropped); "
        f"{counts['near']} clusters of near prompts have. All are in conflicts.jsonl."
    )
    rows = tuple(
        (
            conflict["kind"] if not place else "",
            Code(row["source"]),
            row["prompt"],
            row["answer"],
            "kept" if row["kept"] else "dropped",
        )
        for conflict in examples.conflicts
        for place, row in enumerate(conflict["rows"][:4])
    )
    return Section("Conflicting answers", text, ("Prompt is", "Row", "Prompt", "Answer", ""), rows)


def reasons_text(reasons: Sequence[Mapping[str, Any]]) -> str:
    """Reasons of a quality score as one text."""
    return "; ".join(f"{reason['signal']}: {reason['text']}" for reason in reasons) or "no single reason"


def _pruned(card: DatasetCard, examples: Examples) -> Section | None:
    if not card.pruned:
        return None
    rows = tuple(
        (f"{line['score']:.2f}", Code(line["source"]), reasons_text(line["reasons"]))
        for line in examples.pruned
    )
    text = f"The {card.pruned} training rows that scored worst were left out; the worst of them:"
    return Section("Pruned", text, ("Score", "Row", "What speaks against it"), rows)


def _redactions(card: DatasetCard) -> Section | None:
    counts = card.redactions
    if not counts:
        return None
    replaced = counts.get("replaced", {})
    rows = tuple((kind, found, replaced.get(kind, 0)) for kind, found in counts["found"].items())
    text = f"Mode {counts['mode']}: {counts['rows']} rows held some; {counts['redacted']} places replaced"
    if counts["kept"]:
        text += f", {counts['kept']} kept as a person decided"
    if counts["left"]:
        text += f", {counts['left']} left because they are JSON numbers"
    for column, told in counts.get("columns", {}).items():
        text += f"; column {column} told to be {told['kind']}, in {told['rows']} rows"
    return Section("Personal data", text + ".", ("Kind", "Found", "Replaced"), rows)


def _other_material(card: DatasetCard) -> Section | None:
    rows: list[tuple[Cell, ...]] = [
        (what, count, "no rows were made of them") for what, count in card.unpaired.items()
    ]
    if card.canaries:
        rows.append(
            ("canaries", card.canaries, "planted in the training split; their secrets are in canaries.jsonl")
        )
    if not rows:
        return None
    return Section("Other material", "", ("What", "Count", ""), tuple(rows))


PAIRS = {
    "made": "made",
    "dropped": "not made",
    "boilerplate": "boilerplate, paragraphs",
    "chatter": "off the topics, exchanges",
}
"""What the card counts of pairs, in words."""


def _pairs(card: DatasetCard) -> Section | None:
    rows: list[tuple[Cell, ...]] = [
        (what if not place else "", name, count)
        for key, what in PAIRS.items()
        for place, (name, count) in enumerate(card.pairs.get(key, {}).items())
    ]
    if card.held_back:
        rows.append(("held back", "other wordings of what is learnt", card.held_back))
    if not rows:
        return None
    text = "Rows made of transcripts and documents."
    if card.pairs.get("writer"):
        text += f" A model wrote some, checked against the text: {card.pairs['writer']}."
    return Section("Pairs", text, ("What", "Kind or reason", "Count"), tuple(rows))


def _flagged(card: DatasetCard) -> Section | None:
    if not card.flagged:
        return None
    text = "Rows that stay though their answer is flawed; each is in flagged.jsonl."
    return Section("Flawed answers", text, ("Flaw", "Rows"), tuple(card.flagged.items()))


def _digests(card: DatasetCard) -> Section:
    rows: list[tuple[Cell, ...]] = [("the dataset", Code(card.digest))]
    rows += [(f"{split}.jsonl", Code(digest)) for split, digest in card.files.items()]
    text = "The dataset's digest is of its conversations by split: file names, order and time don't enter."
    return Section("Digests", text, ("Of", "SHA-256"), tuple(rows))


def sections(card: DatasetCard, examples: Examples) -> list[Section]:
    """The card's parts in the order of reading; those with nothing to say are not there."""
    found = [
        _splits(card),
        _labels(card),
        _left_out(card, examples),
        _cut(card, examples),
        _near(card, examples),
        _conflicts(card, examples),
        _pruned(card, examples),
        _pairs(card),
        _flagged(card),
        _redactions(card),
        _other_material(card),
        _licences(card),
        _sources(card),
        _digests(card),
    ]
    return [section for section in found if section is not None]


def is_number(cell: Cell) -> bool:
    """Whether a cell stands to the right: a count or a share."""
    return isinstance(cell, int) or bool(re.fullmatch(r"[\d.]+ %|–", cell))


def shown_cell(cell: Cell, width: int = 0) -> str:
    """A cell as text for a person: numbers in groups of three, control characters written out, cut to `width`."""
    return f"{cell:,}" if isinstance(cell, int) else visible(cell, width)
