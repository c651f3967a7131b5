"""card.html: it says what card.json says, stands alone, and believes nothing that rows, names and files say."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from appliance.dataset import load_card
from appliance.dataset.card_page import visible_lines
from appliance.dataset.histogram import MOST_BINS, token_histogram
from appliance.errors import ConfigError
from tests.dataset.conftest import Bench

EVIL = (
    '</pre><script src="https://elsewhere.example/x.js">alert(1)</script>\x1b[31m\u202e<img src=x onerror=1>'
)
LABELS = ["urgent", "routine", "<b>ignore</b>"]


class Page(HTMLParser):
    """Tags, attributes, and tables by the heading above them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.tables: dict[str, list[list[str]]] = {}
        self.bars: list[str] = []
        self._heading = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attrs:
            self.attributes.setdefault(name, set()).add(value or "")
        if tag not in {"meta", "br", "line"}:
            self.open.append(tag)
        if tag == "h2":
            self._heading = ""
        elif tag == "tr":
            self.tables.setdefault(self._heading, []).append([])
        elif tag in {"td", "th"}:
            self.tables[self._heading][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "h2" in self.open:
            self._heading += data
        elif "td" in self.open or "th" in self.open:
            self.tables[self._heading][-1][-1] += data
        elif self.open[-1:] == ["title"] and "rect" in self.open:
            self.bars.append(data)


def rows(count: int = 120) -> str:
    lines = []
    for number in range(count):
        said = (
            f"My name is Anna Schmidt. {number * 7919 % 1000} of {number * 31 % 97} is loose in hold {number}"
        )
        if number % 10 == 0:
            said += " again" * (number + 1)
        answer = LABELS[number % 3]
        messages = [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
        lines.append(json.dumps({"messages": messages}) + "\n")
    return "".join(lines)


@pytest.fixture
def prepared(bench: Bench) -> Bench:
    bench.configure(
        'canaries = 2\nlicences = { "data/*" = "CC0-1.0", "data/a.jsonl" = "<i>own</i>", "x" = "MIT" }\n'
        '[dataset.redact]\nmode = "placeholder"\n[dataset.quality]\ndrop_share = 0.05\n'
        "[dataset.duplicates]\nthreshold = 0.95"
    )
    same = {
        "messages": [{"role": "user", "content": "Which deck?"}, {"role": "assistant", "content": LABELS[0]}]
    }
    other = {**same, "messages": [same["messages"][0], {"role": "assistant", "content": LABELS[1]}]}
    bench.write("a.jsonl", rows() + json.dumps(same) + "\n" + json.dumps(other) + "\n{broken\n")
    bench.write("b<script>.csv", "question,answer\n" + f'"{EVIL} lies here",urgent\n' + "only one cell\n")
    bench.prepare()
    return bench


def page_of(bench: Bench) -> tuple[str, Page]:
    text = (bench.project.dataset / "card.html").read_text(encoding="utf-8")
    return text, Page(text)


def test_the_page_says_what_card_json_says(prepared: Bench) -> None:
    text, page = page_of(prepared)
    card = load_card(prepared.project.dataset)
    splits = {row[0]: row for row in page.tables["Splits"][1:]}
    assert list(splits) == ["train", "valid", "test"]
    for split, count in card.rows.items():
        tokens = card.tokens[split]
        numbers = [count, card.groups[split], tokens.min, tokens.median, tokens.p95, tokens.max, tokens.total]
        assert [splits[split][place].replace(",", "") for place in (1, 3, 4, 5, 6, 7, 8)] == list(
            map(str, numbers)
        )
    sources = {row[0]: row for row in page.tables["Sources"][1:]}
    for source in card.sources:
        told = sources[source["name"]]
        assert [told[1], told[4], told[6]] == [source["format"], str(source["rows"]), source["sha256"]]
        assert told[5].replace(",", "") == str(source["bytes"])
    left = {row[0]: row for row in page.tables["Left out"][1:]}
    assert left["scored worst"][1] == str(card.pruned) and card.pruned > 0
    assert {
        row[0].removeprefix("bad: "): int(row[1]) for row in left.values() if row[0].startswith("bad")
    } == (card.rejected)
    assert left["bad: broken-json"][2] == "data/a.jsonl:123"
    assert page.tables["Personal data"][1:] == [
        [kind, str(count), str(card.redactions["replaced"][kind])]
        for kind, count in card.redactions["found"].items()
    ]
    assert [row[1] for row in page.tables["Digests"][1:]] == [card.digest, *card.files.values()]
    assert len(page.tables["Conflicting answers"]) > card.conflicts["rows"] >= 2
    assert page.tables["Other material"][1][:2] == ["canaries", "2"]
    assert len(page.tables["Pruned"]) > 1
    assert "The seal number" not in text  # a canary's secret is no sample


def test_licences_are_as_stated_the_last_pattern_first(prepared: Bench) -> None:
    _, page = page_of(prepared)
    card = load_card(prepared.project.dataset)
    assert {source["name"]: source["licence"] for source in card.sources} == {
        "data/a.jsonl": "<i>own</i>", "data/b<script>.csv": "CC0-1.0"
    }  # fmt: skip
    assert [row[0] for row in page.tables["Licences"][1:]] == ["<i>own</i>", "CC0-1.0"]
    assert "dataset.licences: x fits no file that was read" in prepared.warnings
    prepared.configure("")
    prepared.prepare()
    assert page_of(prepared)[1].tables["Licences"][1][0] == "not stated"
    prepared.configure("licences = 7")
    with pytest.raises(ConfigError, match=r"dataset\.licences"):
        prepared.prepare()


def test_labels_are_counted_by_split_without_canaries(prepared: Bench) -> None:
    _, page = page_of(prepared)
    card = load_card(prepared.project.dataset)
    assert set(card.label_counts) == set(LABELS)
    for split, count in card.rows.items():
        canaries = 2 if split == "train" else 0
        assert sum(counts[split] for counts in card.label_counts.values()) == count - canaries
    shown = {row[0]: row[1::2] for row in page.tables["Label balance"][1:]}
    assert shown == {
        label: [str(n) for n in counts.values()] for label, counts in card.label_counts.items()
    } or (
        shown == {label: [str(counts[s]) for s in card.rows] for label, counts in card.label_counts.items()}
    )


def test_the_bars_are_the_histogram_and_it_counts_every_row(prepared: Bench) -> None:
    _, page = page_of(prepared)
    card = load_card(prepared.project.dataset)
    assert {split: sum(counts) for split, counts in card.lengths["rows"].items()} == card.rows
    drawn = [
        int(match[1].replace(",", "")) for bar in page.bars if (match := re.search(r"([\d,]+) rows", bar))
    ]
    assert drawn == [count for counts in card.lengths["rows"].values() for count in counts]


def test_nothing_on_the_page_acts_or_is_fetched(prepared: Bench) -> None:
    text, page = page_of(prepared)
    assert page.open == []
    assert not page.seen & {"script", "img", "link", "iframe", "object", "b>", "i"}
    assert not page.attributes.keys() & {"src", "onerror", "onload", "xmlns"}
    assert all(target.startswith("#") for target in page.attributes["href"])
    assert not re.search(r"url\(|@import", text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    assert "&lt;script&gt;" in text  # the file's name
    assert (
        visible_lines(EVIL + "\n\ttwo")
        == EVIL.replace("\x1b", "\\e").replace("\u202e", "\\u202e") + "\n\\ttwo"
    )


def test_samples_hold_what_rows_say_as_text(bench: Bench) -> None:
    messages = [
        {"role": "user", "content": EVIL},
        {"role": "assistant", "content": "first\nsecond <br> line"},
    ]
    lines = [json.dumps({"messages": messages})]
    lines += [
        json.dumps({"prompt": f"question {n} {n * 7919}", "completion": f"answer {n * 31}"}) for n in range(2)
    ]
    bench.write("a.jsonl", lines[0] + "\n")
    bench.write("b.jsonl", "\n".join(lines[1:]) + "\n")
    bench.prepare()
    text, page = page_of(bench)
    assert page.open == [] and "script" not in page.seen
    assert "first\nsecond &lt;br&gt; line" in text
    assert "\\u202e&lt;img" in text  # what colours a terminal went when the row was cleaned
    assert "\x1b" not in text and "\\e[31m" not in text


def test_a_part_with_nothing_to_say_is_not_there(bench: Bench) -> None:
    lines = [
        json.dumps({"prompt": f"{n * 7919} of {n}", "completion": f"{n * 31} and {n}"}) for n in range(60)
    ]
    bench.write("a.jsonl", "\n".join(lines) + "\n")
    bench.prepare()
    _, page = page_of(bench)
    assert set(page.tables) == {"Splits", "Licences", "Sources", "Digests"}


@pytest.mark.parametrize(
    "counts", [[5], [5] * 9, [0, 0], [1, 2, 3], list(range(40, 90)), [3, 9, 1000, 32000], [0, 4, 1000]]
)
def test_a_histogram_holds_every_row_in_ascending_bins(counts: list[int]) -> None:
    made = token_histogram({"train": counts, "valid": [], "test": counts[:1]})
    edges, held = made["edges"], made["rows"]
    assert edges == sorted(set(edges)) and len(edges) - 1 <= MOST_BINS
    assert edges[0] <= min(counts) and max(counts) < edges[-1]
    assert (sum(held["train"]), sum(held["valid"]), sum(held["test"])) == (len(counts), 0, 1)
    for low, high, count in zip(edges, edges[1:], held["train"], strict=False):
        assert count == sum(low <= value < high for value in counts)


def test_no_rows_have_no_histogram() -> None:
    assert token_histogram({"train": []}) == {}


def test_what_was_made_of_documents_stands_on_the_page(bench: Bench) -> None:
    for number in range(12):
        text = f"# Pump {number}\n\nPump {number} is a centrifugal pump of hall {number}. It feeds the boiler there.\n"
        bench.write(
            f"pump-{number}.md", text + f"\n## How is pump {number} stopped?\n\nClose valve {number}.\n"
        )
    rows = [{"prompt": f"ask {number}", "completion": f"ask {number}"} for number in range(3)]
    bench.write("rows.jsonl", "\n".join(json.dumps(row) for row in rows))
    card = bench.prepare()
    page = Page((bench.project.dataset / "card.html").read_text())
    made = {row[1]: row[2] for row in page.tables["Pairs"] if len(row) == 3}
    assert card.pairs["made"], "data sheets that differ in their numbers are no boilerplate"
    assert card.pairs["made"].items() <= {kind: int(made[kind]) for kind in card.pairs["made"]}.items()
    assert ["echo", "3"] in page.tables["Flawed answers"]
