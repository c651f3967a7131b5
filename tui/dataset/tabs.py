"""The files that can be browsed: how a line of each is shown in a list and on a page, and what a search looks at."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from rich.text import Text

from appliance.dataset import Row
from appliance.dataset.browsing import LineFile, RowFacts
from appliance.dataset.card_examples import place_of
from appliance.dataset.card_sections import reasons_text
from appliance.dataset.rows import row_from_line
from appliance.paths import Project
from tui.dataset.shown_text import fact, heading, lines_of, one_line

_LONGEST = 400  # characters of a text in a list; a line of it is rarely wider


class Tab(ABC):
    """One file and its look.

    Args:
        name: as it is called on the screen.
        file: its lines.
        total: how many, where the card says so; else they are counted.

    Attributes:
        holds_rows: whether its lines are rows.
    """

    holds_rows = False

    def __init__(self, name: str, file: LineFile, total: int | None = None) -> None:
        self.name = name
        self.file = file
        self.total = total

    @abstractmethod
    def brief(self, line: bytes, plain: bool, wide: bool) -> str:
        """A line in the list; `wide`: where there is room for more than the text."""

    @abstractmethod
    def page(self, line: bytes, plain: bool) -> Text:
        """All of it."""

    @abstractmethod
    def texts(self, line: bytes) -> Iterable[str]:
        """What a search looks at."""

    def row(self, line: bytes) -> Row | None:
        """The row that it is, where it is one."""
        return row_from_line(line) if self.holds_rows else None


def _last(row: Row) -> str:
    return str(row.messages[-2]["content"]) if len(row.messages) > 1 else ""


class RowsTab(Tab):
    """A split."""

    holds_rows = True

    def brief(self, line: bytes, plain: bool, wide: bool) -> str:
        """See `Tab`."""
        row = row_from_line(line)
        arrow = " => "
        told = one_line(_last(row), plain, _LONGEST) + arrow + one_line(row.answer, plain, _LONGEST)
        return f"{one_line(row.source[-24:], plain):<24}  {told}" if wide else told

    def page(self, line: bytes, plain: bool) -> Text:
        """See `Tab`."""
        row = row_from_line(line)
        text = Text()
        fact(text, "Row", row.id)
        fact(text, "Source", one_line(row.source, plain))
        fact(text, "Group", one_line(row.group, plain, 60))
        for turn in row.messages:
            heading(text, one_line(str(turn["role"]), plain))
            text.append(lines_of(str(turn["content"] or ""), plain) + "\n")
        if row.rejected:
            heading(text, "the answer that was not preferred")
            text.append(lines_of(row.rejected, plain) + "\n")
        return text

    def texts(self, line: bytes) -> Iterable[str]:
        """See `Tab`."""
        row = row_from_line(line)
        return [row.id, row.source, row.rejected, *(str(turn["content"] or "") for turn in row.messages)]


class RejectedTab(Tab):
    """rejected.jsonl."""

    def brief(self, line: bytes, plain: bool, wide: bool) -> str:
        """See `Tab`."""
        bad = json.loads(line)
        room = 32 if wide else 20
        place = one_line(place_of(bad["file"], bad["line"])[-room:], plain)
        return f"{bad['kind']:<15} {place:<{room}}  {one_line(bad['reason'], plain, _LONGEST)}"

    def page(self, line: bytes, plain: bool) -> Text:
        """See `Tab`."""
        bad = json.loads(line)
        text = Text()
        fact(text, "Kind", bad["kind"])
        fact(text, "Where", one_line(place_of(bad["file"], bad["line"]), plain))
        fact(text, "Why", one_line(bad["reason"], plain))
        return text

    def texts(self, line: bytes) -> Iterable[str]:
        """See `Tab`."""
        bad = json.loads(line)
        return [bad["kind"], place_of(bad["file"], bad["line"]), bad["reason"]]


class QualityTab(Tab):
    """quality.jsonl: the worst first, the dropped ones marked."""

    def brief(self, line: bytes, plain: bool, wide: bool) -> str:
        """See `Tab`."""
        score = json.loads(line)
        mark = "dropped" if score["dropped"] else ""
        told = one_line(reasons_text(score["reasons"]), plain, _LONGEST)
        source = f"{one_line(score['source'][-28:], plain):<28}  " if wide else ""
        return f"{score['score']:.2f}  {mark:<7}  {source}{told}"

    def page(self, line: bytes, plain: bool) -> Text:
        """See `Tab`."""
        score = json.loads(line)
        text = Text()
        fact(text, "Row", score["id"])
        fact(text, "Source", one_line(score["source"], plain))
        fact(text, "Score", f"{score['score']:.4f} (0: nothing speaks against it, to 1)")
        fact(text, "Dropped", "yes: it is in no split" if score["dropped"] else "no")
        _reasons(text, score, plain)
        return text

    def texts(self, line: bytes) -> Iterable[str]:
        """See `Tab`."""
        score = json.loads(line)
        return [score["id"], score["source"], reasons_text(score["reasons"])]


class PairsTab(Tab):
    """near.jsonl or conflicts.jsonl: rows that are alike, or that disagree."""

    def brief(self, line: bytes, plain: bool, wide: bool) -> str:
        """See `Tab`."""
        told = json.loads(line)
        one = told["rows"][0]
        if "jaccard" in told:
            return f"{told['jaccard']:.2f}  {one_line(one['prompt'], plain, _LONGEST)}"
        room = 24 if wide else 14
        distinct = list(dict.fromkeys(row["answer"] for row in told["rows"]))
        answers = " / ".join(one_line(answer, plain, room) for answer in distinct[:2])
        prompt = one_line(one["prompt"], plain, _LONGEST)
        return f"{told['kind']:<5} {len(told['rows']):>3} rows  {answers:<{2 * room + 3}}  {prompt}"

    def page(self, line: bytes, plain: bool) -> Text:
        """See `Tab`."""
        told = json.loads(line)
        text = Text()
        if "jaccard" in told:
            fact(text, "Jaccard", f"{told['jaccard']:.4f} of {told['view']}, {told['shingles']}")
        else:
            fact(text, "Prompts", "the same" if told["kind"] == "same" else "near to each other")
        for row in told["rows"]:
            dropped = row["id"] in told.get("dropped", ()) or not row.get("kept", True)
            heading(text, one_line(row["source"], plain) + (" (dropped)" if dropped else ""))
            text.append(lines_of(row["prompt"], plain) + "\n")
            text.append("=> ", "dim").append(lines_of(row["answer"], plain) + "\n")
        return text

    def texts(self, line: bytes) -> Iterable[str]:
        """See `Tab`."""
        rows = json.loads(line)["rows"]
        return [row[key] for row in rows for key in ("id", "source", "prompt", "answer")]


def _reasons(text: Text, score: dict[str, Any], plain: bool) -> None:
    for reason in score["reasons"]:
        fact(text, reason["signal"], f"{reason['penalty']:.2f}  {one_line(reason['text'], plain)}")


def facts_text(facts: RowFacts, tokens: int | str, plain: bool) -> Text:
    """What is known of a row beside its turns; `tokens`: how many, or why they aren't known."""
    text = Text("\n")
    heading(text, "What is known of it")
    fact(text, "Tokens", one_line(str(tokens), plain))
    if facts.quality:
        fact(text, "Score", f"{facts.quality['score']:.4f} (0: nothing speaks against it, to 1)")
        _reasons(text, facts.quality, plain)
    if facts.near:
        fact(text, "Near rows", f"{len(facts.near)} in its cluster")
        for row in facts.near:
            shown = f"{one_line(row['source'], plain)}  {one_line(row['prompt'], plain, 200)}"
            fact(text, f"  {row['jaccard']:.2f}", f"{shown} => {one_line(row['answer'], plain, 80)}")
    for conflict in facts.conflicts:
        prompt = "the same prompt" if conflict["kind"] == "same" else "a near prompt"
        answers = {one_line(row["answer"], plain, 60) for row in conflict["rows"]}
        fact(text, "Conflict", f"{len(conflict['rows'])} rows with {prompt}: {' / '.join(sorted(answers))}")
    for finding in facts.redactions:
        done = {"redact": f"replaced by {finding['replacement']}", "keep": "kept", "left": "left"}[
            finding["done"]
        ]
        value = one_line(finding.get("value", finding["masked"]), plain, 60)
        fact(
            text,
            finding["kind"],
            f"{value}: {one_line(done, plain)} (turn {finding['turn']}, {finding['score']:.2f})",
        )
    return text


def tabs_of(project: Project, rows: dict[str, int], rejected: int) -> dict[str, list[Tab]]:
    """The tabs of each screen that lists something.

    Args:
        project: where the files are.
        rows: rows of each split.
        rejected: bad rows.
    """
    folder = project.dataset

    def file(name: str) -> LineFile:
        return LineFile(folder / name)

    return {
        "rows": [RowsTab(split, file(f"{split}.jsonl"), count) for split, count in rows.items()],
        "left": [
            RejectedTab("rejected", file("rejected.jsonl"), rejected),
            QualityTab("scored, worst first", file("quality.jsonl")),
        ],
        "alike": [
            PairsTab("near rows", file("near.jsonl")),
            PairsTab("conflicting answers", file("conflicts.jsonl")),
        ],
    }
