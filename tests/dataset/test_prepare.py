"""Preparing a project's dataset from real files, good and bad."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from appliance.dataset import load_card, prepare, read_rows
from appliance.dataset.reading import text_encoding
from appliance.dataset.terminal import card_lines
from appliance.errors import ConfigError, DataError, ExitCode
from appliance.events import Event
from tests.dataset.conftest import Bench


def line(question: str, answer: str = "noted", **extra: Any) -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **extra}) + "\n"


def many(count: int, start: int = 0) -> str:
    return "".join(line(f"note {number}", f"answer {number}") for number in range(start, start + count))


def rows_of(bench: Bench, split: str) -> list[tuple[str, str]]:
    return [
        (row.prompt[-1]["content"], row.answer) for row in read_rows(bench.project.dataset / f"{split}.jsonl")
    ]


def all_rows(bench: Bench) -> dict[str, str]:
    return {question: split for split in ("train", "valid", "test") for question, _ in rows_of(bench, split)}


def test_every_row_lands_in_one_split_and_the_card_says_so(bench: Bench) -> None:
    bench.write("a.jsonl", many(120))
    card = bench.prepare()
    assert sum(card.rows.values()) == 120 == len(all_rows(bench))
    assert {split: len(rows_of(bench, split)) for split in card.rows} == card.rows
    assert card.tokens["train"].max == 4  # "note N" and "answer N"
    assert load_card(bench.project.dataset) == card
    assert not list(bench.project.dataset.glob(".*"))


def test_adding_rows_moves_none(bench: Bench) -> None:
    bench.write("a.jsonl", many(100))
    bench.prepare()
    before = all_rows(bench)
    bench.write("b.jsonl", many(300, start=100))
    bench.prepare()
    after = all_rows(bench)
    assert {question: after[question] for question in before} == before
    assert len(after) == 400


def test_the_digest_depends_on_content_only(bench: Bench) -> None:
    bench.write("a.jsonl", many(50))
    first = bench.prepare()
    bench.write("a.jsonl", "".join(reversed(many(50).splitlines(keepends=True)[:30])))
    bench.write("z.jsonl", "".join(many(50).splitlines(keepends=True)[30:]))
    assert bench.prepare().digest == first.digest
    bench.write("z.jsonl", many(50, start=1))
    assert bench.prepare().digest != first.digest


def test_a_second_preparing_gives_the_same_bytes(bench: Bench) -> None:
    bench.write("a.jsonl", many(60) + "broken\n")
    bench.prepare()
    before = {file.name: file.read_bytes() for file in bench.project.dataset.iterdir()}
    bench.prepare()
    assert {file.name: file.read_bytes() for file in bench.project.dataset.iterdir()} == before


def test_duplicates_are_dropped_after_normalising(bench: Bench) -> None:
    bench.write("a.jsonl", many(20) + line("note 3 ", "answer 3\r\n") + line("note\u00a04", "answer 4"))
    card = bench.prepare()
    assert card.duplicates == 2
    assert sum(card.rows.values()) == 20


def test_rows_of_one_group_stay_together(bench: Bench) -> None:
    bench.write("a.jsonl", "".join(line(f"note {number}", group=f"g{number % 10}") for number in range(200)))
    card = bench.prepare()
    splits = {
        split: {row.group for row in read_rows(bench.project.dataset / f"{split}.jsonl")}
        for split in card.rows
    }
    assert not splits["train"] & splits["test"]
    assert not splits["train"] & splits["valid"]
    assert sum(card.groups.values()) == 10


def test_limit_keeps_a_stable_part_of_training_and_all_of_the_test(bench: Bench) -> None:
    bench.write("a.jsonl", many(200))
    full = bench.prepare()
    everything = set(rows_of(bench, "train"))
    bench.configure("limit = 40")
    forty = bench.prepare()
    kept = set(rows_of(bench, "train"))
    bench.configure("limit = 50")
    bench.prepare()
    assert len(kept) == 40 and kept < set(rows_of(bench, "train")) < everything
    assert forty.over_limit == full.rows["train"] - 40
    assert (forty.rows["valid"], forty.rows["test"]) == (full.rows["valid"], full.rows["test"])


BAD_LINES = [
    ("{broken", "broken JSON"),
    ("[1, 2]", "a JSON list, not an object"),
    ('{"mesages": []}', "is `mesages` meant?"),
    ('{"messages": [{"role": "user", "content": "x"}]}', "no assistant turn"),
    (line("empty", "  ").strip(), "turn 2: empty answer"),
    (line("long", "word " * 2000).strip(), "tokens, more than dataset.max_tokens = 1024"),
    ("[" * 100_000, "broken JSON"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_a_bad_line_is_named_and_left_out(bench: Bench, bad: str, reason: str) -> None:
    bench.write("a.jsonl", many(12) + "\n" + bad + "\n" + many(12, start=12))
    card = bench.prepare()
    assert sum(card.rows.values()) == 24
    assert len(bench.warnings) == 1
    assert bench.warnings[0].startswith("data/a.jsonl:14: ") and reason in bench.warnings[0]
    (rejected,) = (bench.project.dataset / "rejected.jsonl").read_text().splitlines()
    entry = json.loads(rejected)
    assert (entry["file"], entry["line"]) == ("data/a.jsonl", 14)
    assert card.rejected == {entry["kind"]: 1}


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_strict_stops_on_the_first_bad_line(bench: Bench, bad: str, reason: str) -> None:
    bench.write("a.jsonl", many(12) + bad + "\n")
    with pytest.raises(DataError, match=r"data/a\.jsonl:13: ") as caught:
        bench.prepare(strict=True)
    assert reason in caught.value.message
    assert not (bench.project.dataset / "card.json").exists()


def test_a_good_row_of_more_than_100k_tokens_is_named_and_left_out(
    bench: Bench, base_checkpoint: Path
) -> None:
    bench.write("a.jsonl", many(12) + line("the pump leaks. " * 30_000) + many(12, start=12))
    events: list[Event] = []
    card = prepare(bench.project, events.append, checkpoint=base_checkpoint)
    assert sum(card.rows.values()) == 24 and card.rejected_rows == 1
    (warning,) = [event.text for event in events if event.kind == "warning"]
    found = re.fullmatch(r"data/a\.jsonl:13: (\d+) tokens, more than dataset\.max_tokens = 1024", warning)
    assert found is not None and int(found[1]) > 100_000, warning
    (rejected,) = (bench.project.dataset / "rejected.jsonl").read_text().splitlines()
    assert (json.loads(rejected)["file"], json.loads(rejected)["line"]) == ("data/a.jsonl", 13)


def test_bytes_that_are_no_text_are_named(bench: Bench) -> None:
    bench.write("a.jsonl", many(12).encode() + b'{"messages": "\xff"}\n' + b'{"x": "\x00"}\n')
    bench.write("b.jsonl", b"\x7fELF\x00\x00\x01")
    bench.write("b2.jsonl", bytes(range(256)) * 4)
    bench.write("c.jsonl", many(3).encode("utf-16"))
    bench.write("d.jsonl", "")
    bench.write("e.jsonl", b"\xef\xbb\xbf" + line("a byte-order mark is welcome").encode())
    card = bench.prepare()
    assert sum(card.rows.values()) == 13
    assert bench.warnings == [
        "data/a.jsonl:13: not UTF-8: byte 0xff at column 15",
        "data/a.jsonl:14: it holds a NUL byte; is it binary data?",
        "data/b.jsonl: a program",
        "data/b2.jsonl: not text: it begins with binary data",
        "data/d.jsonl: an empty file",
    ]


def test_only_the_first_twenty_bad_rows_are_shown(bench: Bench) -> None:
    bench.write("a.jsonl", many(12) + "nonsense\n" * 33)
    card = bench.prepare()
    assert len(bench.warnings) == 21
    assert "13 more bad rows" in bench.warnings[-1]
    assert card.rejected_rows == 33
    assert len((bench.project.dataset / "rejected.jsonl").read_text().splitlines()) == 33


def test_a_line_without_end_is_skipped_in_bounded_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoding, "MAX_LINE_BYTES", 4096)
    bench.write("a.jsonl", many(12) + "x" * 50_000 + "\n" + many(5, start=12) + "y" * 9000)
    card = bench.prepare()
    assert sum(card.rows.values()) == 17
    assert [warning.split(": ")[0] for warning in bench.warnings] == ["data/a.jsonl:13", "data/a.jsonl:19"]


def test_nothing_usable_is_an_error_with_the_reasons(bench: Bench) -> None:
    bench.write("a.jsonl", "nonsense\n" * 3)
    with pytest.raises(DataError, match="no usable row: 3 rejected") as caught:
        bench.prepare()
    assert "data/a.jsonl:1: broken JSON" in caught.value.message
    assert caught.value.exit_code == ExitCode.DATA
    assert (bench.project.dataset / "rejected.jsonl").exists()


def test_too_few_rows_to_split(bench: Bench) -> None:
    bench.write("a.jsonl", many(2))
    with pytest.raises(DataError, match="too few different examples"):
        bench.prepare()


def test_a_failed_preparing_makes_no_card_and_leaves_that_of_the_former_one(bench: Bench) -> None:
    bench.write("a.jsonl", "nonsense\n")
    with pytest.raises(DataError, match="no usable row"):
        bench.prepare()
    with pytest.raises(DataError, match="no such file"):
        load_card(bench.project.dataset)
    bench.write("a.jsonl", many(30))
    card = bench.prepare()
    bench.write("a.jsonl", "nonsense\n")
    with pytest.raises(DataError, match="no usable row"):
        bench.prepare()
    assert load_card(bench.project.dataset) == card


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ('sources = ["data/missing.jsonl"]', "missing.jsonl: no such file"),
        ('sources = ["nowhere/*.jsonl"]', "no file matches nowhere/*.jsonl"),
        (
            'sources = ["anchorhold.toml"]',
            "anchorhold.toml: text, but neither rows nor a conversation nor prose",
        ),
    ],
)
def test_files_that_are_not_there_or_not_readable(bench: Bench, settings: str, message: str) -> None:
    bench.configure(settings)
    with pytest.raises(DataError) as caught:
        bench.prepare()
    assert message in caught.value.message
    assert caught.value.hint


def test_test_files_are_the_test_split_and_leak_nothing(bench: Bench) -> None:
    bench.configure('sources = ["data/*.jsonl"]\ntest_sources = ["data/dev.jsonl"]')
    bench.write("dev.jsonl", many(10))
    bench.write("more.jsonl", many(100, start=5) + line("NOTE  7", "another answer"))
    card = bench.prepare()
    assert sorted(rows_of(bench, "test")) == sorted(
        (f"note {number}", f"answer {number}") for number in range(10)
    )
    assert card.rows["train"] + card.rows["valid"] == 95
    assert card.overlaps == 6


def test_answers_must_satisfy_the_schema(bench: Bench) -> None:
    schema = {"type": "object", "properties": {"state": {"enum": ["ok", "down"]}}, "required": ["state"]}
    (bench.root / "schema.json").write_text(json.dumps(schema))
    bench.configure('schema_path = "schema.json"')
    good = "".join(line(f"note {number}", '{"state": "ok"}') for number in range(12))
    bench.write("a.jsonl", good + line("a", '{"state": "odd"}') + line("b", "{}") + line("c", "ok"))
    card = bench.prepare()
    assert sum(card.rows.values()) == 12
    assert "data/a.jsonl:13: the answer breaks the schema: state: 'odd' is not one of" in bench.warnings[0]
    assert "'state' is a required property" in bench.warnings[1]
    assert "the answer is no JSON" in bench.warnings[2]


@pytest.mark.parametrize("content", [None, "{broken", '{"type": 7}'])
def test_a_schema_that_is_none_is_a_fault_of_the_configuration(bench: Bench, content: str | None) -> None:
    bench.configure('schema_path = "schema.json"')
    bench.write("a.jsonl", many(12))
    if content is not None:
        (bench.root / "schema.json").write_text(content)
    with pytest.raises(ConfigError, match=r"dataset\.schema_path"):
        bench.prepare()


def test_reading_back_what_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_rows(tmp_path / "train.jsonl")
    (tmp_path / "train.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(DataError, match=r"train\.jsonl:1: not a prepared row"):
        read_rows(tmp_path / "train.jsonl")


def test_chats_that_were_cut_are_counted_and_shown(bench: Bench) -> None:
    greeting = {"role": "assistant", "content": "Hello, I am <b>Bo</b>"}
    asked, answered = {"role": "user", "content": "which deck?"}, {"role": "assistant", "content": "four"}
    call = {"role": "assistant", "tool_calls": [{"function": {"name": "find", "arguments": "{}"}}]}
    chats = [
        [greeting, asked, answered],
        [
            asked,
            {**answered, "content": "five"},
            {"role": "user", "content": "thanks, write to anna.smith@example.org"},
        ],
        [asked, {**answered, "content": "six"}, asked, call, {"role": "tool", "content": "7"}, answered],
        [asked, call, {"role": "tool", "content": "7"}, answered],
    ]
    bench.write("a.jsonl", many(40) + "".join(json.dumps({"messages": chat}) + "\n" for chat in chats))
    bench.configure('[dataset.redact]\nmode = "placeholder"')
    card = bench.prepare()
    assert card.cut == {"beginning": 1, "ending": 1, "tool-call": 1}
    assert card.rejected == {"tool-call": 1}
    assert load_card(bench.project.dataset) == card
    lines = [json.loads(each) for each in (bench.project.dataset / "cut.jsonl").read_text().splitlines()]
    assert [(each["source"], each["kind"]) for each in lines] == [
        ("data/a.jsonl:41", "beginning"),
        ("data/a.jsonl:42", "ending"),
        ("data/a.jsonl:43", "tool-call"),
    ]
    assert "anna.smith" not in lines[1]["reason"] and "thanks, write to" in lines[1]["reason"]
    page = (bench.project.dataset / "card.html").read_text()
    assert "Cut rows" in page and "Hello, I am &lt;b&gt;Bo&lt;/b&gt;" in page
    (told,) = [text for text in bench.warnings if text.startswith("tool calls:")]
    assert told.startswith("tool calls: 1 rows end before") and 'dataset.tools = "text"' in told
    assert any("1 began with the assistant's turn" in text for text in bench.warnings)
    assert any("1 began with" in text for text in card_lines(card))
    bench.configure('tools = "text"')
    card = bench.prepare()
    assert card.cut == {"beginning": 1, "ending": 1} and not card.rejected
    assert not [text for text in bench.warnings if text.startswith("tool calls:")]
    answers = {answer for split in ("train", "valid", "test") for _, answer in rows_of(bench, split)}
    assert {"four", "five"} <= answers


def test_rows_in_order_are_as_they_were(bench: Bench) -> None:
    bench.write("a.jsonl", many(40))
    card = bench.prepare()
    assert card.cut == {} and "Cut rows" not in (bench.project.dataset / "card.html").read_text()
